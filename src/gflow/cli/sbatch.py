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


def read(text: str, origin: str, options: tuple[Option, ...]) -> tuple[Values, list[str]]:
    """What the lines set, by dest, and the options that were let be. Raises `UsageError`, naming `origin` and line."""
    given: Values = {}
    ignored: list[str] = []
    for number, rest in _lines(text):
        where = f"{origin}:{number}: {MARK}"
        for name, value in _options(split(rest, where, comments=True)):
            if name not in OPTIONS:
                ignored.append(name)
            else:
                given |= read_words(options, _translated(name, value, where), where)
    return given, list(dict.fromkeys(ignored))


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, what follows the mark) of the lines before the first command."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip()
        if line.startswith((f"{MARK} ", f"{MARK}\t")):
            yield number, line[len(MARK) :].strip()
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def _options(words: list[str]) -> Iterator[Found]:
    """(name, value or None) of each option; a word that is none belongs to the option before it."""
    rest = words[::-1]
    while rest:
        word = rest.pop()
        name, value = _parted(word)
        if value is None and OPTIONS.get(name) not in _FLAGS and rest and not rest[-1].startswith("-"):
            value = rest.pop()
        yield name, value


def _parted(word: str) -> Found:
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:] or None


def _translated(name: str, value: str | None, where: str) -> list[str]:
    ours = OPTIONS[name]
    if ours in _FLAGS:
        return [ours]
    if value is None:
        raise UsageError(f"{where}: {name} needs a value")
    change = _CHANGED.get(ours)
    value = change(value) if change is not None else value
    return [] if value == "" else [f"{ours}={value}"]


def _time(value: str) -> str:
    """Slurm's `D-HH` and `D-HH:MM` written out."""
    days, dash, clock = value.partition("-")
    return f"{days}-{clock}{':00' * (2 - clock.count(':'))}" if dash else value


def _events(value: str) -> str:
    words = value.upper().split(",")
    return "" if words == ["NONE"] else ",".join(_MAIL.get(word, word.lower()) for word in words)


def _begin(value: str) -> str:
    """Slurm's `now+60` is seconds, ours are minutes; its units are whole words."""
    now, plus, rest = value.partition("+")
    number = rest.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = _UNITS.get(rest[len(number) :])
    if now.lower() != "now" or not plus or not number.isdigit() or unit is None:
        return value
    return f"now+{int(number) * unit}s"


def _signal(value: str) -> str:
    """Without the prefix that says whether the shell gets it, too: here all processes do."""
    return value.partition(":")[2] if value[:2].upper() in ("B:", "R:") else value


_UNITS = {
    "": 1,
    **dict.fromkeys(("second", "seconds"), 1),
    **dict.fromkeys(("minute", "minutes"), 60),
    **dict.fromkeys(("hour", "hours"), 3600),
    **dict.fromkeys(("day", "days"), 86400),
    **dict.fromkeys(("week", "weeks"), 7 * 86400),
}
"""Of `--begin=now+...`, in seconds."""

_CHANGED: dict[str, Callable[[str], str]] = {
    "--time": _time,
    "--notify-on": _events,
    "--signal": _signal,
    "--begin": _begin,
}
