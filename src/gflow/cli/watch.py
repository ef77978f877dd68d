"""gqueue --watch: the queue as it changes.

The daemon is asked again when it has told of an event, and not otherwise; in between only the times that count are
counted on, here. Events that come in a burst are one picture.
"""

from __future__ import annotations

import gc
import os
import select
import time

from gflow.cli.progress import footer
from gflow.cli.screen import QUIT, Screen
from gflow.client.errors import ClientError, Declined
from gflow.client.patience import be_quiet
from gflow.client.plain import harmless
from gflow.core.limits import format_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.view import Rows, View
    from gflow.client.http import Client

COUNT_SECS = 2.0
"""How often times are shown anew."""

AT_MOST_EVERY_SECS = 0.1
"""The daemon is asked no more often than that, and is left in peace for four times as long as it took to answer."""

LOOK_AGAIN_SECS = 0.5
"""How often a daemon that went away is looked for."""

_EVENT, _GONE = b"e", b"g"


class Ears:
    """Listens to `/events` in a thread; `fd` can be read when there is news."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.fd, self._write = os.pipe()
        os.set_blocking(self.fd, False)
        self.listening = False

    def listen(self) -> bool:
        """Begin, unless it has been begun; whether nothing is missed from now on."""
        if self.listening:
            return True
        try:
            stream = self._client.events()
            next(stream, b"")  # the greeting: from here on nothing is missed
        except ClientError:
            return False
        import threading

        self.listening = True
        threading.Thread(target=self._hear, args=(stream,), daemon=True).start()
        return True

    def _hear(self, stream: Any) -> None:
        try:
            for piece in stream:
                if b"data:" in piece or b"event:" in piece:
                    os.write(self._write, _EVENT)
        except ClientError:
            pass
        os.write(self._write, _GONE)

    def heard(self) -> bool:
        """Whether there was news since the last time."""
        try:
            news = os.read(self.fd, 65536)
        except BlockingIOError:
            return False
        if _GONE in news:
            self.listening = False
        return bool(news)


class Picture:
    """What was last seen of the queue, and when."""

    def __init__(self, client: Client, view: View, filters: dict[str, Any]) -> None:
        self._client, self._view, self._filters = client, view, filters
        self._rows: Rows = []
        self._foot: list[str] = []
        self._total = 0
        self._seen_at = self._next_at = 0.0
        self.stale = True

    def due_secs(self) -> float:
        """How long it takes until the daemon may be asked again."""
        return max(0.0, self._next_at - time.monotonic())

    def look(self) -> None:
        """Ask the daemon. Raises ClientError."""
        self.stale, begun = False, time.monotonic()
        self._rows, self._total = self._client.queue(self._view.asked, **self._filters)
        found = self._view.groups(self._rows)
        self._foot = footer(self._client, found, self._filters, self._view.most).splitlines() if found else []
        self._seen_at = time.monotonic()
        self._next_at = self._seen_at + max(AT_MOST_EVERY_SECS, 4 * (self._seen_at - begun))

    def lines(self, columns: int, height: int, trouble: str | None) -> list[str]:
        """At most `height` lines of `columns`: first about the whole, at last about arrays, as far as there is room."""
        self._view.most = columns
        head = f"gflow: {self._count()}   {time.strftime('%H:%M:%S')}   q: quit"
        rows = counted_on(self._rows, self._view.asked, time.monotonic() - self._seen_at)
        body = self._view.text(rows).splitlines() if rows else ["No jobs found."]
        found = [head[:columns], *([trouble[:columns]] if trouble else []), "", *body]
        foot = self._foot if 2 * len(self._foot) <= height else []
        room = height - len(foot)
        if len(found) > room:
            found[room - 1 :] = [f" … {len(found) - room + 1} more lines"[:columns]]
        return found + foot

    def _count(self) -> str:
        return "1 job" if self._total == 1 else f"{self._total} jobs"


def counted_on(rows: Rows, asked: tuple[str, ...], secs: float) -> Rows:
    """The rows so many seconds later: running jobs have run for longer, and have less time left."""
    state = asked.index("ST")
    steps = [(at, 1 if name == "TIME" else -1) for at, name in enumerate(asked) if name in ("TIME", "REMAINING")]
    later = [list(row) for row in rows]
    for row in later:
        if row[state] == "R":
            for at, step in steps:
                row[at] = _later(row[at], step * secs)
    return later


def _later(cell: str, secs: float) -> str:
    """`1-02:03:04` so many seconds later; what is no time stays."""
    days, dash, clock = cell.rpartition("-")
    numbers = clock.split(":")
    if len(numbers) != 3 or not all(number.isdigit() for number in (*numbers, *([days] if dash else []))):
        return cell
    hours, minutes, seconds = map(int, numbers)
    return format_duration(max(0.0, (int(days or 0) * 24 + hours) * 3600 + minutes * 60 + seconds + secs))


def watch(client: Client, view: View, filters: dict[str, Any], interval: float | None) -> int:
    """Show the queue until `q` is pressed."""
    gc.enable()  # this may take days
    ears, picture = Ears(client), Picture(client, view, filters)
    if not ears.listen():
        client.health()  # says what is wrong
    picture.look()
    be_quiet()
    with Screen() as screen:
        _stay(screen, ears, picture, interval or COUNT_SECS)
    return 0


def _stay(screen: Screen, ears: Ears, picture: Picture, interval: float) -> None:
    poller = select.poll()
    for fd in (screen.changed, ears.fd, *([0] if screen.reads_keys else [])):
        poller.register(fd, select.POLLIN)
    trouble = None
    while True:
        screen.draw(picture.lines(*screen.size(), trouble))
        ready = {fd for fd, _ in poller.poll(1000 * _patience(ears, picture, interval))}
        if 0 in ready and screen.key() in QUIT:
            return
        if screen.changed in ready:
            screen.settle()
        trouble = _follow(ears, picture)


def _patience(ears: Ears, picture: Picture, interval: float) -> float:
    """How long nothing need be done, in seconds."""
    if not ears.listening:
        return LOOK_AGAIN_SECS
    return min(interval, picture.due_secs()) if picture.stale else interval


def _follow(ears: Ears, picture: Picture) -> str | None:
    """Take note of news, and ask the daemon if there was some and it is time; what is in the way of that."""
    picture.stale = ears.heard() or picture.stale
    if not ears.listening:
        picture.stale = True
        if not ears.listen():
            return "gflowd went away; waiting for it to come back ('gflowd up' starts it)"
    if picture.stale and not picture.due_secs():
        try:
            picture.look()
        except Declined as error:
            return harmless(str(error))
        except ClientError:
            picture.stale = True
    return None
