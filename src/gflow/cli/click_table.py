"""The table of `gflowd`, made of its asyncclick command, for what goes by tables: completion and the man pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncclick as click

from gflow.cli.command import Argument, Command, Group, Option

if TYPE_CHECKING:
    from gflow.cli.command import Values


class _Commands(Group):
    """A group whose members are there already."""

    __slots__ = ("tables",)

    tables: dict[str, Command | Group]

    def load(self, word: str) -> Command | Group | None:
        return self.tables.get(word)


def of_gflowd() -> Group:
    """The table of gflowd."""
    from gflow.cli.gflowd import gflowd

    return group(gflowd)


def group(made: click.Group) -> Group:
    """The table of an asyncclick group and of all in it."""
    shown = {name: member for name, member in made.commands.items() if not member.hidden}
    table = _Commands(made.name or "", _first_line(made), dict.fromkeys(shown, ""), examples=_examples(made))
    table.options = _options(made)
    table.tables = {name: _member(name, member) for name, member in shown.items()}
    return table


def _member(name: str, made: click.Command) -> Command | Group:
    return group(made) if isinstance(made, click.Group) else _command(name, made)


def _command(name: str, made: click.Command) -> Command:
    arguments = tuple(
        Argument(param.name or "", param.metavar or "WORD", str, required=param.required)
        for param in made.params
        if isinstance(param, click.Argument)
    )
    table = Command(name, _first_line(made), _never, arguments=arguments, examples=_examples(made))
    table.options = _options(made)
    return table


def _never(_values: Values) -> int:
    raise AssertionError("gflowd is run by asyncclick")


def _options(made: click.Command) -> tuple[Option, ...]:
    return tuple(
        Option(
            *param.opts,
            help=param.help or "",
            convert=None if param.is_flag or param.count else str,
            metavar=param.metavar,
            hidden=param.hidden,
        )
        for param in made.params
        if isinstance(param, click.Option) and "--version" not in param.opts
    )


def _first_line(made: click.Command) -> str:
    return (made.short_help or made.help or "").strip().partition("\n")[0]


def _examples(made: click.Command) -> tuple[tuple[str, str], ...]:
    told = (made.epilog or "").partition("Examples:")[2]
    return tuple((line.strip(), "") for line in told.split("|") if line.strip())
