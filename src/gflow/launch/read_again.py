"""Where a shell reads the result of an expansion once more: as arithmetic, or as a line of another shell. Pure.

Quotes are no help there. `$((x))`, `[[ $x -eq 1 ]]` or `let` run the command in the value `a[$(command)]`, also when it
came by way of a variable, and `eval` or `sh -c "… $x"` any. Such values are refused where the line has such a place.
"""

import re
from collections.abc import Mapping, Sequence

from gflow.core.errors import Impossible
from gflow.launch.shell_text import Placeholder

_ARITHMETIC = re.compile(
    r"\(\(|\$\[|\w\[|\$\{!|\$\{\w+:|-(?:eq|ne|lt|le|gt|ge)\b|\s-v\s"
    r"|\b(?:let|declare|typeset|local|export|readonly|unset|read|mapfile|readarray|getopts|wait)\b"
)
"""What may evaluate arithmetic, or names with a subscript, which is arithmetic too."""

_SUBSCRIPT = re.compile(r"\w\[")
_EXPANSION = re.compile(r"\$[({\w\[]|`")
_ACTIVE = re.compile(r"[;&|<>()$`\\'\"#!\n]")
_EXPANDS_OR_QUOTES = str.maketrans("", "", "$`'\"\\")


def check_arithmetic(line: str, found: Sequence[Placeholder], parameters: Mapping[str, str]) -> None:
    """Raise Impossible if arithmetic in `line` would run a command in one of the values that are filled in."""
    if not found or not any("$" in value or "`" in value for value in parameters.values()):
        return
    texts = [*parameters.values(), _with_values(line, found, parameters)]
    if _ARITHMETIC.search(line) and any(map(_expands_in_subscript, texts)):
        names = ", ".join(dict.fromkeys(f"{{{one.name}}}" for one in found))
        raise Impossible(
            f"The line may use a value ({names}) in arithmetic or as a subscript, where a shell would run it:"
            " leave out its $ and `, or use a script"
        )


def check_reader(name: str, value: str, variable: str) -> None:
    """Raise Impossible if `value` is more than words to a shell that reads it as a part of its line."""
    if _ACTIVE.search(value):
        raise Impossible(
            f"{{{name}}} is in what the line gives to another shell (eval, sh -c, ssh, …), where"
            f" its value would be read as commands: let it read {variable} from its environment, or use a script"
        )


def _expands_in_subscript(text: str) -> bool:
    """Whether an expansion comes after a subscript has begun; where that ends is not looked for."""
    begun = _SUBSCRIPT.search(text)
    return begun is not None and _EXPANSION.search(text, begun.end()) is not None


def _with_values(line: str, found: Sequence[Placeholder], parameters: Mapping[str, str]) -> str:
    """The line with all values as they are, and of the rest only what is no expansion and no quote."""
    pieces: list[str] = []
    at = 0
    for one in found:
        pieces += [line[at : one.start].translate(_EXPANDS_OR_QUOTES), parameters[one.name]]
        at = one.end
    return "".join(pieces)
