"""A page for each program, of its option table: the same that its --help and its manual page are made of."""

from collections.abc import Iterable, Iterator

from gflow.cli.command import CONNECTION, Argument, Command, Group, Option
from gflow.cli.completion.scripts import PROGRAMS
from gflow.cli.umbrella import COMMAND
from pages.markdown import code, page, plain, table

COMMON = (
    "Every command has `-h` and `--help`, which show what there is with examples; those that ask the daemon take"
    " `--url` and `--config`. [Exit codes and data](../../scripts.md)."
)


def pages() -> dict[str, str]:
    """The text of every page, by program."""
    return {name: _page(name) for name in sorted(PROGRAMS)}


def _page(name: str) -> str:
    made = COMMAND if name == COMMAND.name else COMMAND.load(name)
    assert made is not None
    return page(name, *_parts(name, made, 2), COMMON)


def _parts(path: str, made: Command | Group, level: int) -> Iterator[str]:
    """What there is to say of a command, and of each below it with a heading of its own."""
    yield plain(made.summary)
    yield f"```\n{_synopsis(path, made)}\n```"
    yield _options(made.options)
    yield _examples(made.examples)
    if isinstance(made, Command):
        yield table(("", ""), ((code(f"{path} {word}"), plain(told)) for word, (_, told) in made.words.items()))
        return
    yield _programs(made)
    for word, member in _members(made):
        yield f"{'#' * level} {path} {word}"
        yield from _parts(f"{path} {word}", member, min(level + 1, 4))


def _members(made: Group) -> Iterator[tuple[str, Command | Group]]:
    """Each verb once, by its long name; programs have pages of their own."""
    for word in made.members:
        if word not in PROGRAMS and not word.startswith("__"):
            member = made.load(word)
            assert member is not None
            yield word, member


def _programs(made: Group) -> str:
    """Of the umbrella: the programs."""
    shorts = {name: short for short, name in made.aliases.items()}
    rows = (
        (f"[{name}]({name}.md)", code(f"gflow {shorts[name]}"), plain(made.summary_of(name)))
        for name in made.members
        if name in PROGRAMS
    )
    return table(("program", "also", ""), rows)


def _synopsis(path: str, made: Command | Group) -> str:
    if isinstance(made, Group):
        return f"{path} [OPTIONS] COMMAND ..."
    return f"{path} [OPTIONS]{''.join(map(_argument, made.arguments))}"


def _argument(argument: Argument) -> str:
    text = argument.metavar + ("..." if argument.variadic else "")
    return f" {text}" if argument.required else f" [{text}]"


def _options(options: Iterable[Option]) -> str:
    shown = (option for option in options if not option.hidden and option not in CONNECTION)
    return table(("option", ""), ((_names(option), plain(option.help)) for option in shown))


def _names(option: Option) -> str:
    value = f" {option.metavar or 'VALUE'}" if option.convert is not None else ""
    return (
        ", ".join(code(name) for name in option.names[:-1])
        + (", " if option.names[1:] else "")
        + code(f"{option.names[-1]}{value}")
    )


def _examples(examples: Iterable[tuple[str, str]]) -> str:
    return table(("example", ""), ((code(line), plain(told)) for line, told in examples))
