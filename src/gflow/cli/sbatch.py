"""`#SBATCH` lines: what gflow understands of them, in its own words.

Slurm's short names are not ours (-n are tasks there, -c processors, -p a partition), so they have a table of their own.
What is not in it does not matter here and is named; what is in it and wrong is an error, as in a `# GFLOW` line.
"""

from __future__ import annotations

from gflow.cli.command import UsageError
from gflow.cli.directives import read_words, split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gflow.cli.command import Option, Values
    from gflow.cli.directives import Places

    Found = tuple[str, str | None]

MARK = "#SBATCH"

OPTIONS = {
    "--job-name": "--name",
    "-J": "--name",
    "--time": "--time",
    "-t": "--time",
    "--gres": "--gpus",
    "--gpus": "--gpus",
    "-G": "--gpus",
    "--gpus-per-node": "--gpus",
    "--mem": "--memory",
    "--cpus-per-task": "--cpus",
    "-c": "--cpus",
    "--array": "--array",
    "-a": "--array",
    "--dependency": "--depends-on",
    "-d": "--depends-on",
    "--begin": "--begin",
    "-b": "--begin",
    "--export": "--export",
    "--chdir": "--chdir",
    "-D": "--chdir",
    "--signal": "--signal",
    "--hold": "--hold",
    "-H": "--hold",
    "--account": "--project",
    "-A": "--project",
    "--mail-user": "--notify-email",
    "--mail-type": "--notify-on",
}
"""Slurm's names, and ours for the same."""

_FLAGS = ("--hold",)
_MAIL = {
    "BEGIN": "job_started",
    "END": "job_completed,job_failed,job_timeout,job_cancelled",
    "FAIL": "job_failed,job_timeout",
    "TIME_LIMIT": "job_timeout",
    "ALL": "*",
}


VARIABLES = {
    "SLURM_ARRAY_TASK_ID": "GFLOW_ARRAY_TASK_ID",
    "SLURM_JOB_ID": "GFLOW_JOB_ID",
    "SLURM_JOBID": "GFLOW_JOB_ID",
    "SLURM_JOB_NAME": "GFLOW_JOB_NAME",
    "SLURM_RESTART_COUNT": "GFLOW_RESTART_COUNT",
    "SLURM_CPUS_PER_TASK": "GFLOW_CPUS",
}
"""Slurm's variables, and those a job has here: Slurm's own would make programs take this for Slurm."""


def variables(text: str) -> list[str]:
    """Slurm's variables that `text` speaks of, and that have another name here."""
    return [name for name in VARIABLES if name in text]


def understood(text: str) -> list[str]:
    """The options in `text` that gflow understands, each once, as they are written."""
    found = (name for _, rest in _lines(text) for name, _ in _options(rest.split()))
    return list(dict.fromkeys(name for name in found if name in OPTIONS))


def read(text: str, origin: str, options: tuple[Option, ...], places: Places | None = None) -> tuple[Values, list[str]]:
    """What the lines set, by dest, and what is to be said of the rest. Raises `UsageError`, naming origin and line.

    `places` is told where what is set is, unless it knows another place for it."""
    found_at: Places = {}
    given: Values = {}
    unknown: list[str] = []
    remarks: list[str] = []
    for number, rest in _lines(text):
        where = f"{origin}:{number}: {MARK}"
        for name, value in _options(split(rest, where, comments=True)):
            if not name.startswith("-"):
                remarks.append(f"{where}: '{name}' belongs to no option and is left out; quote values with blanks")
            elif name not in OPTIONS:
                unknown.append(name)
            else:
                words, left_out = _translated(name, value, where)
                given |= (found := read_words(options, words, where))
                found_at |= dict.fromkeys(found, where)
                remarks += [f"{where}: {remark}" for remark in left_out]
    if places is not None:
        places |= found_at | places
    named = ", ".join(dict.fromkeys(unknown))
    return given, ([f"{origin}: gflow has nothing like {MARK} {named}"] if named else []) + remarks


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, what follows the mark) of the lines before the first command."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip()
        if line.startswith((f"{MARK} ", f"{MARK}\t")):
            yield number, line[len(MARK) :].strip()
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _options(words: list[str]) -> Iterator[Found]:
    """(name, value or None) of each option; a word that is none is the value of the option before, if it has none."""
    rest = words[::-1]
    while rest:
        word = rest.pop()
        name, value = _parted(word) if word.startswith("-") else (word, None)
        takes = word.startswith("-") and value is None and OPTIONS.get(name) not in _FLAGS
        if takes and rest and not rest[-1].startswith("-"):
            value = rest.pop()
        yield name, value


def _parted(word: str) -> Found:
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _translated(name: str, value: str | None, where: str) -> tuple[list[str], list[str]]:
    """The same in our words, and what of it has no meaning here."""
    ours = OPTIONS[name]
    if ours in _FLAGS:
        return [ours], []
    if value is None:
        raise UsageError(f"{where}: {name} needs a value")
    change = _CHANGED.get(ours)
    value, left_out = _gpus(name, value) if ours == "--gpus" else (change(value) if change else value, [])
    return [] if value == "" else [f"{ours}={value}"], left_out


def _time(value: str) -> str:
    """Nothing for what means no limit."""
    return "" if value.upper() in ("0", "INFINITE", "UNLIMITED") else value


def _memory(value: str) -> str:
    """Nothing for 0, which means all there is."""
    return "" if value.strip("0") in ("", *"KMGTkmgt") else value


class _Gpus:
    """What `gpu:a100:2,tmpfs:1G` of --gres and `a100:2` of --gpus say: how many GPUs, their types, and other things.

    Raises ValueError for what says nothing of the kind.
    """

    def __init__(self, name: str, value: str) -> None:
        self.number = 0
        self.types: list[str] = []
        self.others: list[str] = []
        for item in value.split(","):
            words = item.partition("(")[0].removeprefix("gres/").split(":")
            if name == "--gres" and words[0] and words[0] != "gpu":
                self.others.append(item)
            else:
                self._count(name, words[1:] if words[0] == "gpu" else words)

    def _count(self, name: str, words: list[str]) -> None:
        last = words[-1] if words else "1"
        a_number = last.isascii() and last.isdigit() and len(last) < 8
        if "" in words or (name != "--gres" and not a_number):
            raise ValueError
        self.number += int(last) if a_number else 1
        self.types += words[:-1] if a_number else words

    def remarks(self, name: str) -> Iterator[str]:
        """What is left out of account."""
        for item in self.others:
            yield f"{name}: gflow has nothing like {item}"
        for kind in self.types:
            yield f"{name}: the type {kind} does not count here; --gpu-memory SIZE asks for GPUs that are large enough"


def _gpus(name: str, value: str) -> tuple[str, list[str]]:
    """The number of GPUs, nothing for none, and what to remark."""
    try:
        found = _Gpus(name, value)
    except ValueError:
        return value, []  # whoever reads it says what is wrong
    asked = str(found.number) if found.number or not found.others else ""
    return asked, list(found.remarks(name))


def _events(value: str) -> str:
    words = value.upper().split(",")
    return "" if words == ["NONE"] else ",".join(_MAIL.get(word, word.lower()) for word in words)


def _begin(value: str) -> str:
    """Slurm's `now+60` is seconds, ours are minutes."""
    return f"{value}s" if value[:4].lower() == "now+" and value[4:].isdigit() else value


_CHANGED: dict[str, Callable[[str], str]] = {
    "--time": _time,
    "--memory": _memory,
    "--notify-on": _events,
    "--begin": _begin,
}
