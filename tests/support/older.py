"""State files as the older gflow writes them, made by hand, and what converting one needs."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import msgpack
import pytest

from gflow.core.engine import Engine
from gflow.core.invariants import check, check_settled
from gflow.core.model import Job, Now
from gflow.store.imports.jobs import NoWork, Surroundings
from gflow.store.imports.plan import NotImportable, Plan, make_plan
from support.jobs import gpus

DATA = Path(__file__).parents[1] / "data"
SAMPLE_JSON = DATA / "state-gflow-0.4.10.json"
SAMPLE_MSGPACK = DATA / "state-gflow-0.4.18.msgpack"

NOW = Now(1_800_000_000.0, 500.0)
WRITTEN_AT = 1_799_999_000.0


def stamp(at: float) -> dict[str, int]:
    """A SystemTime."""
    return {"secs_since_epoch": int(at), "nanos_since_epoch": round(at % 1 * 1e9)}


def span(secs: float) -> dict[str, int]:
    """A Duration."""
    return {"secs": int(secs), "nanos": round(secs % 1 * 1e9)}


def old_job(job_id: int, **fields: Any) -> dict[str, Any]:
    """A queued job as gflow records one; only the fields that matter."""
    work = {} if fields.keys() & {"command", "script"} else {"command": "true"}
    defaults = {"run_dir": "/somewhere", "submitted_by": "alice", "run_name": f"gjob-{job_id}", "state": "Queued"}
    return {"id": job_id, **work, **defaults, **fields}


def old_state(*jobs: dict[str, Any], version: int = 2, **more: Any) -> dict[str, Any]:
    """A state with a list of jobs."""
    return {"version": version, "jobs": list(jobs), "next_job_id": len(jobs) + 1, **more}


def session_lives(name: str, started_at: float) -> str | None:
    return f"gflow:1.1:{name}" if name.startswith("live") else None


def no_scripts(path: str) -> bytes:
    raise NoWork(f"Its script '{path}' is gone")


def around(session=session_lives, read_script=no_scripts) -> Surroundings:
    return Surroundings(NOW, WRITTEN_AT, "/home/alice", session, read_script)


def convert(state: Any, surroundings: Surroundings | None = None) -> Plan:
    """The plan for a state given as bytes, or as what is to be written as JSON. It holds together."""
    data = state if isinstance(state, bytes) else json.dumps(state).encode()
    plan = make_plan(Path("/d/state.json"), data, surroundings or around())
    check_holds(plan)
    return plan


def check_holds(plan: Plan) -> Engine:
    """Fail unless an engine could go on from the plan; the engine, after its first pass."""
    engine = Engine()
    engine.set_machine(gpus(4, 24576), 65536)
    engine.restore(plan.jobs, plan.groups, plan.next_job_id, NOW, plan.settings)
    over_cap = {group.id for group in plan.groups}
    check(engine, over_cap=over_cap)
    engine.schedule(NOW, (f"run-{number}" for number in count(1)))
    check(engine, over_cap=over_cap)
    check_settled(engine, NOW)
    return engine


def packed(state: Any) -> bytes:
    return msgpack.packb(state)


def jobs_of(plan: Plan) -> dict[int, Job]:
    """The jobs by id."""
    return {int(job.id): job for job in plan.jobs}


def only(*records: dict[str, Any], **more: Any) -> dict[int, Job]:
    """What these jobs become, by id."""
    return jobs_of(convert(old_state(*records, **more)))


def one(**fields: Any) -> Job:
    """What a job with these fields becomes."""
    return only(old_job(1, **fields))[1]


def notes(plan: Plan, job_id: int | None) -> str:
    """All that is noted about a job."""
    return "; ".join(plan.notes_by_job().get(job_id, ()))


def refused(state: Any) -> str:
    """Why this is not taken over."""
    with pytest.raises(NotImportable) as caught:
        convert(state)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("/d/state.json: cannot be imported: ")
    return caught.value.why
