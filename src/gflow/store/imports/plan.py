"""What an import would do: read, converted and checked, with nothing touched yet."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gflow.core.model import Group, Job, JobId, State
from gflow.store.errors import Unreadable
from gflow.store.imports import extras, links
from gflow.store.imports.jobs import Converter, Notes, Surroundings
from gflow.store.imports.reading import Contents, read
from gflow.store.imports.values import MAX_U64, Odd


class NotImportable(Unreadable):
    """The file cannot be taken over; one line says which and why, and nothing has been changed."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A state to be taken over.

    - format: what the file is, for people. data, sha256: the file itself.
    - scripts: texts the spool must have, by digest. settings: see `extras`.
    - notes: what is changed and left out, about the whole (None) or about a job.
    """

    path: Path
    format: str
    data: bytes
    sha256: str
    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    settings: Mapping[str, Any]
    next_job_id: int
    scripts: Mapping[str, bytes]
    notes: tuple[tuple[JobId | None, str], ...]

    def summary(self) -> str:
        """`16 jobs (7 Queued, 9 Finished)`: the states they come in."""
        counts = Counter(job.state for job in self.jobs)
        listed = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
        return f"{len(self.jobs)} jobs ({listed})" if listed else "no jobs"

    def notes_by_job(self) -> dict[JobId | None, list[str]]:
        """The notes about each job that has any, and about the whole."""
        found: dict[JobId | None, list[str]] = {}
        for about, text in self.notes:
            found.setdefault(about, []).append(text)
        return found

    def warnings(self) -> list[str]:
        """All notes, one line each."""
        return [text if job_id is None else f"job {job_id} {text}" for job_id, text in self.notes]


def make_plan(path: Path, data: bytes, around: Surroundings) -> Plan:
    """What importing `data`, read from `path`, would do. Raises NotImportable."""
    try:
        return _plan(path, data, around)
    except Odd as odd:
        raise NotImportable(path, f"cannot be imported: {odd}") from None


def _plan(path: Path, data: bytes, around: Surroundings) -> Plan:
    contents = read(data)
    notes = Notes()
    converter = Converter(around, notes)
    jobs = {JobId(job_id): converter.convert(JobId(job_id), record) for job_id, record in contents.jobs}
    links.settle(jobs, around.now, notes)
    settings = extras.settings(contents.state, contents.jobs, notes)
    return Plan(
        path=path,
        format=f"gflow state version {contents.version}, {contents.encoding}",
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        jobs=tuple(jobs[job_id] for job_id in sorted(jobs)),
        groups=links.groups(jobs, _caps(contents), notes),
        settings=settings,
        next_job_id=max([contents.state.integer("next_job_id") or 1, *(job_id + 1 for job_id in jobs)]),
        scripts=_needed(converter.scripts, jobs.values()),
        notes=tuple(notes.lines),
    )


def _caps(contents: Contents) -> dict[JobId, int]:
    caps = {JobId(job_id): record.integer("max_concurrent", MAX_U64) for job_id, record in contents.jobs}
    return {job_id: cap for job_id, cap in caps.items() if cap is not None}


def _needed(scripts: Mapping[str, bytes], jobs: Iterable[Job]) -> dict[str, bytes]:
    """The texts of jobs that may still run; one that was cancelled along needs none."""
    digests = {job.spec.script_digest for job in jobs if job.finished_at is None}
    return {digest: text for digest, text in scripts.items() if digest in digests}
