"""How shells ask for completions, and how they are told.

The script of each shell asks the command itself: `PROGRAM __complete FORM SHELL INDEX LINE WORD...`, where INDEX is
the place of the word at the cursor, the program being 0. LINE is what is in front of the cursor, from bash only: it
splits words at `=` and `:`, and the line shows which of them are one. The first line of the answer, which is always
there, says what the shell is to complete by itself; so no value can say that, whatever it is. Each of the others is a
word that fits, for zsh and fish with a tab and its meaning. Values that would steer a terminal are left out.
"""

from __future__ import annotations

from gflow.cli.completion.choices import COMMAND_LINE, COMPLETION, FORM, SHELLS, WORDS, offers
from gflow.cli.completion.position import locate
from gflow.client.plain import harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gflow.cli.command import Command, Group
    from gflow.cli.completion.position import Position

    Found = list[tuple[str, str]]
    Live = Callable[[str, Position], Found]

_BLANKS = " \t\n"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")


def answer(table: Command | Group, asked: Sequence[str], live: Live | None = None) -> str:
    """What to print for the arguments of `__complete`. Raises ValueError if they are no such question."""
    if len(asked) < 5 or asked[0] != FORM or not asked[2].isdecimal() or not 0 < int(asked[2]) < len(asked) - 4:
        raise ValueError(f"ask with {FORM} SHELL INDEX LINE WORD..., as 'gflow completion SHELL' does")
    _, shell, at, line, *words = asked
    typed = _whole(line, words[: int(at) + 1])
    whole = [unquoted(word) for word, _ in typed]
    if whole[1:-1] == [COMPLETION]:
        return _lines(WORDS, [name for name in SHELLS if name.startswith(whole[-1])])
    found = locate(table, whole[1:-1], whole[-1])
    if found is None:
        return _lines(WORDS, [])
    own, values = offers(found, live or _live, describe=shell != "bash")
    if own == COMMAND_LINE:
        own += f" {typed[1 + (len(whole) - 2 if found.begun is None else found.begun)][1]}"
    there = _kept_by_shell(typed[-1][0], words[int(at)]) if line else ""
    fit = [(found.kept + value, meaning) for value, meaning in values if value and harmless(value) == value]
    return _lines(own, [_line(shell, value, meaning, there) for value, meaning in fit])


def _lines(own: str, offered: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in (own, *offered))


def _live(kind: str, position: Position) -> Found:
    from gflow.cli.completion.live import known

    return known(kind, position)


def _line(shell: str, value: str, meaning: str, there: str) -> str:
    if shell == "bash":
        return escaped(value.removeprefix(there))
    return f"{value}\t{harmless(meaning)}" if meaning else value


def _whole(line: str, words: Sequence[str]) -> list[tuple[str, int]]:
    """The words, put together again where the line has no blank between them, and the place of each among `words`.

    The last of them ends at the cursor, where the line does.
    """
    if not line:
        return [(word, place) for place, word in enumerate(words)]
    found: list[tuple[str, int]] = []
    at = 0
    for place, word in enumerate(words):
        start = at + len(line[at:]) - len(line[at:].lstrip(_BLANKS))
        text = line[start:] if place == len(words) - 1 else line[start : start + len(word)]
        if found and start == at:
            found[-1] = (found[-1][0] + text, found[-1][1])
        else:
            found.append((text, place))
        at = start + len(text)
    return found


def _kept_by_shell(whole: str, last: str) -> str:
    """What bash leaves as it is of a word it has split, and completes only the rest of."""
    return whole if last in ("=", ":") else whole.removesuffix(last)


def unquoted(word: str) -> str:
    """A word without the quotes and backslashes it was typed with, also if the last quote is still to come."""
    if not {'"', "'", "\\"} & set(word):
        return word
    found, quote, escape = "", "", False
    for char in word:
        if escape or (quote == "'" and char != "'"):
            found, escape = found + char, False
        elif char == "\\":
            escape = True
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        else:
            found += char
    return found


def escaped(word: str) -> str:
    """A word as a shell has to be given it, without quotes."""
    return "".join(char if char in _PLAIN or ord(char) > 127 else f"\\{char}" for char in word)
