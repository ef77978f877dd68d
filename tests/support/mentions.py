"""Commands that pages speak of without running them, and what of these does not exist."""

import re
from collections.abc import Iterator
from pathlib import Path

from markdown_it import MarkdownIt

from gflow.cli.command import CONNECTION, Command, Group
from gflow.cli.completion.scripts import PROGRAMS
from gflow.cli.umbrella import COMMAND

_READ = MarkdownIt("commonmark").enable("table")
_END = re.compile(r"\s+#|\s*(\||&&|;|>)")
_EVERYWHERE = ("-h", "--help", "--version", "completion")


def mentioned(page: Path) -> Iterator[str]:
    """Lines of blocks, and what stands in code within the text; blocks that are run are none of it."""
    for block in _READ.parse(page.read_text()):
        if block.type in ("fence", "code_block") and not block.info.startswith("console"):
            lines = block.content.splitlines()
            typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            yield from typed or lines
        yield from (part.content for part in block.children or () if part.type == "code_inline")


def unknown(line: str) -> str | None:
    """The first option or verb of a command line that there is not; one with `…` in it is not whole."""
    words = _END.split(line, maxsplit=1)[0].split()
    if not words or words[0] not in PROGRAMS or "…" in line:
        return None
    made = COMMAND if words[0] == COMMAND.name else COMMAND.load(words[0])
    assert made is not None
    return _unknown(made, words[1:])


def _unknown(made: Command | Group, words: list[str]) -> str | None:
    options = {name: option for option in (*made.options, *CONNECTION) for name in option.names}
    rest = words[::-1]
    while rest:
        word = rest.pop()
        name, equals, _ = word.partition("=")
        if word.startswith("-") and name in options:
            if options[name].convert is not None and not equals:
                del rest[-1:]
        elif word.startswith("--") and word not in _EVERYWHERE:
            return word
        elif isinstance(made, Group) and not word.startswith("-"):
            member = made.load(word)
            return _unknown(member, rest[::-1]) if member is not None else _no_verb(word)
        elif made.name == "gbatch" and not word.startswith("-"):
            return None
    return None


def _no_verb(word: str) -> str | None:
    return word if re.fullmatch(r"[a-z-]+", word) and word not in _EVERYWHERE else None
