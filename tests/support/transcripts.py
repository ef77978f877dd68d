"""Examples in the documents that are run: what a page shows is what the commands print.

    python -m support.transcripts PAGE...      (in tests/) runs the pages and puts what was printed into them

A page has blocks of ```console: lines that begin with `$ ` are commands, `> ` goes on with one, everything else is what
it printed, both streams, and `[exit N]` stands where it did not end well. The commands of a page run in one shell, with
a daemon of their own that has two simulated GPUs, in a directory that is empty but for what the page's comment makes:

    <!-- setup
    shell commands
    -->

A port written 59000 is one that is free. Who runs it is `alice` on `gpubox`, at home in /home/alice. Two outputs are
the same if they differ in nothing but moments, durations below a minute, process ids, names that were made up, and
widths that follow from those.
"""

import getpass
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from support.daemon import Daemon

FENCE, END = "```console", "```"
PROMPT, MORE = "$ ", "> "
_SETUP = re.compile(r"<!-- setup\n(.*?)-->", re.DOTALL)
_MARK = "===8<=== "
_SECS = 90
PORT = "59000"

_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?\b"), "MOMENT"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"), "DAY"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b(?<!:00)|\b00:00:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|KiB|MiB)\b"), "AMOUNT"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\bpid \d+\b"), "PID"),
    (re.compile(r"\b[a-z]+-[a-z]+-\d{4}\b"), "NAME"),
    (re.compile(r"[-─ ]+"), " "),
)


@dataclass
class Example:
    """A command as typed, in lines, and what it printed."""

    typed: list[str]
    printed: list[str] = field(default_factory=list)

    @property
    def command(self) -> str:
        return "\n".join(line[2:] for line in self.typed)

    @property
    def lines(self) -> list[str]:
        return [*self.typed, *self.printed]


def blocks(text: str) -> list[str | list[Example]]:
    """The page in pieces: text between examples, and the examples of each block."""
    pieces: list[str | list[Example]] = []
    for number, part in enumerate(re.split(rf"^({FENCE}\n.*?^{END}\n)", text, flags=re.DOTALL | re.MULTILINE)):
        pieces.append(_examples(part) if number % 2 else part)
    return pieces


def _examples(block: str) -> list[Example]:
    found: list[Example] = []
    for line in block.splitlines()[1:-1]:
        if line.startswith(PROMPT):
            found.append(Example([line]))
        elif line.startswith(MORE) and not found[-1].printed:
            found[-1].typed.append(line)
        else:
            found[-1].printed.append(line)
    return found


def written(pieces: list[str | list[Example]]) -> str:
    """The page of these pieces."""
    return "".join(
        piece
        if isinstance(piece, str)
        else "".join(f"{line}\n" for line in [FENCE, *(line for one in piece for line in one.lines), END])
        for piece in pieces
    )


def run(text: str) -> str:
    """The page with what its commands print now."""
    pieces = blocks(text)
    examples = [one for piece in pieces if not isinstance(piece, str) for one in piece]
    setup = "\n".join(_SETUP.findall(text))
    with Daemon("--simulated-gpus", "2") as daemon:
        port = _free_port()
        commands = [one.command.replace(PORT, port) for one in examples]
        for one, printed in zip(examples, _printed(daemon, setup, commands), strict=True):
            one.printed = [line.replace(port, PORT) for line in printed]
    return written(pieces)


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return str(probe.getsockname()[1])


def _printed(daemon: Daemon, setup: str, commands: list[str]) -> list[list[str]]:
    """What each command prints, in one shell."""
    home = daemon.root / "home" / "alice"
    home.mkdir()
    (daemon.work / "programs").mkdir()
    script = [f"cd {home}", setup]
    for command in commands:
        script += [command, f"__status=$?; printf '\\n{_MARK}%d\\n' $__status"]
    environment = {**daemon.surroundings, "HOME": str(home), "COLUMNS": "100", "USER": "alice"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment.pop("PYTHONPATH")
    shell = subprocess.run(
        ["bash"],
        input="\n".join(script),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECS,
        check=False,
    )
    parts = re.split(rf"\n{re.escape(_MARK)}(\d+)\n", _anonymous(shell.stdout, daemon))
    if len(parts) != 2 * len(commands) + 1:
        raise RuntimeError(f"the shell ended early, after: {parts[-1][-500:]}")
    return [_shown(output, int(status)) for output, status in zip(parts[::2], parts[1::2], strict=False)]


def _anonymous(text: str, daemon: Daemon) -> str:
    """Without what belongs to this machine."""
    places = {
        str(daemon.root / "home" / "alice"): "/home/alice",
        str(daemon.data): "/home/alice/.local/share/gflow",
        str(daemon.root / "config"): "/home/alice/.config",
        str(daemon.runtime): "/run/user/1000/gflow",
        socket.gethostname(): "gpubox",
    }
    for here, there in places.items():
        text = text.replace(here, there)
    name = re.escape(getpass.getuser())
    return re.sub(rf"\b{name}\b( *)", lambda found: "alice".ljust(len(found[0])), text)


def _shown(output: str, status: int) -> list[str]:
    lines = [line.rstrip() for line in output.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return [*lines, *([f"[exit {status}]"] if status else [])]


def masked(text: str) -> str:
    """The page without what differs from one run to the next."""
    lines = []
    for piece in blocks(text):
        if isinstance(piece, str):
            lines.append(piece)
            continue
        for one in piece:
            lines += [*one.typed, *map(_masked_line, one.printed)]
    return "\n".join(lines)


def _masked_line(line: str) -> str:
    for pattern, instead in _MASKS:
        line = pattern.sub(instead, line)
    return line.strip()


def main() -> None:
    """Run the pages that are named, and write them anew."""
    for name in sys.argv[1:]:
        page = Path(name)
        page.write_text(run(page.read_text()))


if __name__ == "__main__":
    main()
