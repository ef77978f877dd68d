"""Where in a line for a shell something stands: in which quotes, in a here-document, in what is read twice. Pure.

It follows the grammar as far as values need it and no further, and may be wrong about a strange line: what is put into
lines (`gflow.launch.placeholders`) is chosen so that this splits a value at its blanks at worst, and parses none of it.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from gflow.core.errors import Impossible

MAX_SYNTAX = 20_000
"""Characters of a line that mean something to a shell: reading them takes a tenth of a second."""


class Place(Enum):
    """What surrounds a placeholder, as far as it matters for what stands in its place."""

    WORD = auto()
    SINGLE = auto()
    DOUBLE = auto()
    ANSI = auto()
    DOCUMENT = auto()
    LITERAL = auto()


WORD, SINGLE, DOUBLE, ANSI, DOCUMENT, LITERAL = Place
"""LITERAL: where a shell expands nothing and no quote ends it, as in a here-document whose delimiter is quoted."""


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`line[start:end]` is `{name}`.

    in_document: in a here-document, however deep. read_again: in what `eval`, `sh -c` or the like reads as a line.
    end_of_document: the line that ends the here-document it stands in, where nothing is expanded.
    """

    start: int
    end: int
    name: str
    place: Place
    in_document: bool
    read_again: bool
    end_of_document: str | None


_NAME = r"(?<!\$)\{(?P<name>[^{}\s'\"\\`$()#<>;&|]+)\}"
_AT_WORD = r"(?<![^\s;&|()`])"
_SHELL = r"(?:[\w./]*/)?(?:ba|da|z|k|mk|a)?sh"
_READER = rf"(?<![\w./])(?<!\w-)(?<!\s-)(?<!--)(?:eval|trap|su|ssh|{_SHELL}(?:\s+[-+][^\s'\"]+)*?\s+-[A-Za-z]*c)(?=\s)"
_ONLY_AS_COMMANDS = frozenset({"eval", "trap", "su", "case"})
"""Elsewhere these are words like any other."""

_IN_WORDS = re.compile(
    rf"\\.|\$'|\$?\(\(|\$\(|[<>]&|&>|[`'\"()\n;&|]|<<<|<<-?|{_NAME}|(?P<reader>{_READER})"
    rf"|{_AT_WORD}(?:#[^\n]*|(?:case|esac)(?![^\s;&|()]))",
    re.DOTALL,
)
_IN_DOUBLE = re.compile(rf"\\.|\$\(\(?|[`\"]|{_NAME}", re.DOTALL)
_IN_DOCUMENT = re.compile(rf"\\.|\$\(\(?|`|{_NAME}", re.DOTALL)
_IN_SINGLE = re.compile(rf"'|{_NAME}")
_IN_ANSI = re.compile(rf"\\.|'|{_NAME}", re.DOTALL)
_NAMES = re.compile(_NAME)

_DELIMITER = re.compile(r"[ \t]*((?:\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\s;&|<>()'\"\\])+)", re.DOTALL)
_QUOTES = re.compile(r"\\(.)|['\"]", re.DOTALL)
_COMMAND_FOLLOWS = re.compile(
    r"(?:^|[;&|()`{!\n]|\$\{\w+:?[-=+]|\b(?:then|do|else|elif|if|while|until|time|command|builtin|coproc))\s*(?:\w+=\S*\s+)*$"
)
_READS_STDIN = re.compile(rf"{_AT_WORD}(?:ssh\s|{_SHELL}(?:\s+-[^\s'\"]*)*\s*(?:<<|[;&|)]|$))")
_COMMENT_IN_BACKTICKS = re.compile(r"[^\n`]*")
_BACK = 60
"""Characters before a word that are looked at to see whether a command begins with it."""

_SYNTAX = (*"'\"`$(){;&|<#\\\n", "case", "eval", "trap")

_BACKTICK, _SUBSTITUTION, _PAREN, _ARITHMETIC = "backtick", "substitution", "paren", "arithmetic"
_CASE, _ESCAPED_DOUBLE = "case", "escaped"


