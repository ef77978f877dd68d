"""From the bytes of a state file of gflow to the plain records in it.

Observed with gflow 0.4.10 (JSON, `version` 2) and 0.4.18 (MessagePack, `version` 4), and from its public sources:

- a map with `jobs`: a map of id to job (versions 0 and 1, and what 0.4.10 calls 2), or a list of jobs;
- a map with `job_specs` and `job_runtimes`, two lists in step (version 4);
- an array of five: version, jobs, state_path, next_job_id, allowed_gpu_indices; its jobs are arrays, too, and times
  are pairs (the first MessagePack files of 0.4.11);
- what its recovery mode writes to `state.journal.jsonl`: one line of JSON with the state under `scheduler`.

`version` is missing in version 0.
"""

import json
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]

from gflow.store.imports.values import Odd, Record, shown, whole
from gflow.store.snapshot import FORMAT

MAX_VERSION = 4

_POSITIONAL = ("version", "jobs", "state_path", "next_job_id", "allowed_gpu_indices")
_POSITIONAL_JOB = (
    "id script command gpus conda_env run_dir priority depends_on depends_on_ids dependency_mode "
    "auto_cancel_on_dependency_failure task_id time_limit memory_limit_mb submitted_by redone_from auto_close_tmux "
    "parameters group_id max_concurrent run_name state gpu_ids submitted_at started_at finished_at reason"
).split()
"""The order of fields in 0.4.11; before that there was no `submitted_at`."""


@dataclass(frozen=True, slots=True)
class Contents:
    """A state of gflow. `jobs` in the order of the file, each with its id; `encoding` is JSON or MessagePack."""

    version: int
    encoding: str
    jobs: tuple[tuple[int, Record], ...]
    state: Record


def read(data: bytes) -> Contents:
    """What is in a file. Raises Odd."""
    encoding, plain = _decode(data)
    if isinstance(plain, dict) and plain.get("format") == FORMAT:
        raise Odd("this is a state file of this gflow, not of the older one: there is nothing to import")
    if isinstance(plain, dict) and "scheduler" in plain:
        plain = plain["scheduler"]
    if isinstance(plain, list):
        plain = _named(plain)
    if not isinstance(plain, dict) or not plain.keys() & {"version", "jobs", "job_specs", "next_job_id"}:
        raise Odd("it is not a state file of gflow")
    state = Record(plain, "the state")
    version = state.integer("version") or 0
    if version > MAX_VERSION:
        raise Odd(f"it was written by a newer gflow (state version {version}; 0 to {MAX_VERSION} can be imported)")
    return Contents(version, encoding, _jobs(state), state)


def _decode(data: bytes) -> tuple[str, Any]:
    if not data.strip(b"\0 \t\r\n"):
        raise Odd("it is empty")
    try:
        if data.lstrip()[:1] == b"{":
            return "JSON", json.loads(data)
        return "MessagePack", msgpack.unpackb(data, strict_map_key=False)
    except RecursionError:
        raise Odd("it is nested deeper than any state of gflow") from None
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Odd(f"it is neither JSON nor MessagePack, or was cut short ({shown(str(error))})") from None


def _named(values: list[Any]) -> dict[str, Any]:
    if len(values) != len(_POSITIONAL):
        raise Odd(f"it is an array of {len(values)} values; a state of gflow has {len(_POSITIONAL)}")
    named = dict(zip(_POSITIONAL, values, strict=True))
    if isinstance(named["jobs"], list):
        named["jobs"] = [_named_job(job) if isinstance(job, list) else job for job in named["jobs"]]
    return named


def _named_job(values: list[Any]) -> dict[str, Any]:
    names = [name for name in _POSITIONAL_JOB if name != "submitted_at" or len(values) == len(_POSITIONAL_JOB)]
    if len(values) != len(names):
        raise Odd(f"a job has {len(values)} values instead of {len(_POSITIONAL_JOB)}")
    return dict(zip(names, values, strict=True))


def _jobs(state: Record) -> tuple[tuple[int, Record], ...]:
    """The jobs with their ids, each id once. gflow itself prefers the split form where there are both."""
    split = state.get("job_specs") or state.get("job_runtimes")
    numbered = _split_jobs(state) if split else _listed_jobs(state)
    seen: set[int] = set()
    for job_id, _ in numbered:
        if job_id < 1 or job_id in seen:
            raise Odd(f"job {job_id} is there twice" if job_id else "a job has the id 0")
        seen.add(job_id)
    return tuple(numbered)


def _split_jobs(state: Record) -> list[tuple[int, Record]]:
    specs, runtimes = state.get("job_specs") or [], state.get("job_runtimes") or []
    if not isinstance(specs, list) or not isinstance(runtimes, list) or len(specs) != len(runtimes):
        raise Odd("job_specs and job_runtimes are not two lists of the same length")
    jobs = []
    for index, (spec, runtime) in enumerate(zip(specs, runtimes, strict=True)):
        what = f"job {index + 1}"
        Record(spec, f"{what} in job_specs")
        own_id = Record(runtime, f"{what} in job_runtimes").integer("id")
        if own_id not in (None, index + 1):
            raise Odd(f"{what} says that it is job {own_id}")
        jobs.append((index + 1, Record({**spec, **runtime}, what)))
    return jobs


def _listed_jobs(state: Record) -> list[tuple[int, Record]]:
    jobs = state.get("jobs")
    if jobs is None:
        return []
    if isinstance(jobs, dict):
        return [_job(plain, _key(key)) for key, plain in jobs.items()]
    if isinstance(jobs, list):
        return [_job(plain, None, index + 1) for index, plain in enumerate(jobs)]
    raise Odd(f"its jobs are {shown(jobs)} instead of a list or a map")


def _key(key: object) -> int:
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 10:
        key = int(key)
    return whole(key, "the key of a job")


def _job(plain: object, key: int | None, place: int = 0) -> tuple[int, Record]:
    """A job and its id, which its key in a map must repeat; one without an id has that of its place in the list."""
    own_id = Record(plain, f"job {key or place}").integer("id")
    if own_id is not None and key is not None and own_id != key:
        raise Odd(f"job {own_id} is kept under the key {key}")
    job_id = own_id if own_id is not None else key if key is not None else place
    return job_id, Record(plain, f"job {job_id}")
