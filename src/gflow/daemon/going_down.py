"""The machine goes down: then jobs end of that, and a daemon that still lives must not take it for an end of their own.

Whoever ends by a signal, or without a word, may have been ended by a shutdown. So the machine's systemd is asked. If it
stops everything the end is left to the next daemon, and nothing is started on what the job had. A daemon that leaves
notes when, and whether the machine did; the next one, in another boot, tells by that what became of jobs meanwhile.

The note is the file `left` in the data directory, one line: seconds since the epoch, the id of the boot, and `yes`,
`no` or `unknown`.
"""

import logging
import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import trio

from gflow.core.model import Exit, Job
from gflow.daemon.units import runs_systemd
from gflow.launch.ending import HUNG_UP, RESTARTED

log = logging.getLogger(__name__)

NOTE = "left"
_ASK_SECS = 3.0
_LOOK_SECS = 1.0
_SHUTDOWN_SECS = 90.0
"""What systemd gives a unit to stop, unless told otherwise: by so much jobs may have ended before the daemon left."""

_SUDDEN = frozenset({None, HUNG_UP, 130, 137, 143})
"""Exit codes of what a shutdown ends: none, and those of SIGHUP, SIGINT, SIGKILL and SIGTERM."""

_WORDS = {True: "yes", False: "no", None: "unknown"}


class Left(NamedTuple):
    """When a daemon left (seconds since the epoch), in which boot, and whether the machine went down, if known."""

    at: float
    boot_id: str
    machine_too: bool | None


def machine_stops() -> bool | None:
    """Whether systemd is taking this machine down; None if it cannot be asked. Blocks."""
    if not runs_systemd():
        return None
    words = ["systemctl", "--system", "is-system-running"]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_ASK_SECS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout.strip()
    return None if said in ("", "unknown", "offline") else said == "stopping"


def note_left(data_dir: Path, left: Left) -> None:
    """Keep it for the next daemon. Where that fails, ends read as they do without."""
    fresh = data_dir / f".{NOTE}.new"
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            file.write(f"{left.at:.3f} {left.boot_id} {_WORDS[left.machine_too]}\n")
        fresh.replace(data_dir / NOTE)
    except OSError as error:
        log.warning("%s cannot be written: %s", data_dir / NOTE, error.strerror)


def noted(data_dir: Path) -> Left | None:
    """What the last daemon that left has noted, None if there is nothing that could be read."""
    try:
        at, boot_id, word = (data_dir / NOTE).read_text(encoding="utf-8").split()
        return Left(float(at), boot_id, {text: value for value, text in _WORDS.items()}[word])
    except (OSError, ValueError, KeyError):
        return None


def as_of_restart(job: Job, how: Exit, left: Left | None) -> Exit:
    """The end of a job that a daemon before this boot, which left so, has not seen: with the restart as its reason, if
    it was ended by that. Nothing may have recorded the end; then it was after a daemon that would have seen it."""
    if left is None or left.machine_too is False or job.started_at is None or job.started_at > left.at:
        return how
    if how.text == RESTARTED:
        return replace(how, at=max(how.at, left.at))
    slack_secs = _SHUTDOWN_SECS if left.machine_too else 0.0
    by_it = how.text is None and how.code in _SUDDEN and how.at >= left.at - slack_secs
    return replace(how, text=RESTARTED) if by_it else how


class GoingDown:
    """Of this daemon. `left`: how the one before left, if that was in another boot."""

    def __init__(self, left: Left | None = None, stops: Callable[[], bool | None] = machine_stops) -> None:
        self._left = left
        self._stops = stops
        self._asking = trio.Lock()
        self._asked_at = float("-inf")
        self._answer: bool | None = None
        self._said = False

    def told(self, job: Job, how: Exit) -> Exit:
        """See `as_of_restart`."""
        return as_of_restart(job, how, self._left)

    async def wait_over(self, how: Exit) -> None:
        """Return at once, unless this is an end of a machine that goes down: then when that was called off."""
        while how.code in _SUDDEN and how.text != RESTARTED and await self.goes_down():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(_LOOK_SECS)

    async def goes_down(self) -> bool:
        """Whether the machine does just now. Many may ask: one answer serves all who came before the question."""
        came_at = trio.current_time()
        async with self._asking:
            if self._asked_at <= came_at:
                self._asked_at = trio.current_time()
                self._answer = await trio.to_thread.run_sync(self._stops)
        if self._answer and not self._said:
            log.info("the machine goes down; what its jobs come to is left to the next daemon")
            self._said = True
        return bool(self._answer)
