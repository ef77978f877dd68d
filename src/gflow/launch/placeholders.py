"""Filling `{param}` placeholders, and references to gflow's own variables, into commands. Pure.

Only what was declared is replaced; `awk '{print}'` and `${HOME}` stay as typed. In a shell line a value is quoted for
the place it lands in, so it is always data: one word, never a command.
"""

import re
import shlex
from collections.abc import Mapping, MutableSequence

_IN_ARGV = re.compile(
    r"\$\{(?P<braced>GFLOW_[A-Z0-9_]+|CUDA_VISIBLE_DEVICES)\}"
    r"|\$(?P<plain>GFLOW_[A-Za-z0-9_]+|CUDA_VISIBLE_DEVICES(?![A-Za-z0-9_]))"
    r"|(?<!\$)\{(?P<parameter>[^{}]+)\}"
)
_IN_LINE = re.compile(r"(?<!\$)\{([^{}]+)\}")
_SPECIAL_IN_DOUBLE_QUOTES = re.compile(r'([\\"$`])')

_BARE, _PAREN, _BACKTICK, _SINGLE, _DOUBLE, _ANSI = "bare", "paren", "backtick", "single", "double", "ansi"


def fill_argument(text: str, variables: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """`text` with `$NAME` and `${NAME}` of `variables` and `{name}` of `parameters` filled in, once and literally."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        known = variables.get(name) if name else parameters.get(match["parameter"])
        return match[0] if known is None else known

    return _IN_ARGV.sub(value, text)


def fill_line(line: str, parameters: Mapping[str, str]) -> str:
    """The shell line with `{name}` of `parameters` filled in, each value quoted for its surroundings."""
    filled: list[str] = []
    contexts = [_BARE]
    at = 0
    while at < len(line):
        match = _IN_LINE.match(line, at)
        if match and match[1] in parameters:
            filled.append(_quote(parameters[match[1]], contexts[-1]))
            at = match.end()
        else:
            step = _step(line, at, contexts)
            filled.append(line[at : at + step])
            at += step
    return "".join(filled)


def _quote(value: str, context: str) -> str:
    match context:
        case "single":
            return value.replace("'", "'\\''")
        case "double":
            return _SPECIAL_IN_DOUBLE_QUOTES.sub(r"\\\1", value)
        case "ansi":
            return value.replace("\\", "\\\\").replace("'", "\\'")
        case _:
            return shlex.quote(value)


def _step(line: str, at: int, contexts: MutableSequence[str]) -> int:
    """How many characters at `at` belong together; `contexts` follows the quotes they open and close."""
    context = contexts[-1]
    if context == _SINGLE:
        return _close(contexts) if line[at] == "'" else 1
    if line[at] == "\\":
        return 2
    if context == _ANSI:
        return _close(contexts) if line[at] == "'" else 1
    if context == _DOUBLE:
        return _step_in_double_quotes(line, at, contexts)
    return _step_bare(line, at, contexts)


def _step_in_double_quotes(line: str, at: int, contexts: MutableSequence[str]) -> int:
    if line[at] == '"':
        return _close(contexts)
    if line.startswith("$(", at):
        return _open(contexts, _PAREN, 2)
    return _open(contexts, _BACKTICK, 1) if line[at] == "`" else 1


def _step_bare(line: str, at: int, contexts: MutableSequence[str]) -> int:
    if line.startswith("$'", at):
        return _open(contexts, _ANSI, 2)
    match line[at]:
        case "'":
            return _open(contexts, _SINGLE, 1)
        case '"':
            return _open(contexts, _DOUBLE, 1)
        case "(":
            return _open(contexts, _PAREN, 1)
        case ")" if contexts[-1] == _PAREN:
            return _close(contexts)
        case "`":
            return _close(contexts) if contexts[-1] == _BACKTICK else _open(contexts, _BACKTICK, 1)
        case "#" if at == 0 or line[at - 1] in " \t\n;&|()":
            return _rest_of_line(line, at)
        case _:
            return 1


def _rest_of_line(line: str, at: int) -> int:
    end = line.find("\n", at)
    return (end if end >= 0 else len(line)) - at


def _open(contexts: MutableSequence[str], context: str, length: int) -> int:
    contexts.append(context)
    return length


def _close(contexts: MutableSequence[str]) -> int:
    contexts.pop()
    return 1
