"""Pages of the documents that are run: what a page shows is what its commands print.

    python -m support.transcripts PAGE...      (in tests/) runs the pages and puts what was printed into them

A page has blocks of ```console: lines that begin with `$ ` are commands, `> ` goes on with one, everything else is what
it printed, both streams, and `[exit N]` stands where it did not end well. A line that is only `…` stands for lines that
are left out. The commands of a page run in one shell, with a daemon of their own that has two simulated GPUs, in a
directory that is empty at first. Comments of the page make what is in it, or wait for what the next commands need; they
are run where they stand, and what they print is not shown:

    <!-- setup
    shell commands; `running ID...` waits until these jobs run
    -->

    <!-- file NAME -->     what is in the block that follows

With `<!-- no daemon -->` there is none at first: the page starts one itself, as somebody new would.

In a block of ```console COLUMNSxLINES each command runs on a terminal of that size (`capture`), and what it shows there
is its output. What stands behind that are the words by which one that does not end is known to show all. With
`<!-- terminal COLUMNSxLINES COMMAND... -->` these commands run so wherever they are on the page.

A port written 59000 is one that is free. Who runs it is `alice` on `gpubox`, at home in /home/alice; `alice` in a
command is that user. Two outputs are the same if they differ in nothing but moments, durations below a minute, process
ids, names that were made up, and widths that follow from those.
"""

import contextlib
import getpass
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.daemon import Daemon
from support.ports import free_port

FENCE, END = "```console", "```"
PROMPT, MORE, LEFT_OUT = "$ ", "> ", "…"
NO_DAEMON = "<!-- no daemon -->\n"
_ON_TERMINAL = re.compile(r"^<!-- terminal (?P<size>\d+x\d+) (?P<commands>.*?) -->$", re.MULTILINE)
_SETUP = re.compile(
    r"<!-- setup\n(?P<commands>.*?)-->|<!-- file (?P<name>\S+) -->\n+```\w*\n(?P<content>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_MARK = "===8<=== "
_SECS = 150
PORT = "59000"
_RUNNING = 'running() { for job; do until gqueue -j "$job" -f ST | grep -qw R; do sleep 0.1; done; done; }'

_MASKS = (
    (re.compile(r"\b\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?\b"), "MOMENT"),
    (re.compile(r"\b\d\d/\d\d-\d\d:\d\d:\d\d\b"), "MOMENT"),
    (re.compile(r"\b1[789]\d{8}(\.\d+)?\b"), "MOMENT"),
    (re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"), "DAY"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b(?<!:00)|\b00:00:\d\d\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|KiB|MiB)\b"), "AMOUNT"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"(_secs,|hours,|hours: +)\d+\.\d+"), "AMOUNT"),
    (re.compile(r"\b(pid |PID: |pid=)\d+\b"), "PID"),
    (re.compile(r"\b(memory is )?(kept by the kernel|watched about once) .*$"), "KEPT"),
    (re.compile(r"\b[a-z]+-[a-z]+-\d{4}\b"), "NAME"),
    (re.compile(r"[-─ ]+"), " "),
)


@dataclass
class Example:
    """A command as typed, in lines, and what it printed; `terminal` is what its block says of that, `size` the page."""

    typed: list[str]
    printed: list[str] = field(default_factory=list)
    terminal: str = ""
    size: str = ""

    @property
    def command(self) -> str:
        return "\n".join(line[2:] for line in self.typed)

    @property
    def run(self) -> str:
        """What a shell runs for it."""
        if not self.terminal and not self.size:
            return self.command
        size, _, words = (self.terminal or self.size).partition(" ")
        python = f"PYTHONPATH={shlex.quote(str(Path(__file__).parents[1]))} {shlex.quote(sys.executable)}"
        return f"{python} -m support.capture {size} {shlex.quote(self.command)} {shlex.quote(words)}"

    @property
    def lines(self) -> list[str]:
        return [*self.typed, *self.printed]


def blocks(text: str) -> list[str | list[Example]]:
    """The page in pieces: text between examples, and the examples of each block."""
    pieces: list[str | list[Example]] = []
    for number, part in enumerate(re.split(rf"^({FENCE}[^\n]*\n.*?^{END}\n)", text, flags=re.DOTALL | re.MULTILINE)):
        pieces.append(_examples(part) if number % 2 else part)
    return pieces


