"""What lies over the screen for a moment: a question to be answered with y or n, and the list of keys.

Keys that were typed before it could be seen were not meant for it, and do not count.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeVar

from textual.screen import ModalScreen
from textual.widgets import Static

from gflow.cli.live.layout import KEYS

if TYPE_CHECKING:
    from textual.app import ComposeResult, RenderResult
    from textual.events import Key

_MOVING = (
    ("↑ ↓ j k", "another job"),
    ("PgUp PgDn", "a page"),
    ("Home End", "first, last"),
    ("[ ]", "back and on in the log"),
    ("Esc", "show all again"),
)


Answer = TypeVar("Answer")


class Overlay(ModalScreen[Answer]):
    """`press` takes the keys, from the moment at which its text is drawn."""

    seen_at = math.inf

    def seen(self) -> None:
        self.seen_at = min(self.seen_at, time.monotonic())

    def press(self, event: Key) -> None:
        if event.time > self.seen_at:
            self.answer(event.key)

    def answer(self, key: str) -> None:
        """Close, with what this key means."""
        raise NotImplementedError


class _Shown(Static):
    """The text of one."""

    def render(self) -> RenderResult:
        if isinstance(self.screen, Overlay):
            self.screen.seen()
        return super().render()


class Question(Overlay[bool]):
    """True for y; every other key is a no."""

    CSS = """
    Question { align: center middle; }
    #question { width: auto; max-width: 90%; height: auto; padding: 0 1; border: solid $primary; }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def compose(self) -> ComposeResult:
        yield _Shown(f"{self._text}  y / n", id="question", markup=False)

    def answer(self, key: str) -> None:
        self.dismiss(key in ("y", "Y"))


class Keys(Overlay[None]):
    """All keys; any of them closes it."""

    CSS = """
    Keys { align: center middle; }
    #keys { width: auto; max-width: 100%; height: auto; max-height: 100%; padding: 0 1; border: solid $primary; }
    """

    def compose(self) -> ComposeResult:
        lines = [f"{key:<10} {what}" for key, what in (*KEYS, *_MOVING)]
        yield _Shown("\n".join(lines), id="keys", markup=False)

    def answer(self, key: str) -> None:  # noqa: ARG002
        self.dismiss(None)
