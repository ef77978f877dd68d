"""The queue as people see it: which cells are asked of the daemon, and how they are put on a terminal or in a pipe."""

from __future__ import annotations

from gflow.cli.colour import STATE_COLOURS
from gflow.cli.render.table import table, width
from gflow.cli.states import STATES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    Rows = list[list[str]]

_SOFT = ("NAME", "NODELIST(REASON)", "REASON", "USER", "PROJECT", "DEPENDS", "GROUP", "GROUPID")
_BY_STATE = ("Running", "Queued", "Hold", "Finished", "Failed", "Cancelled", "Timeout")
_RULE = 60


class View:
    """How the queue is shown.

    - shown: the columns. asked: all that is needed for them, `shown` first.
    - tree, by_state: what stands below what, or one part for each state.
    - symbols: for eyes, with colours. most: the columns of the terminal, None if it is none.
    """

    def __init__(
        self, shown: Sequence[str], *, tree: bool, by_state: bool, symbols: bool, live: bool, most: int | None
    ) -> None:
        self.shown = tuple(shown)
        self.tree = tree
        self.by_state = by_state
        self.symbols = symbols
        self.most = most
        needed: tuple[str, ...] = ("JOBID", "DEPENDS", "REDOOF") if tree else ()
        needed += ("ST",) if by_state or symbols or live else ()
        needed += ("GROUPID",) if symbols else ()
        self.asked = self.shown + tuple(name for name in needed if name not in self.shown)

    def groups(self, rows: Rows) -> set[str]:
        """The ids of the groups that the jobs of these rows are in, as far as bars are shown of them: for eyes only."""
        if not self.symbols:
            return set()
        at = self.asked.index("GROUPID")
        return {row[at] for row in rows if row[at] != "-"}

    def text(self, rows: Rows) -> str:
        """The lines of these rows, each with its newline."""
        if self.symbols:
            self._mark_running(rows)
        if self.by_state:
            return self._parts(rows)
        if self.tree:
            rows = self._branches(rows)
        return self._table(rows)

    def _table(self, rows: Rows) -> str:
        size = len(self.shown)
        cells = [row[:size] for row in rows] if rows and len(rows[0]) != size else rows
        return table(
            self.shown,
            cells,
            self._paint if self.symbols else None,
            most=self.most,
            soft=self._soft(),
            mark="…" if self.symbols else "+",
        )

    def _soft(self) -> list[int]:
        return [at for at, name in enumerate(self.shown) if name in _SOFT]

    def _paint(self, column: int, cell: str) -> str:
        return STATE_COLOURS.get(cell, "") if self.shown[column] == "ST" else ""

    def _mark_running(self, rows: Rows) -> None:
        """A sign at the names of jobs that have a terminal to look at."""
        if "NAME" in self.asked:
            name, state = self.asked.index("NAME"), self.asked.index("ST")
            for row in rows:
                if row[state] == "R":
                    row[name] += " \u25cb"

    def _parts(self, rows: Rows) -> str:
        """One part for each state, with columns that are equally wide in all of them."""
        at, names = self.asked.index("ST"), {code: state for state, code in STATES.items()}
        rows = sorted(rows, key=lambda row: _BY_STATE.index(names[row[at]]))
        head, *lines = self._table(rows).splitlines(keepends=True)
        parts = []
        for state in _BY_STATE:
            found = [line for line, row in zip(lines, rows, strict=True) if names[row[at]] == state]
            if found:
                rule = ("─" if self.symbols else "-") * min(_RULE, self.most or _RULE)
                parts.append(f"{state} ({len(found)})\n{rule}\n{head}{''.join(found)}")
        return "\n".join(parts)

    def _branches(self, rows: Rows) -> Rows:
        from gflow.cli.render.tree import MOST_DEEP, depth_within

        found, first = self._tree(rows, MOST_DEEP, short=False)
        if self.most is None:
            return found
        from gflow.cli.render.fit import room_for

        sizes = [max(map(width, column)) for column in zip(*found, strict=True)][: len(self.shown)]
        room = room_for(first, sizes, self._soft(), self.most)
        if sizes[first] <= room:
            return found
        longest = max(width(row[first]) for row in rows)
        return self._tree(rows, depth_within(room, longest), short=True)[0]

    def _tree(self, rows: Rows, most_deep: int, *, short: bool) -> tuple[Rows, int]:
        """The rows in the order of the tree, and the place of the column that it is drawn in."""
        from gflow.cli.render.tree import branches, reference

        job, above, earlier = (self.asked.index(name) for name in ("JOBID", "DEPENDS", "REDOOF"))
        first = job if job < len(self.shown) else 0
        links = [[*((one, False) for one in row[above].split(",")), (row[earlier], True)] for row in rows]
        found = []
        lines = branches([row[job] for row in rows], links, symbols=self.symbols, most_deep=most_deep)
        for prefix, at, refers in lines:
            row = [""] * len(self.asked) if refers else list(rows[at])
            there = reference(rows[at][job], symbols=self.symbols, short=short) if refers else row[first]
            row[first] = prefix + there
            found.append(row)
        return found, first
