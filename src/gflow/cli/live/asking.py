"""What lies over the screen for a moment: a question to be answered with y or n, and the list of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import ModalScreen
from textual.widgets import Static

from gflow.cli.live.layout import KEYS

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.events import Key

_MOVING = (
    ("↑ ↓ j k", "another job"),
    ("PgUp PgDn", "a page"),
    ("Home End", "first, last"),
    ("[ ]", "back and on in the log"),
    ("Esc", "show all again"),
)


class Question(ModalScreen[bool]):
    """True for y; every other key is a no."""

    CSS = """
    Question { align: center middle; }
    #question { width: auto; max-width: 90%; height: auto; padding: 0 1; border: solid $primary; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(f"{self._text}  y / n", id="question", markup=False)

    def on_key(self, event: Key) -> None:
        event.stop()
        self.dismiss(event.key in ("y", "Y"))


class Keys(ModalScreen[None]):
    """All keys; any of them closes it."""

    CSS = """
    Keys { align: center middle; }
    #keys { width: auto; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; border: solid $primary; }
    """

    def compose(self) -> ComposeResult:
        lines = [f"{key:<10} {what}" for key, what in (*KEYS, *_MOVING)]
        yield Static("\n".join(lines), id="keys", markup=False)

    def on_key(self, event: Key) -> None:
        event.stop()
        self.dismiss(None)
