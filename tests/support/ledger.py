"""A stand-in for the engine that is easy to predict: it makes transactions and knows the state each one leads to."""

from collections import deque
from dataclasses import replace

from gflow.core.events import Event, EventKind
from gflow.core.model import Group, Job, JobId, JobSpec, State
from gflow.store.load import Loaded
from gflow.store.records import Transaction
from gflow.store.snapshot import KEPT_EVENTS, SnapshotState


def make_job(job_id: int, *, state: State = State.QUEUED, **spec: object) -> Job:
    """A plain job."""
    wanted = {"owner": "ada", "run_dir": "/home/ada/work", "command": f"echo {job_id}"} | spec
    return Job(
        id=JobId(job_id),
        spec=JobSpec(**wanted),
        run_name=f"calm-otter-{job_id:04d}",
        state=state,
        submitted_at=1_700_000_000.0 + job_id,
    )


class Ledger:
    """The state after all transactions made so far."""

    def __init__(self, loaded: Loaded | None = None) -> None:
        loaded = loaded or Loaded()
        self.seq = loaded.seq
        self.jobs = dict(loaded.jobs)
        self.groups = dict(loaded.groups)
        self.settings = dict(loaded.settings)
        self.events: deque[tuple[int, Event]] = deque(loaded.events, maxlen=KEPT_EVENTS)
        self.next_job_id = loaded.next_job_id
        self.next_event_id = loaded.next_event_id
        self.boot_id = loaded.boot_id

    def submitted(self, count: int = 1, **spec: object) -> Transaction:
        """`count` new jobs in one step."""
        new = tuple(make_job(self.next_job_id + n, **spec) for n in range(count))
        self.next_job_id += count
        return self.changed(*((EventKind.SUBMITTED, job) for job in new))

    def started(self, job_id: int) -> Transaction:
        """A job runs."""
        job = replace(self.jobs[JobId(job_id)], state=State.RUNNING, run_id=f"run-{job_id}", started_boot=12.5)
        return self.changed((EventKind.STARTED, job))

    def finished(self, job_id: int) -> Transaction:
        """A job has ended well."""
        job = replace(self.jobs[JobId(job_id)], state=State.FINISHED, exit_code=0, finished_at=1_700_001_000.5)
        return self.changed((EventKind.COMPLETED, job))

    def retired(self, *job_ids: int) -> Transaction:
        """Jobs leave the state."""
        transaction = replace(self.changed(), retired=tuple(JobId(job_id) for job_id in job_ids))
        for job_id in transaction.retired:
            del self.jobs[job_id]
        return transaction

    def changed(
        self,
        *news: tuple[EventKind, Job],
        groups: tuple[Group, ...] = (),
        settings: dict[str, object] | None = None,
        boot_id: str | None = None,
    ) -> Transaction:
        """One step that leads to these jobs, groups and settings."""
        self.seq += 1
        events = tuple(Event(kind, 1_700_000_000.0 + self.seq, job) for kind, job in news)
        self.events.extend(enumerate(events, self.next_event_id))
        self.next_event_id += len(events)
        self.jobs |= {job.id: job for _, job in news}
        self.groups |= {group.id: group for group in groups}
        self.settings = {k: v for k, v in {**self.settings, **(settings or {})}.items() if v is not None}
        self.boot_id = boot_id if boot_id is not None else self.boot_id
        return Transaction(
            seq=self.seq,
            jobs=tuple({job.id: job for _, job in news}.values()),
            groups=groups,
            events=events,
            settings=settings or {},
            next_job_id=self.next_job_id,
            next_event_id=self.next_event_id,
            boot_id=boot_id,
        )

    def state(self) -> SnapshotState:
        """What a snapshot holds now."""
        return SnapshotState(
            jobs=tuple(self.jobs.values()),
            groups=tuple(self.groups.values()),
            settings=dict(self.settings),
            events=tuple(self.events),
            next_job_id=self.next_job_id,
            next_event_id=self.next_event_id,
            boot_id=self.boot_id,
        )


def facts(state: Ledger | Loaded) -> tuple[object, ...]:
    """All there is to know about a state, for comparing."""
    return (
        state.seq,
        dict(state.jobs),
        dict(state.groups),
        dict(state.settings),
        list(state.events),
        state.next_job_id,
        state.next_event_id,
        state.boot_id,
    )
