"""`# GFLOW` directives: the options a script carries in the comment block before its first command.

A wrong one is an error that names file and line: whoever wrote it counts on it.
"""

from __future__ import annotations

from gflow.cli.command import UsageError
from gflow.cli.quick import Unclear, exclusive_message, read_options, twice_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from gflow.cli.command import Option, Values

    Places = dict[str, str]

MARK = "# GFLOW"


def read(
    text: str,
    origin: str,
    options: tuple[Option, ...],
    exclusive: tuple[tuple[str, ...], ...] = (),
    places: Places | None = None,
) -> Values:
    """What the directives in `text` set, by dest; a later one wins, but that
    of those that may be given several times all count. Raises `UsageError`, naming `origin` and line.

    `places` is told where each of them is."""
    given: Values = {}
    for number, rest in lines(text):
        where = f"{origin}:{number}: {MARK}"
        found = read_words(options, split(rest, where), where)
        several = {option.dest for option in options if option.multiple and option.dest in found}
        twice = next((option for option in options if option.once and option.dest in found.keys() & given), None)
        if twice is not None:
            raise UsageError(f"{where}: {twice_message(twice)}")
        given |= found | {dest: given.get(dest, []) + found[dest] for dest in several}
        if places is not None:
            places |= dict.fromkeys(found, where)
    for group in exclusive:
        if sum(dest in given for dest in group) > 1:
            raise UsageError(f"{origin}: {MARK}: {exclusive_message(options, group, given)}")
    return given


def read_words(options: tuple[Option, ...], words: list[str], where: str) -> Values:
    """What the options in `words` set, by dest. Raises `UsageError` for anything else."""
    try:
        found, left = read_options(options, words)
    except Unclear:
        found, left = {}, words
    if left:
        raise UsageError(f"{where}: {_complaint(options, words)}")
    return found


def lines(text: str) -> Iterator[tuple[int, str]]:
    """(line number, what follows the mark) of every directive before the first command."""
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip()
        if line.startswith(MARK) and (len(line) == len(MARK) or line[len(MARK)].isspace()):
            yield number, line[len(MARK) :].strip()
        elif line.strip() and not line.lstrip().startswith("#"):
            return


def replaced(values: Values, said: Values, exclusive: tuple[tuple[str, ...], ...]) -> list[str]:
    """What of the directives does not count beside other options of the command line, in a line each."""
    lines = []
    for group in exclusive:
        given = [dest for dest in group if values[dest] is not None and values[dest] is not False]
        lost = [dest for dest in group if dest in said and given and dest not in given]
        if lost:
            names = [f"--{dest.replace('_', '-')}" for dest in (lost[0], given[0])]
            lines.append(f"{MARK} {names[0]} does not count: the command line says {names[1]}")
    return lines


def merge(
    values: Values, directives: Values, exclusive: tuple[tuple[str, ...], ...] = (), added: tuple[str, ...] = ()
) -> Values:
    """`values` of the command line over those of the directives; one of an exclusive group replaces them all.

    The lists of `added` are put together, those of the directives first.
    """
    given = {dest for dest, value in values.items() if value is not None and value is not False}
    said = given.union(*(group for group in exclusive if given.intersection(group)))
    both = {dest: directives[dest] + values[dest] for dest in added if dest in given and dest in directives}
    return values | {dest: value for dest, value in directives.items() if dest not in said} | both


def split(text: str, where: str, *, comments: bool = False) -> list[str]:
    """The words of a line, as a shell would have them. Raises `UsageError`."""
    if not any(char in text for char in "'\"\\#"):
        return text.split()
    import shlex

    try:
        return shlex.split(text, comments=comments)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from error


def _complaint(options: tuple[Option, ...], words: list[str]) -> str:
    from gflow.cli.full import complaint

    return complaint(options, words)
