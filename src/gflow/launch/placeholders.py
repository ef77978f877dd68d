"""Filling `{param}` placeholders, and references to gflow's own variables, into commands. Pure.

Only what was declared is replaced; `awk '{print}'` and `${HOME}` stay as typed. A shell line never contains a value
that a shell could read anything into: only plain words are written into it. Any other is in the job's environment, and
the line has an expansion of that variable, quoted for the place. What an expansion yields is not parsed again, so a
value is data even where a strange line was misread; where it would be read again it is refused.
"""

import re
from collections.abc import Mapping

from gflow.core.errors import Impossible
from gflow.launch.read_again import check_arithmetic, check_reader
from gflow.launch.shell_text import Place, Placeholder, placeholders

_IN_ARGV = re.compile(
    r"\$\{(?P<braced>GFLOW_[A-Z0-9_]+|CUDA_VISIBLE_DEVICES)\}"
    r"|\$(?P<plain>GFLOW_[A-Za-z0-9_]+|CUDA_VISIBLE_DEVICES(?![A-Za-z0-9_]))"
    r"|(?<!\$)\{(?P<parameter>[^{}]+)\}"
)
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_REFERENCES = {
    Place.WORD: '"${%s}"',
    Place.DOUBLE: "${%s}",
    Place.SINGLE: "'\"${%s}\"'",
    Place.ANSI: "'\"${%s}\"$'",
    Place.DOCUMENT: "${%s}",
}


def fill_argument(text: str, variables: Mapping[str, str], parameters: Mapping[str, str]) -> str:
    """`text` with `$NAME` and `${NAME}` of `variables` and `{name}` of `parameters` filled in, once and literally."""

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        known = variables.get(name) if name else parameters.get(match["parameter"])
        return match[0] if known is None else known

    return _IN_ARGV.sub(value, text)


def parameter_variables(names: Mapping[str, str]) -> dict[str, str]:
    """The variable that carries each parameter: GFLOW_PARAM_LR for `lr`, and GFLOW_PARAM_LR_ for an `LR` beside it."""
    variables: dict[str, str] = {}
    for name in names:
        variable = "GFLOW_PARAM_" + re.sub(r"[^A-Za-z0-9_]", "_", name).upper()
        while variable in variables.values():
            variable += "_"
        variables[name] = variable
    return variables


def is_plain(value: str) -> bool:
    """Whether any shell reads `value` as itself, in whatever quotes."""
    return not value or _PLAIN.fullmatch(value) is not None


def fill_line(line: str, parameters: Mapping[str, str]) -> str:
    """The shell line with `{name}` of `parameters` filled in, as plain words and expansions of `parameter_variables`.

    Raises Impossible for a value that a shell would read as more than data, or could not be given, where it stands.
    """
    if not parameters:
        return line
    variables = parameter_variables(parameters)
    found = list(placeholders(line, parameters))
    for one in found:
        _check(one, parameters[one.name], variables[one.name])
    _check_ends(line, found, parameters)
    check_arithmetic(line, found, parameters)
    return "".join(_pieces(line, found, parameters, variables))


def referred_to(line: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """The variables, with their values, that the filled `line` expands in the place of parameters."""
    variables = parameter_variables(parameters)
    return {variables[name]: parameters[name] for name in parameters if f"${{{variables[name]}}}" in line}


def _check(placeholder: Placeholder, value: str, variable: str) -> None:
    if placeholder.place is Place.LITERAL and not is_plain(value):
        raise Impossible(
            f"{{{placeholder.name}}} is in a here-document whose delimiter is quoted, where a shell fills in nothing,"
            f" and its value is no plain word: leave out the quotes, or read {variable} from the environment"
        )
    if placeholder.read_again:
        check_reader(placeholder.name, value, variable)


def _check_ends(line: str, found: list[Placeholder], parameters: Mapping[str, str]) -> None:
    """Raise Impossible if what is written into a here-document would end it, and make commands of the rest."""
    end = -1
    for one in found:
        if one.end_of_document is None or one.start < end:
            continue
        start, end = line.rfind("\n", 0, one.start) + 1, line.find("\n", one.end)
        end = end if end >= 0 else len(line)
        if fill_argument(line[start:end], {}, parameters).lstrip("\t") == one.end_of_document:
            raise Impossible(f"The value of {{{one.name}}} would end the here-document that it is in: use another end")


def _pieces(
    line: str, found: list[Placeholder], parameters: Mapping[str, str], variables: Mapping[str, str]
) -> list[str]:
    pieces: list[str] = []
    at = 0
    for one in found:
        pieces += [line[at : one.start], _text(one, parameters[one.name], variables[one.name])]
        at = one.end
    return [*pieces, line[at:]]


def _text(placeholder: Placeholder, value: str, variable: str) -> str:
    """What stands in the place of a placeholder. In a here-document a plain word could be its end."""
    place = placeholder.place
    if not value:
        return "''" if place is Place.WORD else ""
    if place is Place.LITERAL or (is_plain(value) and not placeholder.in_document):
        return value
    return _REFERENCES[place] % variable
