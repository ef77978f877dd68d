"""The runtime owns the engine and the order in which a change takes effect: decided, on disk, done, told.

A change is one synchronous call into the engine, so it needs no lock. Its record goes to the log at once; only when it
is on disk are its effects carried out and its events published, in the order the changes were made. Whoever answers a
caller waits for `durable` first.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import trio

from gflow.core.effects import Effect
from gflow.core.engine import Engine
from gflow.core.errors import Unavailable
from gflow.core.events import Event
from gflow.core.model import Now, State
from gflow.core.outcome import Outcome
from gflow.daemon.bus import Bus
from gflow.daemon.wake import Wake
from gflow.store.records import Transaction

STOPPING = "The daemon is stopping"


class Journal(Protocol):
    """Where changes are made durable."""

    def submit(self, transaction: Transaction) -> int:
        """Queue a transaction for the log, at once and whole; returns its number."""

    async def durable(self, seq: int) -> None:
        """Wait until the transaction with this number is on disk. Raises Unavailable while nothing can be written."""

    def check_writable(self) -> None:
        """Raise Unavailable if nothing could be written for some time."""


class Runtime:
    """The engine with its clock, its log and its readers. `settings` are values by key that are kept with the state."""

    def __init__(
        self,
        engine: Engine,
        clock: Callable[[], Now],
        run_ids: Iterator[str],
        *,
        next_seq: int = 1,
        next_event_id: int = 1,
        past_events: list[tuple[int, Event]] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.run_ids = run_ids
        self.settings: dict[str, Any] = dict(settings or {})
        self.bus = Bus(past_events or (), next_event_id)
        self.schedule_wake = Wake()
        self.deadline_wake = Wake()
        self.journal: Journal
        self.perform: Callable[[Effect], None]
        self.notify: Callable[[int, Event], None]
        self.stopping = False
        self.fault: Exception | None = None
        self._next_seq = next_seq
        self._next_event_id = next_event_id
        self._effects: dict[int, list[Effect]] = {}
        self._pending_events: deque[tuple[int, Event]] = deque()
        self._durable_seq = next_seq - 1
        self._awaited: dict[int, trio.Event] = {}

    @property
    def next_event_id(self) -> int:
        """The id the next event will get."""
        return self._next_event_id

    @property
    def last_seq(self) -> int:
        """The number of the newest transaction."""
        return self._next_seq - 1

    def latest_events(self, count: int) -> list[tuple[int, Event]]:
        """The newest events, among them all that are not on disk yet, however many: what a snapshot keeps."""
        most = max(count, len(self._pending_events))
        return [*self.bus.latest(count), *self._pending_events][-most:]

    def connect(
        self, journal: Journal, perform: Callable[[Effect], None], notify: Callable[[int, Event], None]
    ) -> None:
        """Say where records, effects and events go; once, before the services start."""
        self.journal, self.perform, self.notify = journal, perform, notify

    def commit(self, outcome: Outcome, boot_id: str | None = None) -> int:
        """Log what the engine did, and wake whoever decides next. Returns the number to wait for with `durable`.

        `boot_id` is given when the outcome brings the state over from an earlier boot of the machine. Raises
        Unavailable once nothing is written any more. If the outcome cannot be logged for another reason, the engine
        no longer is what the log says: `fault` is set, and whoever decides next ends the daemon.
        """
        if not outcome and boot_id is None:
            return self.last_seq
        self._keep_settings(outcome)
        self._next_event_id += len(outcome.events)
        seq = self._next_seq
        self._next_seq += 1
        if outcome.effects:
            self._effects[seq] = outcome.effects
        transaction = Transaction(
            seq=seq,
            jobs=tuple(outcome.jobs.values()),
            groups=tuple(outcome.groups.values()),
            events=tuple(outcome.events),
            settings=outcome.settings,
            next_job_id=self.engine.next_job_id,
            next_event_id=self._next_event_id,
            boot_id=boot_id,
            retired=tuple(outcome.retired),
        )
        self._pending_events.extend(transaction.numbered_events)
        try:
            self.journal.submit(transaction)
        except Unavailable:
            raise
        except Exception as error:
            self.fault = error
            raise
        finally:
            self.schedule_wake.set()
            if any(job.state is State.RUNNING for job in outcome.jobs.values()):
                self.deadline_wake.set()
        return seq

    def _keep_settings(self, outcome: Outcome) -> None:
        for key, value in outcome.settings.items():
            if value is None:
                self.settings.pop(key, None)
            else:
                self.settings[key] = value

    async def durable(self, seq: int) -> None:
        """Wait until transaction `seq` is on disk. Raises Unavailable while nothing can be written."""
        if seq:
            await self.journal.durable(seq)

    async def on_disk(self, seq: int) -> None:
        """Wait until transaction `seq` is on disk, however long that takes: for those who have nobody to tell."""
        if seq > self._durable_seq:
            await self._awaited.setdefault(seq, trio.Event()).wait()

    def check_open(self) -> None:
        """Raise Unavailable if nothing new is taken: the daemon is stopping, or its disk fails."""
        if self.stopping:
            raise Unavailable(STOPPING)
        self.journal.check_writable()

    def on_durable(self, transaction: Transaction) -> None:
        """A transaction reached the disk: carry out what it asks for, then tell of it."""
        self._durable_seq = transaction.seq
        for effect in self._effects.pop(transaction.seq, ()):
            self.perform(effect)
        if (awaited := self._awaited.pop(transaction.seq, None)) is not None:
            awaited.set()
        if transaction.events:
            numbered = transaction.numbered_events
            for _ in numbered:
                self._pending_events.popleft()
            self.bus.publish(numbered)
            for number, event in numbered:
                self.notify(number, event)
