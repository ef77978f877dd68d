"""GPUs as the API shows them, and what callers may ask about them.

The first four fields of a GPU are gflow's own; clients of gflow read `available` and `reason` from there.
"""

from typing import Any

from msgspec import Struct

from gflow.core.engine import Engine
from gflow.core.model import Gpu, JobId, Now
from gflow.core.placement import UNSEEN, Resources, share_mb
from gflow.core.reservations import Reservation
from gflow.wire.requests import Int

Json = dict[str, Any]


class AllowedGpus(Struct, forbid_unknown_fields=True):
    """The devices to give out from now on, null for all."""

    allowed_indices: list[Int] | None


class GpuProcess(Struct, forbid_unknown_fields=True):
    """A process on a device."""

    gpu_index: Int
    pid: Int


def gpus_json(engine: Engine, now: Now) -> list[Json]:
    """Every device: who holds it, what was measured on it, and what keeps it from being given out."""
    in_force = _in_force(engine, now)
    return [_gpu(engine, gpu, _naming(gpu.index, in_force)) for gpu in engine.resources.gpus.values()]


def available(engine: Engine, now: Now) -> list[int]:
    """The devices that nothing keeps a new job from having for itself just now."""
    in_force = _in_force(engine, now)
    return [index for index in engine.resources.gpus if _available(engine, index, _naming(index, in_force))]


def allowed_indices(resources: Resources, configured: list[int] | None) -> list[int] | None:
    """The devices that may be given out as far as people decide; None for all. `configured` is the most that can be."""
    if resources.allowed is None:
        return configured
    return sorted(index for index in resources.allowed if configured is None or index in configured)


def reserved_by_number(engine: Engine, now: Now) -> list[Json]:
    """The reservations in force that are of no certain devices."""
    return [{**_reservation(r), "gpu_count": r.gpu_count} for r in _in_force(engine, now) if r.gpu_count is not None]


def _in_force(engine: Engine, now: Now) -> list[Reservation]:
    return [reservation for reservation in engine.book.ahead(now.wall) if reservation.holds(now.wall)]


def _naming(index: int, in_force: list[Reservation]) -> Reservation | None:
    """The reservation in force that names a device."""
    return next((reservation for reservation in in_force if reservation.gpus >> index & 1), None)


def _available(engine: Engine, index: int, reserved: Reservation | None) -> bool:
    resources = engine.resources
    return not resources.holders(index) and resources.veto(index) is None and reserved is None


def _gpu(engine: Engine, gpu: Gpu, reserved: Reservation | None) -> Json:
    resources, index = engine.resources, gpu.index
    status = resources.status.get(index, UNSEEN)
    return {
        "uuid": gpu.uuid,
        "index": index,
        "available": _available(engine, index, reserved),
        "reason": status.fault or resources.veto(index) or _remark(resources, index, reserved),
        "name": gpu.name,
        "memory_mb": gpu.memory_mb,
        "used_mb": status.used_mb,
        "utilisation_pct": status.utilisation_pct,
        "simulated": gpu.simulated,
        "restricted": resources.allowed is not None and index not in resources.allowed,
        "jobs": [_holder(engine, job_id, index) for job_id in resources.holders(index)],
        "processes": _processes(resources, index),
        "reserved": _reservation(reserved) if reserved is not None else None,
    }


def _remark(resources: Resources, index: int, reserved: Reservation | None) -> str | None:
    """What else there is to say of a device: that a process is let be there, in gflow's words, or whose it is."""
    if guests := resources.guests(index):
        return f"manual_ignore(gpu={index},pid={','.join(str(process.pid) for process in guests)})"
    return f"reserved(user={reserved.user})" if reserved is not None else None


def _reservation(reservation: Reservation) -> Json:
    return {"id": reservation.id, "user": reservation.user, "until": reservation.end_at}


def _holder(engine: Engine, job_id: JobId, index: int) -> Json:
    """A job on a device: what it counts for there (MiB; null: it has it alone), and what it was seen to use."""
    job, status = engine.jobs[job_id], engine.resources.status.get(index, UNSEEN)
    return {
        "id": job_id,
        "name": job.run_name,
        "user": job.spec.owner,
        "share_mb": share_mb(job),
        "used_mb": status.job_mb.get(job_id),
    }


def _processes(resources: Resources, index: int) -> list[Json]:
    """The processes of others that compute on a device."""
    strangers = [{"pid": process.pid, "ignored": False} for process in resources.strangers(index)]
    return strangers + [{"pid": process.pid, "ignored": True} for process in resources.guests(index)]
