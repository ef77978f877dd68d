"""Tables in gflow's style: one blank in front, three between columns, none at the end. Pure.

On a terminal that is too narrow for that, `fit` says how wide columns are and cells are cut; elsewhere nothing ever is.
"""

from __future__ import annotations

from gflow.client.plain import harmless as harmless

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    Paint = Callable[[int, str], str]

GAP = 3
RESET = "\x1b[0m"


def width(text: str) -> int:
    """Columns a terminal uses for `text`."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in text)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Paint | None = None,
    *,
    most: int | None = None,
    soft: Collection[int] = (),
    mark: str = "+",
) -> str:
    """The lines of a table, each with its newline.

    - paint(column, cell): the escape sequence a cell starts with, or nothing; cells themselves are plain text.
    - most: how many columns the terminal has, None if it is none. soft: places of the columns that may be cut then,
      which `mark` shows.
    """
    columns = list(zip(header, *rows, strict=True))
    widths, gap = list(map(_widest, columns)), GAP
    if most is not None and 1 + sum(widths) + GAP * (len(widths) - 1) > most:
        from gflow.cli.render.fit import cut_rows, fitted

        widths, gap = fitted(widths, [_widest(column[1:]) for column in columns], soft, most)
        header, *rows = cut_rows([header, *rows], widths, mark)
    if paint is None and all("".join(column).isascii() for column in columns):
        line = " " + (" " * gap).join([f"%-{size}s" for size in widths])
        return "\n".join([(line % tuple(row)).rstrip() for row in (header, *rows)]) + "\n"
    return _line(header, widths, gap, None) + "".join([_line(row, widths, gap, paint) for row in rows])


def _widest(column: Sequence[str]) -> int:
    """The width of the widest cell. There may be very many: those of plain characters are measured at once."""
    return max(map(len if "".join(column).isascii() else width, column), default=0)


def _line(row: Sequence[str], widths: Sequence[int], gap: int, paint: Paint | None) -> str:
    cells = []
    for at, cell in enumerate(row):
        colour = paint(at, cell) if paint else ""
        padding = " " * (widths[at] - width(cell))
        cells.append(f"{colour}{cell}{RESET}{padding}" if colour else cell + padding)
    return (" " + (" " * gap).join(cells)).rstrip() + "\n"
