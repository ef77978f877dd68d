"""What a measurement says: one row for each comparison, as a Markdown table."""

import dataclasses
import operator

_COMPARE = {"≤": operator.le, "≥": operator.ge}


@dataclasses.dataclass(frozen=True)
class Goal:
    """What `value` (in the row's unit), or its ratio to the peer's value, is to be: `sign` is ≤ or ≥."""

    sign: str
    bound: float
    of_ratio: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """One measured value, if there is a peer beside the peer's, if there is a goal with it.

    A peer without `peer_value` could not be measured. `digits` is the number of decimals.
    """

    subject: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    goal: Goal | None = None
    digits: int = 1

    @property
    def ratio(self) -> float | None:
        """value / peer's value."""
        return self.value / self.peer_value if self.peer_value else None

    @property
    def met(self) -> str:
        """`yes`, `no`, or a dash where nothing can be said."""
        if self.goal is None:
            return "-"
        judged = self.ratio if self.goal.of_ratio else self.value
        if judged is None:
            return "-"
        return "yes" if _COMPARE[self.goal.sign](judged, self.goal.bound) else "no"

    def cells(self) -> list[str]:
        """The row of the table."""
        ratio, goal = "-" if self.ratio is None else f"{self.ratio:.2f}", "-"
        if self.goal is not None:
            unit = " x" if self.goal.of_ratio else f" {self.unit}"
            goal = f"{self.goal.sign} {self.goal.bound:g}{unit}"
        return [self.subject, self.quantity(self.value), self.peer or "-", self.peer_quantity(), ratio, goal, self.met]

    def quantity(self, value: float) -> str:
        """The value with its unit."""
        return f"{value:,.{self.digits}f} {self.unit}"

    def peer_quantity(self) -> str:
        """The peer's value with its unit."""
        if not self.peer:
            return "-"
        return "not measured" if self.peer_value is None else self.quantity(self.peer_value)


HEADER = ["measured", "gflow", "beside", "its value", "ratio", "target", "met"]


def table(rows: list[Row]) -> str:
    """The rows as an aligned Markdown table."""
    cells = [HEADER, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADER))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
