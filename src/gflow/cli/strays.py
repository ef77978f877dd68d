"""Lines of a script that look like `# GFLOW` directives and do not count: what they ask for would be lost in silence.

They stay comments, as they are to gflow 0.4, but gbatch says so. Only what has an option behind the mark is taken for
one: `# gflow is great` is a comment, and `## GFLOW --time 5` a directive that somebody has switched off.
"""

from __future__ import annotations

from gflow.cli.directives import MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflow.cli.command import Option

_WORD = "gflow"
_HERE = "<<"
"""What follows this may be the text of another script."""

_LONG_QUOTES = ('"""', "'''")

_SHOWN = 60


def remarks(text: str, options: tuple[Option, ...]) -> Iterator[str]:
    """`3: '#GFLOW --time 5' …` for each of them, with the number of its line."""
    if _WORD not in text.lower():
        return
    names = {name for option in options for name in option.names}
    command, quotes = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        inside = quotes
        quotes = _open(line, quotes)
        if inside:
            continue
        if _asks(line, names) and (command or not _counts(line)):
            yield f"{number}: '{_short(line)}' does not count; {_why(line, command)}"
        elif _HERE in line:
            return
        elif not command and line.strip() and not line.lstrip().startswith("#"):
            command = number


def _open(line: str, quotes: str) -> str:
    """The quotes of several lines that are open behind `line`, if they were before it."""
    signs = (quotes,) if quotes else _LONG_QUOTES
    odd = next((sign for sign in signs if line.count(sign) % 2), "")
    return ("" if odd else quotes) if quotes else odd


def _asks(line: str, names: set[str]) -> bool:
    """Whether this is a comment with the word and an option behind it: in small letters, one that there is."""
    comment = line.lstrip(" \t\ufeff")
    word = comment[1:].lstrip()
    if not comment.startswith("#") or word[: len(_WORD)].lower() != _WORD:
        return False
    option = next(iter(word[len(_WORD) :].lstrip(" \t:=").split()), "").partition("=")[0]
    return option in names or (word.startswith(_WORD.upper()) and option.startswith("-") and option.strip("-") != "")


def _counts(line: str) -> bool:
    return line.startswith(MARK) and line[len(MARK) : len(MARK) + 1].isspace()


def _why(line: str, command: int) -> str:
    if _counts(line):
        return f"directives stand before the first command, which is on line {command}"
    return f"a directive begins its line with '{MARK} '"


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
