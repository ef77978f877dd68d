#!/usr/bin/env python3
"""Write the manual pages in contrib/man: one for each program, made of its option table.

contrib/man.py            write them
contrib/man.py --check    say which are not what this would write; exit status 1 if there are any
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from written import main

from gflow import __version__
from gflow.cli.command import CONNECTION, Argument, Command, Group, Option
from gflow.cli.completion.scripts import PROGRAMS
from gflow.cli.umbrella import COMMAND

PAGES = Path(__file__).with_name("man")

EXIT_STATUS = (
    ("0", "Everything was done."),
    ("1", "Something failed; where several were named, the others were done."),
    ("2", "The command line cannot be meant so; nothing was done."),
    ("130, 141", "Interrupted; nobody reads the output any more."),
)
EXIT_STATUS_OF = {
    "gflowd": (("3", "Of status: there is no daemon."),),
    "gjob": (("N", "Of wait: as the job, or the largest of several."),),
    "gbatch": (("N", "With --wait: as the job, or the largest of several."),),
}
ENVIRONMENT = (
    ("GFLOW_URL", "The daemon's endpoint, as unix:/path."),
    ("GFLOW_DAEMON_SOCKET", "The daemon's socket; over daemon.socket of the configuration file."),
    ("NO_COLOR", "Any value: no colours, unless --color asks for them."),
)
FILES = (
    ("~/.config/gflow/gflow.toml", "The configuration; --config names another."),
    ("$XDG_RUNTIME_DIR/gflow/gflowd.sock", "Where the daemon listens, unless told otherwise."),
    ("~/.local/share/gflow/logs/ID.log", "What a job printed."),
)


def pages() -> dict[Path, str]:
    """The text of every page."""
    return {PAGES / f"{name}.1": page(name) for name in PROGRAMS}


def page(name: str) -> str:
    table = COMMAND if name == COMMAND.name else COMMAND.load(name)
    assert table is not None
    return "".join(f"{line}\n" for line in _page(name, table))


def _page(name: str, table: Command | Group) -> Iterator[str]:
    yield '.\\" Made by contrib/man.py of the option table; do not edit.'
    yield f'.TH {name.upper()} 1 "" "gflow {__version__}" "gflow"'
    yield from (".SH NAME", f"{name} \\- {plain(_first_sentence(table.summary))}")
    yield from (".SH SYNOPSIS", *_synopsis(name, table))
    yield from (".SH DESCRIPTION", plain(table.summary))
    yield from _body(name, table)
    yield from _listed("EXIT STATUS", (*EXIT_STATUS, *EXIT_STATUS_OF.get(name, ())))
    yield from _listed("ENVIRONMENT", ENVIRONMENT)
    yield from _listed("FILES", FILES)
    yield from _examples([table, *(member for _, member in _verbs(table))])
    others = ", ".join(f"\\fB{other}\\fR(1)" for other in sorted(PROGRAMS) if other != name)
    yield from (".SH SEE ALSO", others)


def _body(name: str, table: Command | Group) -> Iterator[str]:
    """Options, and of a program with verbs each of them with its own."""
    own = [option for option in table.options if option not in CONNECTION]
    if name == COMMAND.name:
        yield from (".SH COMMANDS", *_programs(table))
    elif isinstance(table, Group):
        yield ".SH COMMANDS"
        shorts = {word: short for short, word in table.aliases.items()}
        for words, member in _verbs(table):
            yield from _verb(f"{name} {words}", member, shorts.get(words))
    for word, (_, meaning) in getattr(table, "words", {}).items():
        yield from (".SH COMMANDS", ".TP", f"\\fB{name} {word}\\fR", plain(meaning))
    yield ".SH OPTIONS"
    yield from _options([*own, *(option for option in CONNECTION if option in table.options)])
    yield from (".TP", "\\fB\\-h\\fR, \\fB\\-\\-help\\fR", "Show what there is, with examples.")
    yield from (".TP", "\\fB\\-\\-version\\fR", "Show the version.")
    yield from (".PP", f"\\fB{name} completion\\fR \\fISHELL\\fR prints the script that completes command lines in")
    yield "bash, zsh or fish."


def _programs(table: Command | Group) -> Iterator[str]:
    assert isinstance(table, Group)
    names = {name: short for short, name in table.aliases.items()}
    for name in names:
        also = f", \\fBgflow {names[name]}\\fR"
        yield from (".TP", f"\\fBgflow {name}\\fR{also}", plain(table.summary_of(name)))
    for words, member in _verbs(table):
        yield from _verb(f"gflow {words}", member)


def _verbs(table: Command | Group, path: str = "") -> list[tuple[str, Command]]:
    """The words that lead to each verb, and its table; of the umbrella those that are no programs of their own."""
    if isinstance(table, Command):
        return []
    found: list[tuple[str, Command]] = []
    for name in table.members:
        member = None if name in PROGRAMS else table.load(name)
        words = f"{path} {name}".strip()
        if isinstance(member, Group):
            found += _verbs(member, words)
        elif member is not None:
            found.append((words, member))
    return found


def _verb(path: str, command: Command, short: str | None = None) -> Iterator[str]:
    yield f".SS {path}{_arguments(command.arguments)}".replace("-", "\\-")
    yield plain(command.summary + (f" Short: {path.partition(' ')[0]} {short}." if short else ""))
    yield from _options(option for option in command.options if option not in CONNECTION)


def _synopsis(name: str, table: Command | Group) -> Iterator[str]:
    if isinstance(table, Group):
        yield f"\\fB{name}\\fR [\\fIOPTIONS\\fR] \\fICOMMAND\\fR ..."
        return
    yield f"\\fB{name}\\fR [\\fIOPTIONS\\fR]{_arguments(table.arguments)}"
    for word in table.words:
        yield from (".br", f"\\fB{name} {word}\\fR ...")


def _arguments(arguments: Iterable[Argument]) -> str:
    shown = [(argument, argument.metavar + ("..." if argument.variadic else "")) for argument in arguments]
    return "".join(f" {text}" if argument.required else f" [{text.strip('[]')}]" for argument, text in shown)


def _options(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        if not option.hidden:
            names = ", ".join(f"\\fB{plain(name)}\\fR" for name in option.names)
            yield from (".TP", names + _value(option), plain(option.help))


def _value(option: Option) -> str:
    if option.convert is None:
        return ""
    value = f"\\fI{plain(option.metavar or 'VALUE')}\\fR"
    return f" {value}" if option.bare is None else f" [{value}]"


def _listed(title: str, entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield f".SH {title}"
    for term, meaning in entries:
        yield from (".TP", f"\\fB{plain(term)}\\fR", plain(meaning))


def _examples(tables: Iterable[Command | Group]) -> Iterator[str]:
    yield ".SH EXAMPLES"
    shown = dict(example for table in tables for example in table.examples)
    for line, meaning in shown.items():
        yield from (".TP", f"\\fB{plain(line)}\\fR", plain(meaning) or "\\&")


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".")


def plain(text: str) -> str:
    """`text` for roff: nothing in it is taken for a request or an escape, and hyphens can be copied."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    escaped = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in " ".join(escaped.split()))
    return f"\\&{escaped}" if escaped.startswith(".") else escaped


if __name__ == "__main__":
    sys.exit(main(pages(), sys.argv[1:]))
