"""The state kept in tests/data/store-v1, in the store's format version 1, and the steps that wrote it.

The files there are never written again: a later version of the program must go on reading them. `write` exists to show
how they came about, and to notice when the bytes that are written today change.
"""

from dataclasses import replace
from pathlib import Path

from gflow.core.events import EventKind
from gflow.core.model import (
    DependencyMode,
    EarlySignal,
    Group,
    Job,
    JobId,
    JobSpec,
    Reason,
    ReasonKind,
    State,
    Stop,
    StopCause,
    StopStep,
)
from gflow.store.disk import DISK, write_new
from gflow.store.records import encode
from gflow.store.snapshot import Snapshot, write_snapshot
from gflow.store.wal import Segment
from support.ledger import Ledger

DIRECTORY = Path(__file__).parent.parent / "data" / "store-v1"

_EVERYTHING = JobSpec(
    owner="grace",
    run_dir="/srv/päth/\udcff",
    script="train.sh",
    script_digest="5c" * 32,
    script_args=("--lr", "0.1", ""),
    environment="e0" * 32,
    umask=0o027,
    name="train",
    project="vision",
    conda_env="torch",
    gpus=2,
    shared=True,
    gpu_memory_mb=8192,
    memory_mb=65536,
    priority=200,
    depends_on=(JobId(1), JobId(2)),
    dependency_mode=DependencyMode.ANY,
    auto_cancel=False,
    task_id=3,
    group_id="0f8e4a52-6f5d-4f0a-9b53-6c1f4d1f2b11",
    parameters={"lr": "0.1", "seed": "7"},
    time_limit_secs=5400.0,
    early_signal=EarlySignal(10, 120.0),
    max_retries=2,
    restart_count=1,
    redone_from=JobId(1),
    retried_from=JobId(2),
    auto_close=True,
    keep_session=True,
    begin_at=1_700_000_500.25,
    submit_key="3d9d0bd4",
)

_RUNNING = Job(
    id=JobId(3),
    spec=_EVERYTHING,
    run_name="train",
    state=State.RUNNING,
    submitted_at=1_700_000_100.5,
    reason=Reason(ReasonKind.GPU),
    gpu_ids=(0, 3),
    run_id="c0ffee",
    started_at=1_700_000_600.0,
    started_boot=4321.125,
    stop=Stop(StopCause.TIMEOUT, StopStep.INTERRUPT, 9731.125, by="root", text="its time is over"),
    signalled=True,
)


def history() -> tuple[Ledger, list, Snapshot]:
    """The ledger at the end, the transactions after the snapshot, and the snapshot."""
    ledger = Ledger()
    first = ledger.submitted(2, argv=("python3", "prepare.py"), command=None).jobs[0]
    ledger.changed(groups=(Group(_EVERYTHING.group_id, 3),), settings={"allowed_gpus": [0, 3]}, boot_id="boot-a")
    failed = replace(
        first,
        state=State.FAILED,
        exit_code=139,
        finished_at=1_700_000_050.0,
        detail="ended by SIGSEGV",
        reason=Reason(ReasonKind.SYSTEM, text="it crashed"),
        retried_as=JobId(2),
    )
    ledger.changed((EventKind.FAILED, failed))
    snapshot = Snapshot(ledger.seq, 2, ledger.state())
    ledger.next_job_id = 4
    rest = [
        ledger.changed((EventKind.STARTED, _RUNNING)),
        ledger.changed(settings={"allowed_gpus": None, "max_jobs": {"ada": 4}}),
        ledger.submitted(1, begin_at=1_800_000_000.0),
    ]
    return ledger, rest, snapshot


def write(directory: Path) -> None:
    """Make the files anew: a snapshot, a segment of two batches, and a tail that was never finished."""
    _, rest, snapshot = history()
    write_snapshot(directory, snapshot)
    segment = Segment.create(directory, 2, rest[0].seq)
    segment.append([encode(transaction) for transaction in rest[:2]])
    segment.append([encode(rest[2])])
    segment.close()
    whole = segment.path.read_bytes()
    segment.path.unlink()
    write_new(DISK, segment.path, [whole, b"\xc1gf\x01\x40\0\0\0"])
