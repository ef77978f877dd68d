"""The screen of gflow top, and what its keys do.

Keys are taken one by one, each when all that the one before does is done. The library would hand them to whatever has
the focus when they are read, so that of a text that comes in one piece the end would be taken for commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding
from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import Static

from gflow.cli.live.asking import Keys, Overlay, Question
from gflow.cli.live.feed import Feed
from gflow.cli.live.filter_line import FilterLine
from gflow.cli.live.follow import Follow
from gflow.cli.live.layout import fit, gpu_lines, help_line
from gflow.cli.live.terminal import Terminal
from gflow.cli.live.widgets import LogPane, Queue
from gflow.cli.render.table import harmless
from gflow.cli.render.table import width as columns_of
from gflow.client.errors import ClientError
from gflow.client.http import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.binding import BindingType
    from textual.events import Event

    from gflow.cli.live.feed import Scope
    from gflow.cli.live.picture import Row

TICK_SECS = 1.0
REST_SECS = 0.15
"""Who goes through the list wants no log of each job on the way."""

SLOW_SECS = 2.0
SAID_SECS = 8.0

_DOES = {"cancel": "cancelled", "hold": "put on hold", "release": "released"}


class Top(App[None]):
    """`path` is the daemon's socket."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Screen { layout: vertical; }
    #queue { height: 1fr; min-height: 3; }
    #gpus, #head, #title, #foot { height: auto; }
    #head, #title { text-style: bold; }
    #log { height: 1fr; }
    #filter { height: 1; border: none; padding: 0; display: none; }
    .full #queue, .full #gpus { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c,ctrl+q", "quit", priority=False),
        Binding("question_mark,f1", "keys"),
        Binding("c", "ask_cancel"),
        Binding("a,enter", "attach"),
        Binding("h", "change('hold')"),
        Binding("r", "change('release')"),
        Binding("slash", "filter"),
        Binding("escape", "clear_filter"),
        Binding("l", "log"),
        Binding("m", "mine"),
        Binding("e", "ended"),
        Binding("left_square_bracket", "look_back(1)"),
        Binding("right_square_bracket", "look_back(-1)"),
    ]

    class News(Message):
        """A thread has something new to show."""

    class Said(Message):
        """What came of something that was asked for."""

        def __init__(self, text: str, *, bad: bool) -> None:
            super().__init__()
            self.text = text
            self.bad = bad

    class Attach(Message):
        """The command that opens a terminal."""

        def __init__(self, argv: list[str]) -> None:
            super().__init__()
            self.argv = argv

    def __init__(self, path: str, scope: Scope) -> None:
        super().__init__(driver_class=Terminal)
        self.theme = "ansi-dark"  # the colours of the terminal itself
        self._path = path
        self._feed = Feed(path, scope, self._news)
        self._follow: Follow | None = None
        self._news_is_out = False
        self._said: tuple[str, bool, float] | None = None
        self._filter = ""
        self._filtering = False
        self._typed_at = 0.0
        self._loop_of_screen: asyncio.AbstractEventLoop | None = None
        self._attached: subprocess.Popen[bytes] | None = None
        self._shown = self._feed.picture
        self._queue, self._pane = Queue(), LogPane()
        self._head, self._gpus, self._title = Static(id="head"), Static(id="gpus"), Static(id="title")
        self._foot = Static(id="foot")
        self._line = FilterLine()

    def compose(self) -> ComposeResult:
        yield from (self._head, self._queue, self._gpus, self._title, self._pane, self._line, self._foot)

    def on_load(self) -> None:
        self._loop_of_screen = asyncio.get_running_loop()

    def on_mount(self) -> None:
        self._queue.focus()
        self._feed.start()
        self.set_interval(TICK_SECS, self._draw)
        self._draw()

    def on_unmount(self) -> None:
        self._feed.stop()
        if self._follow is not None:
            self._follow.stop()

    def on_resize(self) -> None:
        self._draw()

    # -- showing

    def _news(self) -> None:
        """Called by threads. One message is enough, however much has happened until it is read."""
        if not self._news_is_out:
            self._news_is_out = True
            self._post(self.News())

    def _post(self, message: Message) -> None:
        with contextlib.suppress(RuntimeError):  # the screen is closed, and its loop with it
            self.post_message(message)

    def on_top_news(self, _message: News) -> None:
        self._news_is_out = False
        self._draw()

    def _draw(self) -> None:
        picture, width = self._feed.picture, self.size.width
        self._queue.empty = "No jobs found." if picture.seen_at is not None else "Asking gflowd ..."
        self._queue.show(picture.chosen(self._filter, time.monotonic()))
        lines = gpu_lines(picture.gpus, width, max(1, self.size.height // 6))
        self._gpus.update(Text("\n".join(lines), no_wrap=True, overflow="crop"))
        self._gpus.display = bool(lines)
        self._show_log(news=picture is not self._shown)
        self._shown = picture
        for part, text in (
            (self._head, self._heading()),
            (self._title, self._about_log()),
            (self._foot, self._footing()),
        ):
            part.update(text)

    def _show_log(self, *, news: bool) -> None:
        if self._follow is None:
            self._pane.show([], wrap=False)
            return
        self._pane.show(self._follow.lines, wrap=self._follow.waits)
        if news:
            self._follow.again()

    def _heading(self) -> Text:
        picture, width = self._feed.picture, self.size.width
        words = (" running", " waiting") if width >= 60 else (" R", " PD")
        free = sum(1 for gpu in picture.gpus if gpu.get("available"))
        parts = ["gflow top", f"{picture.running}{words[0]}", f"{picture.waiting}{words[1]}"]
        parts += [f"{free}/{len(picture.gpus)} GPUs free"] if picture.gpus and width >= 60 else []
        parts += ["mine"] if self._feed.scope.mine else []
        parts += [f"({picture.hidden} not shown)"] if picture.hidden and width >= 60 else []
        left, (right, style) = "  ".join(parts), self._standing()
        return Text.assemble(fit(f" {left}", max(0, width - len(right) - 1)), (right, style), no_wrap=True)

    def _standing(self) -> tuple[str, str]:
        """Whether what is shown is true, in a word or two."""
        feed = self._feed
        since = feed.asking_since
        if feed.trouble is not None:
            return feed.trouble, "bold red"
        if since is not None and time.monotonic() - since > SLOW_SECS:
            return f"slow: {time.monotonic() - since:.0f} s", "bold yellow"
        return time.strftime("%H:%M:%S"), "none"

    def _about_log(self) -> Text:
        row = self._queue.selected
        text = "" if row is None else f" job {row.job_id} {row.cells['NAME']} ({row.state}) "
        text = fit(f"──{text}", min(self.size.width, columns_of(text) + 2))
        return Text(text + "─" * (self.size.width - columns_of(text)), no_wrap=True)

    def _footing(self) -> Text:
        if self._said is not None and time.monotonic() < self._said[2]:
            return Text(fit(f" {self._said[0]}", self.size.width), "bold red" if self._said[1] else "bold")
        if self._filtering:
            return Text(fit(" Enter: keep   Esc: show all", self.size.width))
        if self._filter:
            return Text(fit(f" filter: {self._filter}   (Esc: show all)", self.size.width))
        parts = [part for key, what in help_line(self.size.width) for part in (" ", (key, "bold"), f" {what} ")]
        return Text.assemble(*parts, no_wrap=True)

    # -- the log

    def on_queue_selected(self, _message: Queue.Selected) -> None:
        row, scope = self._queue.selected, self._feed.scope
        scope.pinned = None if row is None else row.job_id
        if not scope.ended and self._feed.picture.has_ended:
            self._feed.refresh()  # one that was there for being selected may go
        self.set_timer(REST_SECS, self._follow_selected)

    def _follow_selected(self) -> None:
        row, follow = self._queue.selected, self._follow
        waits = row is not None and row.state in ("PD", "H")
        if row is not None and follow is not None and (row.job_id, waits) == (follow.job_id, follow.waits):
            return
        if follow is not None:
            follow.stop()
        self._pane.to_the_end()
        self._follow = None if row is None else Follow(self._path, row.job_id, self._news, waits=waits)
        self._draw()

    def action_look_back(self, pages: int) -> None:
        self._pane.look_back(pages)

    def action_log(self) -> None:
        self.screen.toggle_class("full")

    # -- which jobs

    def action_mine(self) -> None:
        self._feed.scope.mine = not self._feed.scope.mine
        self._feed.refresh()

    def action_ended(self) -> None:
        self._feed.scope.ended = not self._feed.scope.ended
        self._feed.refresh()

    def action_filter(self) -> None:
        self._filtering = True
        self._line.open(self._filter)
        self._said = None
        self._draw()

    def action_clear_filter(self) -> None:
        self._line.value = self._filter = ""
        self._close_filter()

    def _type(self, event: Key) -> None:
        """A key in the line of the filter: everything up to Enter is text."""
        self._line.press(event)
        self._filter = self._line.value
        match event.key:
            case "enter" | "ctrl+j":
                self._close_filter()
            case "escape":
                self.action_clear_filter()
            case _:
                self._draw()

    def _paste(self, text: str) -> None:
        self._line.take(text)
        self._filter = self._line.value
        self._draw()

    def _close_filter(self) -> None:
        self._filtering = False
        self._line.display = False
        self._queue.focus()
        self._draw()

    # -- keys

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded:
            await self._press(event)
        elif isinstance(event, Paste) and not event.is_forwarded:
            if self._filtering:
                self._paste(event.text)
        else:
            await super().on_event(event)

    async def _press(self, event: Key) -> None:
        self._typed_at = event.time
        if event.key == "ctrl+c":
            self.exit()
        elif isinstance(self.screen, Overlay):
            self.screen.press(event)
        elif self._filtering:
            self._type(event)
        elif event.key in self.screen.active_bindings:
            found = self.screen.active_bindings[event.key]
            await self.run_action(found.binding.action, found.node)

    def _meant(self) -> Row | None:
        """The selected job, if it could be seen when the key was pressed that something is to be done with it for."""
        row = self._queue.selected
        if row is not None and self._typed_at <= self._queue.seen_at:
            self._say(f"not done: the key came before job {row.job_id} was shown as the selected one", bad=True)
            return None
        return row

    # -- acting

    def action_keys(self) -> None:
        self.push_screen(Keys())

    def action_ask_cancel(self) -> None:
        row = self._queue.selected
        if row is not None:

            def decided(yes: bool | None) -> None:
                if yes:
                    self._change("cancel", row)

            self.push_screen(Question(f"Cancel job {row.job_id} ({row.cells['NAME']})?"), decided)

    def action_change(self, verb: str) -> None:
        row = self._meant()
        if row is not None:
            self._change(verb, row)

    def _change(self, verb: str, row: Row) -> None:
        def ask(client: Client) -> Message:
            getattr(client, verb)(row.job_id)
            return self.Said(f"Job {row.job_id} {_DOES[verb]}.", bad=False)

        self._ask(ask)

    def action_attach(self) -> None:
        row = self._meant()
        if row is not None:
            self._ask(lambda client: self.Attach(client.attach(row.job_id)))

    def _ask(self, what: Callable[[Client], Message]) -> None:
        """Ask the daemon in a thread of its own; what came of it is said when it has come."""

        def ask() -> None:
            try:
                self._post(what(Client(self._path)))
            except ClientError as error:
                self._post(self.Said(str(error), bad=True))

        self._say("asking gflowd ...", bad=False)
        threading.Thread(target=ask, daemon=True, name="question").start()

    def on_top_said(self, message: Said) -> None:
        self._say(message.text, bad=message.bad)
        self._feed.refresh()

    def _say(self, text: str, *, bad: bool) -> None:
        self._said = (harmless(text), bad, time.monotonic() + SAID_SECS)
        self._draw()

    def on_top_attach(self, message: Attach) -> None:
        """Hand the terminal over, and take it back when the user leaves."""
        # Inside a tmux of the user's own, tmux would refuse to nest; the job's server is another one.
        environ = {name: value for name, value in os.environ.items() if name != "TMUX"}
        try:
            with self.suspend(), subprocess.Popen(message.argv, env=environ) as self._attached:
                status = self._attached.wait()
        except OSError as error:
            self._say(f"cannot run {message.argv[0]}: {error.strerror}", bad=True)
            return
        self._say("" if status == 0 else f"the terminal could not be opened (status {status})", bad=True)
        self._said = self._said if status else None
        self.refresh(layout=True)
        self._feed.refresh()

    # -- the end

    def leave(self, status: int) -> None:
        """Close the screen, from a signal handler: whatever it is doing."""
        if self._loop_of_screen is None:
            sys.exit(status)
        if self._attached is not None:
            self._attached.terminate()
        self._loop_of_screen.call_soon_threadsafe(self.exit, None, status)

    def _print_error_renderables(self) -> None:
        """Of an error of our own one line is said, by who runs this; not what the library would draw of it."""
        self._exit_renderables.clear()

    @property
    def error(self) -> Exception | None:
        """What ended it, if that was an error of its own."""
        return self._exception
