"""What may stand at a position: the names of verbs and options, the choices of a table, or what the daemon knows.

What an option's value is follows from its table: its choices, its converter, its name, its placeholder. So an option
that is new is completed without a word here, if it is called as its like are.
"""

from __future__ import annotations

from gflow.cli import ids, states
from gflow.cli import kinds as kinds_of_value
from gflow.cli.command import Group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gflow.cli.command import Argument, Command, Option
    from gflow.cli.completion.position import Position

    Found = list[tuple[str, str]]

SHELLS = ("bash", "zsh", "fish")
COMPLETION = "completion"
FORM = "2"
"""Of questions and answers. A script of another one is refused, for it would take values for something else."""

WORDS, FILES, DIRECTORIES, COMMAND_LINE = ":words", ":files", ":directories", ":command"
"""What the shell itself is to add: nothing, or what it knows better.

The last is followed by the place of that command line's first word.
"""

_OF_SHELL = {
    "PATH": FILES,
    "FILE": FILES,
    "CSV": FILES,
    "DIR": DIRECTORIES,
    "SCRIPT|COMMAND": COMMAND_LINE,
}
_LISTS = frozenset(("LIST", "IDS", "EVENTS"))
_LIVE = {
    "user": "users",
    "users": "users",
    "project": "projects",
    "group": "groups",
    "names": "names",
    "depends_on": "jobs",
    "reservations": "reservations",
}
"""Kinds of values by the name of an option or argument."""

_FIXED = {
    "export": ("ALL", "NONE"),
    "signal": ("USR1", "USR2", "INT", "TERM", "HUP", "QUIT", "CONT", "STOP", "KILL"),
}


def offers(found: Position, live: Callable[[str, Position], Found], *, describe: bool) -> tuple[str, Found]:
    """What the shell is to do itself; and the words with what they mean, empty unless `describe`.

    live(kind, position) are the values the daemon knows.
    """
    if found.option is not None:
        return _values(found, found.option, live)
    if found.takes_options and found.word.startswith("-"):
        return WORDS, _starting(found.word, _option_names(found.table, describe=describe))
    verbs = _verbs(found, describe=describe)
    if found.argument is None:
        return WORDS, _starting(found.word, verbs)
    shell, values = _values(found, found.argument, live)
    if found.takes_options:
        values = [(value, what) for value, what in values if not value.startswith("-")]  # it would be an option
    return shell, _starting(found.word, verbs) + values


def _starting(word: str, found: Found) -> Found:
    return [(value, meaning) for value, meaning in found if value.startswith(word)]


def _verbs(found: Position, *, describe: bool) -> Found:
    """Words that may follow as verbs: members of a group, or the words that share a command's name."""
    table = found.table
    own = [(COMPLETION, "Print the script that completes command lines.")] if not found.path and found.fresh else []
    if isinstance(table, Group):
        names = [name for name in table.members if name.startswith(found.word)]
        # Short names are for typing; they are offered where nothing else fits.
        names = names or [name for name in table.aliases if name.startswith(found.word)]
        return [(name, table.summary_of(name) if describe else "") for name in names] + own
    if not found.fresh:
        return []
    return [(word, meaning) for word, (_, meaning) in table.words.items()] + ([] if table.arguments else own)


def _option_names(table: Command | Group, *, describe: bool) -> Found:
    shown = [option for option in table.options if not option.hidden]
    names = [(name, option.help if describe else "") for option in shown for name in option.names]
    return [*names, ("--help", "Show what there is, with examples."), ("--version", "Show the version.")]


def _values(found: Position, item: Option | Argument, live: Callable[[str, Position], Found]) -> tuple[str, Found]:
    shell = _OF_SHELL.get(item.metavar or "", "")
    if shell:
        return shell, []
    head, word = _begun(item, found.word)
    found.kept += head
    fixed = _fixed(item)
    if fixed:
        values = [(value, "") for value in fixed if value.lower().startswith(word.lower())]
    else:
        values = [(value, what) for what_of in kinds(item) for value, what in live(what_of, found)]
        values = [(value, what) for value, what in values if value.startswith(word)]
    there = head.replace(":", ",").split(",")
    return WORDS, [(value, what) for value, what in values if value not in there]


def _begun(item: Option | Argument, word: str) -> tuple[str, str]:
    """What of a list is there already, with its comma, and the value that has been begun."""
    marks = ":,?" if item.convert is kinds_of_value.dependency else "," if _is_list(item) else ""
    at = 1 + max((word.rfind(mark) for mark in marks), default=-1)
    return word[:at], word[at:]


def _fixed(item: Option | Argument) -> Sequence[str]:
    """The words of which the value is one, or of which it is a list."""
    if item.convert is states.parse:
        return getattr(item, "choices", ()) or tuple(states.STATES)
    if item.dest == "notify_on":
        from gflow.core.notices import JOB_EVENTS

        return JOB_EVENTS
    return getattr(item, "choices", ()) or _FIXED.get(item.dest, ())


def _is_list(item: Option | Argument) -> bool:
    return item.metavar in _LISTS or item.convert in (ids.parse, states.parse)


def kinds(item: Option | Argument) -> tuple[str, ...]:
    """Which of the things the daemon knows the value of an option or argument may be."""
    if item.convert in (ids.parse, ids.parse_one):
        return ("jobs",)
    known = (_LIVE[item.dest],) if item.dest in _LIVE else ()
    return (*known, "jobs") if (item.metavar or "").startswith("JOB-ID") else known
