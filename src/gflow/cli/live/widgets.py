"""The parts of the screen: the list of jobs, and the end of a log. They hold what they are given, and ask nobody."""

from __future__ import annotations

import math
import time
from textwrap import wrap as wrapped
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding
from textual.message import Message
from textual.widget import Widget

from gflow.cli.live.layout import columns, fit, header, line

if TYPE_CHECKING:
    from textual.binding import BindingType
    from textual.events import Click, MouseScrollDown, MouseScrollUp, Resize

    from gflow.cli.live.picture import Row

STYLES = {"R": "green", "PD": "yellow", "H": "magenta", "CD": "blue", "F": "red", "TO": "red", "CA": "bright_black"}


class Queue(Widget, can_focus=True):
    """The jobs, one a line, one of them selected. The selection stays with its job as long as that is there.

    `seen_at` is when the selected one was drawn as that, infinite until then.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("home,g", "move(-1000000)", show=False),
        Binding("end,G", "move(1000000)", show=False),
    ]

    class Selected(Message):
        """Another job is selected, or none."""

    def __init__(self) -> None:
        super().__init__(id="queue")
        self._rows: list[Row] = []
        self._at = 0
        self._top = 0
        self.empty = ""
        self.seen_at = math.inf

    @property
    def selected(self) -> Row | None:
        return self._rows[self._at] if self._rows else None

    def show(self, rows: list[Row]) -> None:
        """Show these jobs, in this order."""
        before = self.selected
        places = {row.job_id: at for at, row in enumerate(rows)}
        at = min(self._at, len(rows) - 1) if before is None else places.get(before.job_id, min(self._at, len(rows) - 1))
        self._rows, self._at = rows, max(0, at)
        self._changed(before)

    def action_move(self, by: int) -> None:
        before = self.selected
        self._at = max(0, min(len(self._rows) - 1, self._at + by))
        self._changed(before)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.size.height - 2))

    def on_click(self, event: Click) -> None:
        if 0 < event.y <= len(self._rows) - self._top:
            self.action_move(self._top + event.y - 1 - self._at)

    def on_mouse_scroll_down(self, _event: MouseScrollDown) -> None:
        self.action_move(1)

    def on_mouse_scroll_up(self, _event: MouseScrollUp) -> None:
        self.action_move(-1)

    def _changed(self, before: Row | None) -> None:
        self.refresh()
        now = self.selected
        if (before and before.job_id) != (now and now.job_id):
            self.seen_at = math.inf
        if (before and before.job_id) != (now and now.job_id) or (before and before.state) != (now and now.state):
            self.post_message(self.Selected())

    def render(self) -> Text:
        self.seen_at = min(self.seen_at, time.monotonic())
        high, wide = max(1, self.size.height - 1), self.size.width
        self._top = max(min(self._top, self._at, len(self._rows) - high), self._at - high + 1, 0)
        seen = self._rows[self._top : self._top + high]
        shown = columns(seen, wide)
        text = Text(fit(header(shown), wide), style="bold", no_wrap=True, overflow="crop", end="")
        for at, row in enumerate(seen, self._top):
            style = STYLES.get(row.state, "")
            text.append("\n")
            text.append(fit(line(row, shown), wide), f"{style} reverse" if at == self._at else style)
        if not seen:
            text.append(f"\n {self.empty}", "not bold")
        return text


class LogPane(Widget):
    """The last lines that fit; `scroll` looks further back."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: list[str] = []
        self._wrap = False
        self._back = 0

    def show(self, lines: list[str], *, wrap: bool) -> None:
        """Show these; sentences are to be wrapped, what a program has printed is cut."""
        self._lines, self._wrap = lines, wrap
        self.refresh()

    def look_back(self, pages: int) -> None:
        """So many pages up, or with a minus down."""
        self._back = max(0, self._back + pages * max(1, self.size.height - 1))
        self.refresh()

    def to_the_end(self) -> None:
        self._back = 0
        self.refresh()

    def on_mouse_scroll_up(self, _event: MouseScrollUp) -> None:
        self._back += 3
        self.refresh()

    def on_mouse_scroll_down(self, _event: MouseScrollDown) -> None:
        self._back = max(0, self._back - 3)
        self.refresh()

    def on_resize(self, _event: Resize) -> None:
        self.refresh()

    def render(self) -> Text:
        high, lines = max(1, self.size.height), self._lines
        if self._wrap:
            lines = [part for text in lines for part in wrapped(text, max(20, self.size.width), subsequent_indent="  ")]
        self._back = max(0, min(self._back, len(lines) - high))
        end = len(lines) - self._back
        seen = lines[max(0, end - high) : end]
        return Text("\n".join(fit(text, self.size.width) for text in seen), no_wrap=True, overflow="crop", end="")
