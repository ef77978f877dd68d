"""A runtime whose log is a list: what is committed gets on disk when the test says so.

Everything the runtime then does is written down in one list, in order.
"""

from collections.abc import Callable
from itertools import count

import trio

from gflow.core.effects import Effect
from gflow.core.engine import Engine
from gflow.core.errors import Unavailable
from gflow.core.events import Event
from gflow.core.model import JobSpec, Now
from gflow.daemon.runtime import Runtime
from gflow.store.records import Transaction
from support.jobs import START, gpus, spec


class PaperLog:
    """A journal. With `at_once`, a transaction is on disk in the step that submits it."""

    def __init__(self, on_durable: Callable[[Transaction], None], *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.waiting: list[Transaction] = []
        self.written: list[Transaction] = []
        self.broken: Exception | None = None
        self._on_durable = on_durable
        self._progress = trio.Event()

    def submit(self, transaction: Transaction) -> int:
        if self.broken is not None:
            raise self.broken
        self.waiting.append(transaction)
        if self.at_once:
            self.write()
        return transaction.seq

    def write(self, most: int | None = None) -> None:
        """The next `most` transactions (all that wait) reach the disk."""
        for _ in range(len(self.waiting) if most is None else most):
            self.written.append(self.waiting.pop(0))
            self._on_durable(self.written[-1])
        self._progress.set()
        self._progress = trio.Event()

    async def durable(self, seq: int) -> None:
        await trio.lowlevel.checkpoint()
        while not self.written or self.written[-1].seq < seq:
            self.check_writable()
            await self._progress.wait()

    def check_writable(self) -> None:
        if isinstance(self.broken, Unavailable):
            raise self.broken


class Desk:
    """An engine with its runtime. `done` has what was performed, published and notified, in order."""

    def __init__(self, gpu_count: int = 0, *, at_once: bool = True, clock: Callable[[], Now] | None = None) -> None:
        self.now = START
        self.engine = Engine()
        self.engine.set_machine(gpus(gpu_count), None)
        self.runtime = Runtime(self.engine, clock or (lambda: self.now), (f"run-{n}" for n in count(1)))
        self.log = PaperLog(self.runtime.on_durable, at_once=at_once)
        self.done: list[tuple[object, ...]] = []
        self.runtime.connect(self.log, self._perform, self._notify)

    def _perform(self, effect: Effect) -> None:
        self.done.append((type(effect).__name__, effect.job.id))

    def _notify(self, number: int, event: Event) -> None:
        assert self.runtime.bus.last_id >= number, "told before it was published"
        self.done.append((event.kind.value, event.job.id))

    def submit(self, **fields: object) -> int:
        """Queue one job; its id."""
        return self.submit_all([spec(**fields)])[0]

    def submit_all(self, specs: list[JobSpec]) -> list[int]:
        jobs, outcome = self.engine.submit(specs, self.runtime.clock())
        self.runtime.commit(outcome)
        return [job.id for job in jobs]

    def schedule(self) -> int:
        """A pass; the number of its transaction."""
        return self.runtime.commit(self.engine.schedule(self.runtime.clock(), self.runtime.run_ids))

    def start(self, **fields: object) -> int:
        """A job that has been started and launched; its id."""
        job_id = self.submit(**fields)
        self.schedule()
        now = self.runtime.clock()
        self.runtime.commit(self.engine.launched(job_id, now.wall, now.boot))
        return job_id


async def eventually(look: Callable[[], object], what: str, deadline_secs: float = 20.0) -> None:
    """Return once `look` is true; fail saying `what` did not come."""
    with trio.move_on_after(deadline_secs):
        while not look():
            await trio.sleep(0.002)
        return
    raise AssertionError(f"{what}: not within {deadline_secs:g} s")
