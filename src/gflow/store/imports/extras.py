"""Everything in gflow's state that is no job, as settings of ours.

    reservations         list of {id, user, gpu_count | gpu_indices, start_at, duration_secs, status, created_at,
                         cancelled_at}; next_reservation_id
    quota_overrides      as gflow has it: {users | projects: {name: limits}, default_user | default_project: limits}
    fair_share_usage     {user: {usage (GPU-seconds), last_update}}
    allowed_gpu_indices  list of numbers
    notifications        {job id as text: {emails, events}}

Times are seconds since the epoch. A key that would be empty is left out. All but the notifications take effect when the
engine is given them (`Machine.restore`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gflow.core.gpu_list import LAST_INDEX
from gflow.core.reservations import LONGEST_SECS
from gflow.store.imports.jobs import Notes
from gflow.store.imports.values import MAX_U64, Odd, Record, instant, shown

UNSERVED = ("notifications",)
"""What is kept for a version that acts on it."""

_STATUSES = {word: word for word in ("Pending", "Active", "Completed", "Cancelled")}
_LIMITS = ("max_running_jobs", "max_running_gpus", "max_queued_jobs")
_NAMED = ("users", "projects")
_DEFAULTS = ("default_user", "default_project")


def settings(state: Record, jobs: Iterable[tuple[int, Record]], notes: Notes) -> dict[str, Any]:
    """The settings in a state. Raises Odd."""
    reservations = [_reservation(plain, notes) for plain in _listed(state, "reservations")]
    next_id = max([state.integer("next_reservation_id") or 1, *(r["id"] + 1 for r in reservations)])
    allowed = state.integers("allowed_gpu_indices")
    found: dict[str, Any] = {
        "reservations": reservations,
        "next_reservation_id": next_id if next_id > 1 else None,
        "quota_overrides": _quotas(state),
        "fair_share_usage": {user: _usage(user, plain) for user, plain in state.table("fair_share_usage").items()},
        "notifications": dict(_notifications(jobs)),
    }
    kept = {key: value for key, value in found.items() if value}
    if unserved := [key for key in UNSERVED if key in kept]:
        notes.add(None, f"kept, but not acted on by this version: {', '.join(unserved)}")
    return kept if allowed is None else kept | {"allowed_gpu_indices": _allowed(allowed, notes)}


def _allowed(indices: Iterable[int], notes: Notes) -> list[int]:
    """The GPUs that gctl set-gpus, or gflow's configuration, had left; gflow wrote both into this place."""
    allowed = sorted(set(indices))
    listed = ", ".join(map(str, allowed)) or "no GPU"
    notes.add(None, f"jobs go on being given {listed} only (allowed_gpu_indices): gctl set-gpus changes that")
    return allowed


def _listed(state: Record, name: str) -> list[Any]:
    value = state.get(name)
    if value is not None and not isinstance(value, list):
        raise Odd(f"{state.what}: {name} is {shown(value)} instead of a list")
    return value or []


def _reservation(plain: object, notes: Notes) -> dict[str, Any]:
    record = Record(plain, "a reservation")
    number = record.integer("id")
    record = Record(plain, f"reservation {number}")
    start_at, duration_secs = record.moment("start_time"), record.duration("duration")
    user = record.text("user")
    if number is None or start_at is None or duration_secs is None or user is None:
        raise Odd(f"{record.what} has no id, user, start or duration")
    if duration_secs > LONGEST_SECS:
        notes.add(None, f"reservation {number} lasts longer than 366 days: made 366 days")
    return {
        "id": number,
        "user": user,
        **_gpus(record),
        "start_at": start_at,
        "duration_secs": min(duration_secs, float(LONGEST_SECS)),
        "status": record.word("status", _STATUSES) or "Pending",
        "created_at": record.moment("created_at"),
        "cancelled_at": record.moment("cancelled_at"),
    }


def _gpus(record: Record) -> dict[str, Any]:
    wanted = Record(record.get("gpu_spec"), f"{record.what}: gpu_spec")
    count, indices = wanted.integer("count"), wanted.integers("indices")
    if (count is None) == (indices is None):
        raise Odd(f"{record.what}: gpu_spec has neither count nor indices, or both")
    if any(index > LAST_INDEX for index in indices or ()):
        raise Odd(f"{record.what}: gpu_spec has indices over {LAST_INDEX}")
    return {"gpu_count": count} if indices is None else {"gpu_indices": list(indices)}


def _quotas(state: Record) -> dict[str, Any]:
    record = Record(state.table("quota_overrides"), "quota_overrides")
    named = {key: {name: _limits(name, plain) for name, plain in record.table(key).items()} for key in _NAMED}
    defaults = {key: _limits(key, record.get(key)) for key in _DEFAULTS if record.get(key) is not None}
    return {key: value for key, value in (named | defaults).items() if value}


def _limits(name: str, plain: object) -> dict[str, int]:
    record = Record(plain, f"the quota of {name}")
    given = {key: record.integer(key, MAX_U64) for key in _LIMITS}
    return {key: limit for key, limit in given.items() if limit is not None}


def _usage(user: str, plain: object) -> dict[str, float | None]:
    record = Record(plain, f"the usage of {user}")
    stamp = record.get("last_update")
    written = instant(stamp, f"{record.what}: last_update") if isinstance(stamp, dict | list) else None
    return {
        "usage": record.number("usage") or 0.0,
        "last_update": record.number("last_update") if written is None else written,
    }


def _notifications(jobs: Iterable[tuple[int, Record]]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    for job_id, record in jobs:
        if record.get("notifications") is None:
            continue
        wanted = Record(record.get("notifications"), f"{record.what}: notifications")
        if emails := wanted.texts("emails"):
            yield str(job_id), {"emails": emails, "events": wanted.texts("events")}
