"""The line that the filter is typed in. It is given its keys, and takes none by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.widgets import Input

if TYPE_CHECKING:
    from textual.events import Key

_EDITS = {
    "backspace": "delete_left",
    "ctrl+h": "delete_left",
    "delete": "delete_right",
    "left": "cursor_left",
    "right": "cursor_right",
    "home": "home",
    "end": "end",
    "ctrl+a": "home",
    "ctrl+e": "end",
    "ctrl+u": "delete_left_all",
    "ctrl+k": "delete_right_all",
    "ctrl+w": "delete_left_word",
}
"""Keys, and what the library calls what they do."""


class FilterLine(Input):
    """`value` is what has been typed."""

    def __init__(self) -> None:
        super().__init__(id="filter", placeholder="words to look for", compact=True, select_on_focus=False)

    def open(self, text: str) -> None:
        """Appear, with this text."""
        self.display = True
        self.value = text
        self.action_end()
        self.focus()

    def press(self, event: Key) -> None:
        if event.key in _EDITS:
            getattr(self, f"action_{_EDITS[event.key]}")()
        elif event.is_printable and event.character:
            self.insert_text_at_cursor(event.character)

    def take(self, text: str) -> None:
        """Insert the first line of what was pasted."""
        self.insert_text_at_cursor(next(iter(text.splitlines()), ""))
