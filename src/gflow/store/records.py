"""A transaction: all that one step of the engine changed, as one record of the log. It is on disk whole or not at all.

A record holds state, not inputs: replaying it needs no rule of the engine, so a later engine replays an old log right.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gflow.core.errors import TooLarge
from gflow.core.events import Event
from gflow.core.model import Group, Job, JobId
from gflow.store.codec import (
    Map,
    event_from_map,
    event_to_map,
    group_from_map,
    group_to_map,
    job_from_map,
    job_to_map,
    pack,
    unpack,
)

MAX_RECORD_BYTES = 256 << 20
"""No record is longer; a longer one on disk is damage and is not even read."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """What changed in one step.

    - seq: counts transactions, without a gap, from 1.
    - jobs, groups: as they are after the step. Each job once.
    - events: what happened, in order. Their ids are consecutive and end just before `next_event_id`.
    - settings: values by key; None removes the key. Values are whatever msgpack can hold.
    - retired: jobs that left the state: they are in the history, or were pruned.
    - next_job_id, next_event_id: the next ids to be given.
    - boot_id: given when the boot the `_boot` times belong to has changed; then `jobs` has every job with such a time.
    """

    seq: int
    jobs: tuple[Job, ...]
    groups: tuple[Group, ...]
    events: tuple[Event, ...]
    settings: Mapping[str, Any]
    next_job_id: int
    next_event_id: int
    boot_id: str | None = None
    retired: tuple[JobId, ...] = ()

    @property
    def changes(self) -> int:
        """What replaying it costs: each job that changed or left is one, and so is a transaction without any."""
        return len(self.jobs) + len(self.retired) or 1

    @property
    def numbered_events(self) -> list[tuple[int, Event]]:
        """The events with their ids."""
        return list(enumerate(self.events, self.next_event_id - len(self.events)))


def encode(transaction: Transaction) -> bytes:
    """One record. Raises TooLarge, TypeError or OverflowError if it cannot be written."""
    plain: Map = {
        "seq": transaction.seq,
        "next_job_id": transaction.next_job_id,
        "next_event_id": transaction.next_event_id,
    }
    if transaction.jobs:
        plain["jobs"] = [job_to_map(job) for job in transaction.jobs]
    if transaction.groups:
        plain["groups"] = [group_to_map(group) for group in transaction.groups]
    if transaction.events:
        known = {job.id: job for job in transaction.jobs}
        plain["events"] = [event_to_map(event, known) for event in transaction.events]
    if transaction.settings:
        plain["settings"] = dict(transaction.settings)
    if transaction.boot_id is not None:
        plain["boot_id"] = transaction.boot_id
    if transaction.retired:
        plain["retired"] = transaction.retired
    record = pack(plain)
    if len(record) > MAX_RECORD_BYTES:
        raise TooLarge(
            f"One change of {len(record) >> 20} MB is more than the {MAX_RECORD_BYTES >> 20} MB kept at once"
        )
    return record


def decode(record: bytes | memoryview) -> Transaction:
    """The transaction `encode` was given. Raises KeyError, TypeError, AttributeError or ValueError if it is none."""
    plain = unpack(record)
    jobs = tuple(job_from_map(job) for job in plain.get("jobs", ()))
    known = {job.id: job for job in jobs}
    return Transaction(
        seq=plain["seq"],
        jobs=jobs,
        groups=tuple(group_from_map(group) for group in plain.get("groups", ())),
        events=tuple(event_from_map(event, known) for event in plain.get("events", ())),
        settings=plain.get("settings", {}),
        next_job_id=plain["next_job_id"],
        next_event_id=plain["next_event_id"],
        boot_id=plain.get("boot_id"),
        retired=tuple(plain.get("retired", ())),
    )
