"""Tables in gflow's style: one blank in front, three between columns, none at the end. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Paint = Callable[[int, str], str]

_GAP = "   "
_STEERING = dict.fromkeys((*range(32), *range(127, 160)), "?")
RESET = "\x1b[0m"


def width(text: str) -> int:
    """Columns a terminal uses for `text`."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def harmless(text: str) -> str:
    """`text` without characters that steer a terminal: a name may hold anything its owner liked."""
    return text if text.isprintable() else text.translate(_STEERING)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], paint: Paint | None = None) -> str:
    """The lines of a table, each with its newline.

    `paint(column, cell)` is the escape sequence a cell starts with, or nothing; cells themselves are plain text.
    """
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(width, column)) for column in columns]
    if paint is None and all(cell.isascii() for column in columns for cell in column):
        line = " " + _GAP.join(f"%-{size}s" for size in widths)
        return "".join([(line % tuple(row)).rstrip() + "\n" for row in (header, *rows)])
    return _line(header, widths, None) + "".join([_line(row, widths, paint) for row in rows])


def _line(row: Sequence[str], widths: Sequence[int], paint: Paint | None) -> str:
    cells = []
    for at, cell in enumerate(row):
        colour = paint(at, cell) if paint else ""
        padding = " " * (widths[at] - width(cell))
        cells.append(f"{colour}{cell}{RESET}{padding}" if colour else cell + padding)
    return (" " + _GAP.join(cells)).rstrip() + "\n"
