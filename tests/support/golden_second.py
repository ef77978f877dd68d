"""The state kept in tests/data/store-v1-second, and the steps that wrote it: what store-v1 has nothing of.

Jobs that retire, settings, every state, reason, kind of event and way to stop a job, a previous snapshot, several
segments, a batch that a later segment makes void, and the mark of what was acknowledged. As with store-v1, the files
are never written again. The words below are written out, not taken from the model: they are the format.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from gflow.core.events import EventKind
from gflow.core.model import DependencyMode, Group, Job, JobId, Reason, ReasonKind, State, Stop, StopCause, StopStep
from gflow.store.acknowledged import Mark
from gflow.store.records import Transaction, encode
from gflow.store.snapshot import Snapshot, write_snapshot
from gflow.store.wal import Segment
from support.ledger import Ledger, make_job

DIRECTORY = Path(__file__).parent.parent / "data" / "store-v1-second"

STATES = ("Queued", "Hold", "Running", "Finished", "Failed", "Cancelled", "Timeout")
REASONS = (
    "WaitingForDependency",
    "WaitingForStartTime",
    "WaitingForResources",
    "WaitingForGpu",
    "WaitingForMemory",
    "WaitingForQuota",
    "JobHeldUser",
    "CancelledByUser",
    "DependencyFailed",
    "SystemError",
)
STOPS = (
    ("cancel", "interrupt"),
    ("timeout", "terminate"),
    ("finish", "kill"),
    ("fail", "interrupt"),
    ("leftovers", "terminate"),
    ("lost", "kill"),
)
EVENTS = (
    "job_submitted",
    "job_updated",
    "job_started",
    "job_completed",
    "job_failed",
    "job_cancelled",
    "job_timeout",
    "job_held",
    "job_released",
)
SETTINGS = {
    "allowed_gpu_indices": [0, 2],
    "reservations": [
        {
            "id": 1,
            "user": "ada",
            "gpu_count": 2,
            "start_at": 1_700_100_000.0,
            "duration_secs": 3600.5,
            "status": "Pending",
            "created_at": 1_700_000_000.25,
            "cancelled_at": None,
        }
    ],
    "next_reservation_id": 2,
    "fair_share_usage": {"ada": {"usage": 12.5, "last_update": 1_700_000_000.0}},
    "notifications": {"3": {"emails": ["ada@example.org"], "events": ["job_failed"]}},
    "truth": True,
    "text": "größer \udcff",
    "bytes": b"\x00\xff",
    "numbers": {"least": -(2**63), "most": 2**64 - 1},
}


def _jobs() -> list[Job]:
    """One for each state, then for each reason, for each stop, for each mode."""
    states = [{"state": State(word), "run_id": "run" if word == "Running" else None} for word in STATES]
    reasons = [{"reason": Reason(ReasonKind(word), JobId(4), "why")} for word in REASONS]
    stops = [
        {"state": State("Running"), "run_id": "run", "stop": Stop(StopCause(c), StopStep(s), 77.5)} for c, s in STOPS
    ]
    jobs = [replace(make_job(number), **fields) for number, fields in enumerate([*states, *reasons, *stops], 1)]
    for mode in ("All", "Any"):
        jobs.append(make_job(len(jobs) + 1, depends_on=(JobId(1), JobId(2)), dependency_mode=DependencyMode(mode)))
    return jobs


class History(NamedTuple):
    """The ledger at the end, both snapshots, and what is in each segment: the seq it starts with, and its batches."""

    ledger: Ledger
    snapshots: tuple[Snapshot, Snapshot]
    segments: dict[int, tuple[int, list[list[Transaction]]]]


def history() -> History:
    """All that happened."""
    ledger = Ledger()
    jobs = _jobs()
    ledger.next_job_id = len(jobs) + 1
    ledger.changed(*((EventKind("job_submitted"), job) for job in jobs), boot_id="boot-a")
    ledger.changed(settings=SETTINGS, groups=(Group("unlimited"), Group("two", 2)))
    previous = Snapshot(ledger.seq, 2, ledger.state())
    retired = ledger.retired(4, 6)
    told = ledger.changed(*((EventKind(word), ledger.jobs[JobId(1)]) for word in EVENTS))
    latest = Snapshot(ledger.seq, 3, ledger.state())
    changed = ledger.changed(settings={"truth": None, "text": "new"}, groups=(Group("two", 3),))
    void = Ledger()
    void.seq = ledger.seq
    never = void.changed(settings={"never": "acknowledged"})
    last = replace(ledger.retired(5), boot_id="boot-b")
    ledger.boot_id = "boot-b"
    segments = {2: (3, [[retired, told]]), 3: (5, [[changed], [never]]), 4: (6, [[last]])}
    return History(ledger, (previous, latest), segments)


def write(directory: Path) -> None:
    """Make the files anew."""
    written = history()
    for snapshot in written.snapshots:
        write_snapshot(directory, snapshot)
    for number, (first_seq, batches) in written.segments.items():
        segment = Segment.create(directory, number, first_seq)
        for batch in batches:
            segment.append([encode(transaction) for transaction in batch])
        segment.close()
    mark = Mark(directory)
    mark.note(written.ledger.seq)
    mark.close()
