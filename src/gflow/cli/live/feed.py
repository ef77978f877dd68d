"""The thread that keeps the picture true: it listens to `/events`, and asks for the queue when one has come.

Events of a burst are one question. Only what no event tells of - how busy GPUs are - is asked for from time to time,
and only where there is such.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gflow.cli.live.picture import ASKED, Picture, Row, rows_of
from gflow.cli.live.wire import SILENCE_SECS, Bell, Stopped, stream
from gflow.client.errors import MISREAD, ClientError, ConnectionLost, Declined, Misanswered
from gflow.client.http import Client
from gflow.client.plain import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflow.client import unix

MOST_RUNNING, MOST_WAITING, MOST_ENDED = 500, 1000, 50
AT_MOST_EVERY_SECS = 0.1
"""The daemon is asked no more often, and is left in peace for four times as long as it took to answer."""

MEASURE_SECS = 5.0
RETRY_SECS = 0.5


@dataclass
class Scope:
    """Which jobs to look at: `users` is a comma list or None for everybody's; `pinned` is shown whatever it is."""

    users: str | None = None
    project: str | None = None
    mine: bool = False
    ended: bool = False
    pinned: int | None = None

    def filters(self) -> dict[str, str | int | None]:
        return {"users": None if self.mine else self.users, "mine": 1 if self.mine else None, "project": self.project}


class Feed:
    """`picture` is what was last seen, `trouble` why it may not be true any more; `tell()` is called when they change.

    `asking_since` is when a question was asked that has not been answered, by the monotonic clock.
    """

    def __init__(self, path: str, scope: Scope, tell: Callable[[], None]) -> None:
        self.scope = scope
        self.picture = Picture()
        self.trouble: str | None = None
        self.asking_since: float | None = None
        self._client = Client(path)
        self._tell = tell
        self._bell = Bell()
        self._stale = True
        self._next_at = 0.0
        self._heard_at = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True, name="feed")

    def start(self) -> None:
        self._thread.start()

    def refresh(self) -> None:
        """Look again, for the scope is another or something was done."""
        self._bell.ring()

    def stop(self) -> None:
        """Without waiting for it: a daemon that is slow keeps nobody."""
        self._bell.stop()

    def _run(self) -> None:
        try:
            while True:
                self._listen_while_it_is_there()
                self._bell.wait(None, RETRY_SECS)
        except Stopped:
            return
        finally:
            self._bell.close()

    def _listen_while_it_is_there(self) -> None:
        try:
            self._listen()
        except (Declined, Misanswered) as error:
            self._set(harmless(str(error)))
        except ClientError:
            self._set("reconnecting")
        except MISREAD:
            self._set("the daemon answers with something else: is it gflow?")

    def _listen(self) -> None:
        """Follow the events until the daemon is gone."""
        _, events = stream(self._client.path, "/events", self._bell, self._before_wait)
        self._heard_at, self._stale = time.monotonic(), True
        for piece in events:
            self._heard_at = time.monotonic()
            self._stale = self._stale or b"data:" in piece
        raise ConnectionLost("gflowd ended the stream")

    def _before_wait(self, answer: unix.Answer) -> None:
        """Look if there is reason to, until there is more to read."""
        while True:
            now = time.monotonic()
            if self._stale and now >= self._next_at:
                self._look()
                continue
            rang, ready = self._bell.wait(answer.fileno(), self._patience(now))
            if ready:
                return
            silent = time.monotonic() - self._heard_at
            if silent > SILENCE_SECS:
                raise ConnectionLost("gflowd says nothing")
            self._stale = self._stale or rang or self.picture.measured

    def _patience(self, now: float) -> float:
        if self._stale:
            return self._next_at - now
        return MEASURE_SECS if self.picture.measured else SILENCE_SECS

    def _look(self) -> None:
        begun = self.asking_since = time.monotonic()
        self._stale = False
        try:
            self.picture = self._ask()
        finally:
            self.asking_since = None
        self._next_at = time.monotonic() + max(AT_MOST_EVERY_SECS, 4 * (time.monotonic() - begun))
        self._set(None)

    def _ask(self) -> Picture:
        scope, seen_at = self.scope, time.monotonic()
        rows, running = self._rows(states="R", limit=MOST_RUNNING, **scope.filters())
        more, waiting = self._rows(states="PD,H", limit=MOST_WAITING, **scope.filters())
        rows += more
        if scope.ended:
            rows += self._rows(states="CD,F,CA,TO", limit=-MOST_ENDED, **scope.filters())[0][::-1]
        if scope.pinned is not None and scope.pinned not in {row.job_id for row in rows}:
            rows = self._rows(states="all", ids=str(scope.pinned))[0] + rows
        gpus = tuple(self._client.info().get("gpus") or ())
        shown = min(running, MOST_RUNNING) + min(waiting, MOST_WAITING)
        return Picture(rows, running, waiting, gpus, seen_at, running + waiting - shown)

    def _rows(self, **filters: str | int | None) -> tuple[tuple[Row, ...], int]:
        lines, total = self._client.queue(ASKED, **filters)
        return rows_of(lines), total

    def _set(self, trouble: str | None) -> None:
        self.trouble = trouble
        self._tell()