def _examples(block: str) -> list[Example]:
    found: list[Example] = []
    head, *lines = block.splitlines()[:-1]
    for line in lines:
        if line.startswith(PROMPT):
            found.append(Example([line], terminal=head.removeprefix(FENCE).strip()))
        elif (line.startswith(MORE) or line == MORE.strip()) and not found[-1].printed:
            found[-1].typed.append(line)
        else:
            found[-1].printed.append(line)
    return found


def written(pieces: list[str | list[Example]]) -> str:
    """The page of these pieces."""
    return "".join(
        piece
        if isinstance(piece, str)
        else "".join(
            f"{line}\n"
            for line in [f"{FENCE} {piece[0].terminal}".rstrip(), *(line for one in piece for line in one.lines), END]
        )
        for piece in pieces
    )


def run(text: str) -> str:
    """The page with what its commands print now, where that differs from what is there."""
    pieces = blocks(text)
    steps = list(_steps(pieces))
    _put_on_terminal(text, steps)
    port = str(free_port())
    commands = [(step if isinstance(step, str) else step.run).replace(PORT, port) for step in steps]
    daemon = Daemon("--simulated-gpus", "2", grace_secs=10, environment={"TZ": "UTC"})
    with contextlib.closing(daemon):
        if NO_DAEMON not in text:
            daemon.start()
        outputs = [[line.replace(port, PORT) for line in printed] for printed in _printed(daemon, commands)]
    for step, printed in zip(steps, outputs, strict=True):
        if isinstance(step, Example) and not _agree(step.printed, printed):
            step.printed = printed
    return written(pieces)


def _agree(shown: list[str], printed: list[str]) -> bool:
    """Whether what was printed is what is shown, but for what differs and what is left out."""
    lines = (r"(.*\n)*" if line == LEFT_OUT else re.escape(f"{_masked_line(line)}\n") for line in shown)
    return re.fullmatch("".join(lines), "".join(f"{_masked_line(line)}\n" for line in printed)) is not None


def _steps(pieces: list[str | list[Example]]) -> Iterator[str | Example]:
    """What is run, in order: the commands of comments as text, and the examples."""
    for piece in pieces:
        yield from map(_commands, _SETUP.finditer(piece)) if isinstance(piece, str) else piece


def _put_on_terminal(text: str, steps: list[str | Example]) -> None:
    said = _ON_TERMINAL.search(text)
    for step in steps if said is not None else ():
        if isinstance(step, Example) and step.command.split()[0] in said["commands"].split():
            step.size = said["size"]


def _commands(comment: re.Match[str]) -> str:
    """The commands of a comment, or those that make its file."""
    return comment["commands"] or f"cat >{comment['name']} <<'END OF FILE'\n{comment['content']}END OF FILE"


def _printed(daemon: Daemon, commands: list[str]) -> list[list[str]]:
    """What each command prints, in one shell."""
    home = _home(daemon)
    script = [f"cd {home}", _RUNNING]
    for command in commands:
        typed = re.sub(r"(?<!/)\balice\b", getpass.getuser(), command)
        script += [typed, f"__status=$?; printf '\\n{_MARK}%d\\n' $__status"]
    environment = {**daemon.surroundings, "HOME": str(home), "COLUMNS": "100", "USER": "alice", "TZ": "UTC"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    environment.pop("PYTHONPATH")
    parts = re.split(rf"\n{re.escape(_MARK)}(\d+)\n", _anonymous(_said_by_shell(daemon, script, environment), daemon))
    if len(parts) != 2 * len(commands) + 1:
        stopped = commands[len(parts) // 2]
        raise RuntimeError(f"the shell ended early, in: {stopped}\n{''.join(parts[-3:])[-500:]}")
    return [_shown(output, int(status)) for output, status in zip(parts[::2], parts[1::2], strict=False)]


def _said_by_shell(daemon: Daemon, script: list[str], environment: dict[str, str]) -> str:
    """What a script prints, up to where it stays for too long."""
    written, said = daemon.root / "page.sh", daemon.root / "page.out"
    written.write_text("\n".join(script))
    with said.open("wb") as out, contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(
            ["bash", written],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=_SECS,
            check=False,
        )
    return said.read_text(errors="replace")


def _home(daemon: Daemon) -> Path:
    """Alice's directory, with the daemon's own where she would look for them."""
    home = daemon.root / "home" / "alice"
    (home / ".local" / "share").mkdir(parents=True)
    (daemon.root / "config" / "gflow").mkdir(parents=True)
    (home / ".config").symlink_to(daemon.root / "config")
    (home / ".local" / "share" / "gflow").symlink_to(daemon.data)
    return home


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
    text = re.sub(rf"\b{name}\b(?! {{2}})", "alice", text)
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