@dataclass(slots=True)
class _Reading:
    """One pass over `line[at:end]`; `inside` is what is open, outermost first."""

    line: str
    at: int
    end: int
    names: Container[str]
    inside: list[Place | str]
    in_document: bool = False
    read_again: bool = False
    end_of_document: str | None = None
    reader: int = 0
    documents: list[tuple[str, bool, bool]] = field(default_factory=list)
    outer_documents: list[list[tuple[str, bool, bool]]] = field(default_factory=list)

    def placeholders(self) -> Iterator[Placeholder]:
        while token := _PATTERNS.get(self.inside[-1], _IN_WORDS).search(self.line, self.at, self.end):
            self.at = token.end()
            if token["name"] is not None:
                yield from self._named(token, _PLACES.get(self.inside[-1], WORD))
            elif self.inside[-1] in _PATTERNS:
                self._in_quotes(token[0])
            else:
                yield from self._in_words(token)

    def _named(self, token: re.Match[str], place: Place) -> Iterator[Placeholder]:
        if token["name"] in self.names:
            again = self.read_again or bool(self.reader)
            yield Placeholder(
                token.start(), token.end(), token["name"], place, self.in_document, again, self.end_of_document
            )

    def _in_quotes(self, text: str) -> None:
        if text == _ENDS.get(self.inside[-1]):
            self._close()
        elif text in ("`", "$("):
            self._substitution(text)
        elif text == "$((":
            self.inside += [_ARITHMETIC, _ARITHMETIC]

    def _in_words(self, token: re.Match[str]) -> Iterator[Placeholder]:
        text = token[0]
        if text.startswith("<<"):
            yield from self._redirection(text)
        elif text in ";&|\n":
            yield from self._separator(text)
        elif text in _ONLY_AS_COMMANDS and not self._begins_command(token.start()):
            return
        elif token["reader"]:
            self.reader = self.reader or len(self.inside)
        elif text.startswith("#"):
            self._comment(token.start())
        else:
            self._word(text)

    def _word(self, text: str) -> None:
        inside = self.inside
        match text:
            case "'" | '"' | "$'":
                inside.append({"'": SINGLE, '"': DOUBLE, "$'": ANSI}[text])
            case '\\"' if inside[-1] == _BACKTICK and inside[-2:-1] == [DOUBLE]:
                inside.append(_ESCAPED_DOUBLE)
            case "`" if inside[-1] == _BACKTICK:
                self._close()
            case "`" | "$(":
                self._substitution(text)
            case "((" | "$((":
                inside += [_ARITHMETIC, _ARITHMETIC]
            case "(":
                inside.append(_ARITHMETIC if inside[-1] == _ARITHMETIC else _PAREN)
            case ")" if inside[-1] in (_PAREN, _ARITHMETIC, _SUBSTITUTION):
                self._close()
            case "case":
                inside.append(_CASE)
            case "esac" if inside[-1] == _CASE:
                self._close()

    def _begins_command(self, start: int) -> bool:
        return _COMMAND_FOLLOWS.search(self.line, max(start - _BACK, 0), start) is not None

    def _comment(self, start: int) -> None:
        """In backticks a comment ends with them."""
        if self.inside[-1] == _BACKTICK:
            found = _COMMENT_IN_BACKTICKS.match(self.line, start, self.end)
            self.at = found.end() if found else self.at

    def _substitution(self, text: str) -> None:
        """The here-documents that were announced before it begin after it."""
        self.inside.append(_BACKTICK if text == "`" else _SUBSTITUTION)
        self.outer_documents.append(self.documents)
        self.documents = []

    def _close(self) -> None:
        if self.inside.pop() in (_BACKTICK, _SUBSTITUTION):
            self.documents = self.outer_documents.pop() + self.documents
        if len(self.inside) < self.reader:
            self.reader = 0

    def _separator(self, text: str) -> Iterator[Placeholder]:
        if len(self.inside) <= self.reader:
            self.reader = 0
        if text == "\n" and self.documents:
            documents, self.documents = self.documents, []
            first = self.line.rfind("\n", 0, self.at - 1) + 1
            again = (
                self.read_again or bool(self.reader) or _READS_STDIN.search(self.line, first, self.at - 1) is not None
            )
            for delimiter, quoted, strips in documents:
                yield from self._document(delimiter, quoted, strips, again)

    def _redirection(self, text: str) -> Iterator[Placeholder]:
        if text == "<<<" or self.inside[-1] == _ARITHMETIC:
            return
        word = _DELIMITER.match(self.line, self.at, self.end)
        if word is None:
            return
        for token in _NAMES.finditer(self.line, word.start(), word.end()):
            yield from self._named(token, LITERAL)
        raw = word[1]
        self.documents.append((_QUOTES.sub(r"\1", raw), _QUOTES.search(raw) is not None, text == "<<-"))
        self.at = word.end()

    def _document(self, delimiter: str, quoted: bool, strips: bool, again: bool) -> Iterator[Placeholder]:
        tabs = "\t*" if strips else ""
        last = re.compile(f"^{tabs}{re.escape(delimiter)}$", re.MULTILINE).search(self.line, self.at, self.end)
        end = last.start() if last else self.end
        inside: list[Place | str] = [LITERAL if quoted else DOCUMENT]
        ends = delimiter if quoted else None
        yield from _Reading(self.line, self.at, end, self.names, inside, True, again, ends).placeholders()
        self.at = end
        if last:
            for token in _NAMES.finditer(self.line, last.start(), last.end()):
                yield from self._named(token, LITERAL)
            self.at = last.end()


_PATTERNS: dict[Place | str, re.Pattern[str]] = {
    SINGLE: _IN_SINGLE,
    DOUBLE: _IN_DOUBLE,
    ANSI: _IN_ANSI,
    DOCUMENT: _IN_DOCUMENT,
    LITERAL: _NAMES,
    _ESCAPED_DOUBLE: _IN_DOUBLE,
}
_ENDS: dict[Place | str, str] = {SINGLE: "'", DOUBLE: '"', ANSI: "'", _ESCAPED_DOUBLE: '\\"'}
_PLACES: dict[Place | str, Place] = {place: place for place in Place} | {_ESCAPED_DOUBLE: DOUBLE}


def placeholders(line: str, names: Container[str]) -> Iterator[Placeholder]:
    """The `{name}` in `line` that a shell would not take for a comment, in their order; only those of `names`.

    Raises Impossible for a line that would take long to read.
    """
    if len(line) > MAX_SYNTAX and sum(map(line.count, _SYNTAX)) > MAX_SYNTAX:
        raise Impossible(
            f"A line with parameters has more than {MAX_SYNTAX} quotes, brackets and their like: use a script"
        )
    return _Reading(line, 0, len(line), names, [WORD]).placeholders()
