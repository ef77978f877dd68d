"""The thread that follows the log of one job, over restarts of the daemon."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from gflow.cli.job.why import lines as reasons
from gflow.cli.live.feed import RETRY_SECS
from gflow.cli.live.tail import MOST_LINES, Tail
from gflow.cli.live.wire import Bell, Stopped, stream
from gflow.client.errors import ClientError, Declined
from gflow.client.http import Client, target
from gflow.client.plain import harmless

if TYPE_CHECKING:
    from collections.abc import Callable

    from gflow.client import unix

TELL_SECS = 0.1
"""However fast a job prints, its lines are shown no more often."""


AGAIN_SECS = 2.0
"""However much happens, why a job waits is asked no more often."""


class Follow:
    """`lines` are what there is to see of a job: its output, or why it waits. `tell()` is called when they change.

    A job that `waits` is asked about at first, and `again`; whoever hears that it no longer waits follows it anew.
    """

    def __init__(self, path: str, job_id: int, tell: Callable[[], None], *, waits: bool) -> None:
        self.job_id = job_id
        self.waits = waits
        self.lines: list[str] = []
        self._path = path
        self._tell = tell
        self._bell = Bell()
        self._tail = Tail()
        self._offset: int | None = None
        self._has_ended = False
        self._told_at = self._asked_at = 0.0
        threading.Thread(target=self._run, daemon=True, name=f"log of job {job_id}").start()

    def stop(self) -> None:
        """Without waiting for it."""
        self._bell.stop()

    def again(self) -> None:
        """Things have changed: a job that waits may do so for other reasons."""
        if self.waits and time.monotonic() - self._asked_at > AGAIN_SECS:
            self._bell.ring()

    def _run(self) -> None:
        try:
            while True:
                done = self._explain() if self.waits else self._follow()
                if done and not self.waits:
                    return
                self._bell.wait(None, None if done else RETRY_SECS)
        except Stopped:
            return
        finally:
            self._bell.close()

    def _explain(self) -> bool:
        """Why the job waits; whether the daemon could say."""
        self._asked_at = time.monotonic()
        try:
            self._show(reasons(Client(self._path).why(self.job_id)))
        except Declined as error:
            self._show([harmless(str(error))])
        except ClientError:
            return False
        return True

    def _follow(self) -> bool:
        """Read until there is no more; whether that is because the job has ended."""
        query = {"last": MOST_LINES} if self._offset is None else {"offset": self._offset}
        resource = target(f"/jobs/{self.job_id}/log/stream", {**query, "follow": 1})
        try:
            headers, pieces = stream(self._path, resource, self._bell, self._before_wait)
            self._offset = int(headers.get("x-offset", "0"))
            for piece in pieces:
                self._offset += len(piece)
                self._tail.feed(piece)
            ended = bool(Client(self._path).job(self.job_id)["state"] != "Running")
        except Declined as error:
            self._show([harmless(str(error))])
            return True
        except ClientError:
            return False
        self._show(self._tail.lines() or ["(nothing was printed)"] if ended else self._tail.lines())
        was_known, self._has_ended = self._has_ended, ended
        return was_known and ended  # what it printed while the daemon was away is still to come

    def _before_wait(self, answer: unix.Answer) -> None:
        """Show what has come, but not for each piece of a flood; then wait for more."""
        late = time.monotonic() - self._told_at
        if late < TELL_SECS and self._bell.wait(answer.fileno(), TELL_SECS - late)[1]:
            return
        self._show(self._tail.lines())
        while not self._bell.wait(answer.fileno(), None)[1]:
            pass

    def _show(self, lines: list[str]) -> None:
        self._told_at = time.monotonic()
        if lines != self.lines:
            self.lines = lines
            self._tell()
