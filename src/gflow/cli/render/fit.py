"""Tables and sentences on narrow terminals: which columns give how much, and where lines are broken. Pure.

What is long gives first, then the space between columns, then headings that are wider than what is below them. Numbers
and times are never cut: where all that is not enough, the terminal has to fold the lines.
"""

from __future__ import annotations

from gflow.cli.render.table import GAP, width

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_LONG, _SHORT, _LEAST = 24, 12, 4
"""What soft columns are cut to, at first, then, and at last."""


def fitted(widths: Sequence[int], contents: Sequence[int], soft: Collection[int], most: int) -> tuple[list[int], int]:
    """The widths of columns, and the gap between them, for lines of `most` columns.

    - widths: with the headings; contents: without. soft: places of columns whose cells may be cut.
    """
    found = list(widths)

    def over(gap: int) -> int:
        return 1 + sum(found) + gap * (len(found) - 1) - most

    _shrink(found, soft, _LONG, over(GAP))
    gap = next((gap for gap in range(GAP, 1, -1) if over(gap) <= 0), 1)
    if over(gap) > 0:
        _shrink(found, soft, _SHORT, over(gap))
        hard = [at for at in range(len(found)) if at not in soft]
        _shrink(found, hard, 2, over(gap), contents)
        _shrink(found, soft, _LEAST, over(gap))
    return found, gap


def room_for(at: int, widths: Sequence[int], soft: Collection[int], most: int) -> int:
    """The columns that are left for one of the columns when all others are as narrow as `fitted` makes them.

    - widths: without the headings.
    """
    others = [min(size, _LEAST) if place in soft else max(size, 2) for place, size in enumerate(widths) if place != at]
    return most - 1 - sum(others) - len(others)


def _shrink(
    widths: list[int], places: Collection[int], least: int, excess: int, contents: Sequence[int] | None = None
) -> None:
    """Take `excess` from these columns, always from the widest; none gets narrower than `least`, or its contents."""
    floors = {at: max(least, contents[at]) if contents is not None else least for at in places}
    while excess > 0:
        widest = max((at for at in places if widths[at] > floors[at]), key=lambda at: widths[at], default=None)
        if widest is None:
            return
        widths[widest] -= 1
        excess -= 1


def cut_rows(rows: Sequence[Sequence[str]], widths: Sequence[int], mark: str) -> list[list[str]]:
    """The rows with every cell as narrow as its column."""
    return [[cut(cell, size, mark) for cell, size in zip(row, widths, strict=True)] for row in rows]


def cut(text: str, columns: int, mark: str) -> str:
    """`text` in at most so many columns of a terminal; a `mark` at its end says that something is missing."""
    if width(text) <= columns:
        return text
    kept, used = "", width(mark)
    for char in text:
        used += width(char)
        if used > columns:
            break
        kept += char
    return kept + mark if columns > 0 else ""


def folded(line: str, columns: int | None, indent: str = "    ") -> str:
    """A line of words in as many lines as a terminal of so many columns needs, broken between words where there is room
    for them; those that follow begin with `indent`. None is no terminal: the line as it is."""
    if columns is None or width(line) <= columns:
        return line
    start = line[: len(line) - len(line.lstrip())]
    lines, room = [start], max(columns, len(indent) + 2)
    for word in line.split():
        glue = " " if lines[-1].strip() else ""
        if glue and width(lines[-1]) + 1 + width(word) > room:
            lines.append(indent)
            glue = ""
        lines[-1] += glue + word
    return "\n".join(lines)
