"""gflow: every command under one name. `gflow queue` and `gflow gqueue` are `gqueue`."""

from __future__ import annotations

import sys

from gflow.cli.command import Command, Group
from gflow.cli.entry import start
from gflow.cli.quick import Unclear, read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from gflow.cli.command import Values

_PROGRAMS = ("gbatch", "gqueue", "gjob", "gcancel", "ginfo", "gctl", "gstats", "gflowd")
_GFLOWD = "The gflow daemon: queues jobs and runs them."


class _Programs(Group):
    """The programs; that of the daemon is made with asyncclick itself, and its table of that."""

    def load(self, word: str) -> Command | Group | None:
        if self.aliases.get(word, word) != "gflowd":
            return super().load(word)
        from gflow.cli.click_table import of_gflowd

        return of_gflowd()

    def summary_of(self, word: str) -> str:
        return _GFLOWD if word == "gflowd" else super().summary_of(word)


COMMAND = _Programs(
    "gflow",
    "A job scheduler for one machine with GPUs. Every command is also a program of its own.",
    {name: f"gflow.cli.{name}" for name in (*_PROGRAMS, "top")},
    aliases={name.removeprefix("g"): name for name in _PROGRAMS},
    examples=(
        ("gflow batch --gpus 1 python train.py", "the same as gbatch --gpus 1 python train.py"),
        ("gflow top", "all of it on the whole screen, as it changes"),
        ("gflow job --help", "about one command"),
    ),
)


def main() -> None:
    _dispatch(sys.argv[1:])


def _dispatch(argv: list[str]) -> NoReturn:
    if not argv:
        start(COMMAND, ["--help"])
    try:
        given, words = read_options(COMMAND.options, argv, stop_at_argument=True)
    except Unclear:
        start(COMMAND, argv)
    name = COMMAND.aliases.get(words[0], words[0]) if words else ""
    if name not in COMMAND.members:
        start(COMMAND, argv)
    _run(name, _as_arguments(given) + words[1:], f"gflow {words[0]}")


def _run(name: str, argv: list[str], prog: str) -> NoReturn:
    module = __import__(COMMAND.members[name], fromlist=["main"])
    table = getattr(module, "COMMAND", None)
    if isinstance(table, Command | Group):
        start(table, argv, prog)
    sys.argv = [prog, *argv]
    sys.exit(module.main())


def _as_arguments(given: Values) -> list[str]:
    return [f"--{dest}={value}" for dest, value in given.items()]
