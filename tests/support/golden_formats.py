"""What is in tests/data/history-v*, outbox-v*, journal-v*, ids-v* and spool-v*, and the steps that wrote it.

The first history and the first outbox were written by the programs of their time, by these very steps. As with
store-v1, the files are never written again; `write` makes those of today's formats, to show how they came about:

    python -c 'from support.golden_formats import write; write("history", PATH)'    in tests/
"""

from dataclasses import replace
from pathlib import Path

from gflow.core.model import GpuUse, Job, State
from gflow.launch.environment import render_environment
from gflow.notify.changes import Changes, Row
from gflow.notify.outbox import Outbox
from gflow.store.history import History
from gflow.store.ids import Ids, Mark
from gflow.store.recovery.journal import Changes as Since
from gflow.store.recovery.journal import Journal
from gflow.store.spool import Spool
from support.ledger import Ledger, make_job

DATA = Path(__file__).parent.parent / "data"

VARIABLES = {"LR": "0.1", "TITLE": 'it\'s "größer"\nthan $HOME'}
SCRIPT = b"#!/bin/sh\necho \xff\n"


def versions(what: str) -> dict[int, Path]:
    """The directories with files of every version of a format."""
    found = {int(path.name.rpartition("-v")[2]): path for path in DATA.glob(f"{what}-v*")}
    return dict(sorted(found.items()))


def ended_jobs() -> list[Job]:
    """Finished, failed and cancelled; the last one never ran."""
    ran = [make_job(n, name="päth \udcff", gpus=n, project="vision" if n == 1 else None) for n in (1, 2)]
    times = {"started_at": 1_700_000_100.0, "finished_at": 1_700_003_700.5}
    return [
        replace(ran[0], state=State.FINISHED, exit_code=0, gpu_ids=(0,), run_id="a", **times),
        replace(ran[1], state=State.FAILED, exit_code=139, gpu_ids=(0, 3), run_id="b", **times),
        replace(make_job(3), state=State.CANCELLED, finished_at=1_700_000_050.0),
    ]


def cell() -> Job:
    """What the second version of the history knows besides: a cell of a group whose GPUs were measured."""
    job = make_job(4, gpus=1, group_id="0f8e4a52-6f5d-4f0a-9b53-6c1f4d1f2b11", key="lr=0.1")
    ended = replace(job, state=State.FINISHED, exit_code=0, gpu_ids=(1,), run_id="c", started_at=1_700_000_200.0)
    return replace(
        ended, finished_at=1_700_000_260.0, gpu_use=GpuUse(samples=6, mean_pct=75.0, peak_pct=99.0, peak_mb=8000)
    )


def told() -> Changes:
    """Three events for two targets: one delivered, one to be tried again, one given up."""
    changes = Changes(taken=3)
    for number, name in ((1, "job_started"), (2, "job_failed"), (3, "job_completed")):
        changes.add(number, name, b'{"number": %d}' % number, {"a": number, "b": number}, "ana")
    changes.put("a", 1, None)
    changes.put("a", 2, Row(2, 1_700_000_500.5, place=2))
    changes.put("b", 1, Row(4, 0.0, 1_700_000_400.0, "the answer was 500", 1))
    changes.standings["b"] = "{}"
    return changes


def recovery() -> tuple[Ledger, list]:
    """The state a recovery had come to, and the transactions it consisted of."""
    ledger = Ledger()
    return ledger, [ledger.submitted(2), ledger.started(1), ledger.changed(settings={"allowed_gpus": [0, 3]})]


def write(what: str, directory: Path) -> None:
    """Write files of today's version of a format."""
    _WRITERS[what](Path(directory))


def _history(directory: Path) -> None:
    history = History(directory)
    history.add([*ended_jobs(), cell()])
    history.close()


def _outbox(directory: Path) -> None:
    outbox = Outbox(directory)
    outbox.save(told())
    outbox.save(Changes(facts={"lost": "7"}))
    outbox.close()


def _journal(directory: Path) -> None:
    ledger, transactions = recovery()
    Journal(directory, "golden", (2, 7), Since()).save(transactions, ledger.state(), ledger.seq)


def _ids(directory: Path) -> None:
    ids = Ids(directory, Mark(1), 3)
    ids.reserve(40, 6)
    ids.note(42, 9)
    ids.close()


def _spool(directory: Path) -> None:
    spool = Spool(directory)
    spool.put("env", render_environment(VARIABLES))
    spool.put("script", SCRIPT)


_WRITERS = {"history": _history, "outbox": _outbox, "journal": _journal, "ids": _ids, "spool": _spool}
