"""The way in and out of every command: read the command line, run the handler, and turn every end into an exit
status - 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 nobody reads the output any more."""

from __future__ import annotations

import os
import sys

from gflow.cli.command import Command, Failure, Group, UsageError, fill, load
from gflow.cli.quick import Unclear, read, read_options
from gflow.cli.streams import closed_or, open_what_is_closed, take_any_text
from gflow.client.endpoint import trust
from gflow.client.errors import MISREAD, ClientError
from gflow.client.voice import say, speak_as

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from gflow.cli.command import Values


def start(table: Command | Group, argv: list[str] | None = None, prog: str | None = None) -> NoReturn:
    """Run the command line for `table` and exit."""
    name = prog or table.name
    sys.exit(_guarded(table, sys.argv[1:] if argv is None else argv, name))


def _guarded(table: Command | Group, argv: list[str], prog: str) -> int:
    open_what_is_closed()
    take_any_text()
    try:
        status = _status(table, argv, prog)
        sys.stdout.flush()
    except UsageError as error:
        return _say(error, 2)
    except (ClientError, Failure) as error:
        return _say(error, 1)
    except KeyboardInterrupt:
        return leave_quietly(130)
    except BrokenPipeError:
        return leave_quietly(141)
    except OSError as error:
        leave_quietly(1)
        return _say(closed_or(error), 1)
    except MISREAD as error:
        name = _misread_from()
        if name is None:
            raise
        return _say(Failure(f"the daemon at {name} answered with something else ({_where(error)}): is it gflow?"), 1)
    return status


def _misread_from() -> str | None:
    """Whose answer it may be that has not what it is to have; None where it is for certain an error of ours.

    Whoever looks for one has Python tell more of it: `python -X dev -m gflow`.
    """
    unix = sys.modules.get("gflow.client.unix")
    return unix.answered[-1] if unix is not None and unix.answered and not sys.flags.dev_mode else None


def _where(error: Exception) -> str:
    """For who reports it: the kind of error and the place, in a few words."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    module, line = (place.tb_frame.f_globals.get("__name__"), place.tb_lineno) if place else ("?", 0)
    return f"{type(error).__name__} in {module}, line {line}"


def _status(table: Command | Group, argv: list[str], prog: str) -> int:
    try:
        return _run(table, argv, prog)
    except SystemExit as left:  # the full reader's way out, after help and after what it has refused
        if not isinstance(left.code, int):
            raise
        return left.code


def _say(error: Exception, status: int) -> int:
    try:
        sys.stdout.flush()
    except OSError:
        leave_quietly(status)
    say(str(error))
    return status


def leave_quietly(status: int) -> int:
    """Nothing more can reach stdout: the interpreter's last flush must not complain about it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return status


def _run(table: Command | Group, argv: list[str], prog: str) -> int:
    speak_as(prog)
    if isinstance(table, Command) and argv and argv[0] in table.words:
        module, _ = table.words[argv[0]]
        return _run(load(module), argv[1:], f"{prog} {argv[0]}")
    if argv and argv[0] == "completion":
        return _script(table, argv[1:])
    if argv and argv[0] == "__complete":
        return _complete(table, argv[1:])
    _check_texts(argv)
    command, given, path = _read(table, argv, prog)
    speak_as(path)
    if "cacert" in given:
        trust(given["cacert"])
    return command.run(fill(command.options, given))


def _check_texts(argv: list[str]) -> None:
    """Raise UsageError for what is no text: neither the daemon nor data can have it."""
    for number, word in enumerate(argv, 1):
        if not word.isascii() and any("\ud800" <= char <= "\udfff" for char in word):
            raise UsageError(f"argument {number}, {word!a}, is not UTF-8 text")


def _read(table: Command | Group, argv: list[str], prog: str) -> tuple[Command, Values, str]:
    """The command meant, what was given, and the words that name it."""
    try:
        return _read_quickly(table, argv, prog)
    except Unclear:
        pass
    from gflow.cli import full

    return full.read(table, argv, prog)


def _read_quickly(table: Command | Group, argv: list[str], prog: str) -> tuple[Command, Values, str]:
    if isinstance(table, Command):
        return table, read(table, argv), prog
    outer, words = read_options(table.options, argv, stop_at_argument=True)
    member = table.load(words[0]) if words else None
    if member is None:
        raise Unclear("no such command")
    command, given, path = _read_quickly(member, words[1:], f"{prog} {table.aliases.get(words[0], words[0])}")
    return command, outer | given, path


def _script(table: Command | Group, shells: list[str]) -> int:
    from gflow.cli.completion.choices import SHELLS
    from gflow.cli.completion.scripts import script

    if len(shells) != 1:
        raise UsageError(f"say for which shell, e.g. '{table.name} completion bash'; there is {', '.join(SHELLS)}")
    try:
        sys.stdout.write(script(table.name, shells[0]))
    except ValueError as error:
        raise UsageError(str(error)) from None
    return 0


def _complete(table: Command | Group, asked: list[str]) -> int:
    from gflow.cli.completion.shells import answer

    try:
        sys.stdout.write(answer(table, asked))
    except ValueError as error:
        raise UsageError(f"__complete is for shells: {error}") from None
    return 0
