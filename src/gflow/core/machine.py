"""The machine the jobs share: its GPUs as they are seen and allowed, reservations, quotas, and whether it is drained.

Each public method is one step, as those of the engine are: it raises a `Refused` and has changed nothing, or returns an
`Outcome`. What is kept of it are settings; what a probe saw is not kept, it is seen again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gflow.core import quotas
from gflow.core.claims import shortfall, taken_by_others
from gflow.core.drain import Drain, check_reason, drain_from_map
from gflow.core.errors import Conflict, Impossible, NotFound
from gflow.core.events import EventKind
from gflow.core.model import Gpu, GpuProcessId, GpuStatus, Group, Job, Now
from gflow.core.outcome import Outcome
from gflow.core.planner import Planner
from gflow.core.quotas import Limits
from gflow.core.reservations import Reservation, book_from, check_request, indices
from gflow.core.table import Table

NOT_SEEN_YET = "not seen since gflowd was started"


class Machine(Table):
    """The table, with steps about the machine."""

    _seen: list[list[Any]] = []  # noqa: RUF012 - replaced, never changed

    def next_moment(self, now: Now) -> float | None:
        """When `schedule` will next find something new though nobody does anything, in seconds since the epoch."""
        moments = (self.next_begin_at(), self.book.next_edge(now.wall))
        return min((moment for moment in moments if moment is not None), default=None)

    def restore(
        self,
        jobs: Iterable[Job],
        groups: Iterable[Group],
        next_job_id: int,
        now: Now,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Take over a stored state, into an empty engine."""
        kept = settings or {}
        self.book = book_from(kept)
        self.quotas.set_overrides(quotas.table_from_map(kept.get("quota_overrides") or {}))
        self.fair_share.restore(kept.get("fair_share_usage") or {}, now.wall)
        allowed = kept.get("allowed_gpu_indices")
        self.resources.allowed = None if allowed is None else frozenset(allowed)
        self.resources.ignored = {
            (index, GpuProcessId(pid, ticks)): None for index, pid, ticks in kept.get("ignored_gpu_processes") or ()
        }
        self.drained = drain_from_map(kept.get("drained"))
        self._seen = [list(device) for device in kept.get("gpus_seen") or ()]
        if not self.resources.gpus:  # until they are seen again: what needs them waits, and is not refused
            self.resources.set_gpus([Gpu(*device) for device in self._seen])
            self.resources.status = dict.fromkeys(self.resources.gpus, GpuStatus(fault=NOT_SEEN_YET))
        super().restore(jobs, groups, next_job_id, now)

    def kept_settings(self) -> dict[str, Any]:
        """What `restore` is to be given, beside jobs and groups, to come to the same."""
        settings = {
            **self.book.to_settings(),
            "quota_overrides": quotas.table_to_map(self.quotas.overrides) or None,
            "fair_share_usage": self.fair_share.to_map() or None,
            "allowed_gpu_indices": None if self.resources.allowed is None else sorted(self.resources.allowed),
            "ignored_gpu_processes": self._ignored_setting(),
            "gpus_seen": self._seen or None,
            "drained": None if self.drained is None else self.drained.to_map(),
        }
        return {key: value for key, value in settings.items() if value is not None}

    # -- GPUs ------------------------------------------------------------------------------------------------------

    def observe_gpus(self, gpus: Sequence[Gpu], status: Mapping[int, GpuStatus], now: Now) -> Outcome:
        """Take note of what a probe saw. Every device not named in `gpus` is forgotten."""
        out = Outcome()
        before = self._vetoes()
        self.resources.set_gpus(gpus)
        self.resources.status = dict(status)
        self._tell_available(out, before, now)
        self._measure(out, now)
        self._forget_gone_processes(out)
        self._remember_devices(out)
        return out

    def _vetoes(self) -> dict[int, str | None]:
        return {index: self.resources.veto(index) for index in self.resources.gpus}

    def _tell_available(self, out: Outcome, before: Mapping[int, str | None], now: Now) -> None:
        """Tell of devices that nothing could be put on before, and that nobody has now."""
        for index, gpu in self.resources.gpus.items():
            free = self.resources.veto(index) is None and not self.resources.holders(index)
            if free and before.get(index) is not None:
                out.tell(EventKind.GPU_AVAILABLE, None, now.wall, {"gpu": index, "uuid": gpu.uuid})

    def _remember_devices(self, out: Outcome) -> None:
        """Keep which devices there are, for a start at which the driver shows none. Those on paper need no driver."""
        devices = [[gpu.index, gpu.uuid, gpu.name, gpu.memory_mb] for gpu in self.resources.gpus.values()]
        if devices != self._seen and not any(gpu.simulated for gpu in self.resources.gpus.values()):
            self._seen = devices
            out.settings["gpus_seen"] = devices or None

    def _measure(self, out: Outcome, now: Now) -> None:
        for job in [self.jobs[job_id] for job_id in self.running if self.jobs[job_id].gpu_ids]:
            changed = self.measuring.sample(job, self.resources.status, now, self.policy.idle_gpu_warn_secs)
            if changed.job is not job:
                self._put(out, changed.job)
            for kind, about in changed.news:
                out.tell(kind, changed.job, now.wall, about)

    def _forget_gone_processes(self, out: Outcome) -> None:
        """An ignored process that left its device is no exception any more; its id may be another's soon."""
        present = {(index, process) for index, seen in self.resources.status.items() for process in seen.foreign}
        seen_well = {index for index, seen in self.resources.status.items() if seen.fault is None}
        gone = [key for key in self.resources.ignored if key[0] in seen_well and key not in present]
        for key in gone:
            del self.resources.ignored[key]
        if gone:
            out.settings["ignored_gpu_processes"] = self._ignored_setting()

    def allow_gpus(self, allowed: Iterable[int] | None, now: Now) -> Outcome:
        """Give out only these devices from now on, all for None. Raises Impossible for unknown ones."""
        chosen = None if allowed is None else frozenset(allowed)
        unknown = sorted((chosen or frozenset()) - self.resources.gpus.keys())
        if unknown:
            known = len(self.resources.gpus)
            raise Impossible(f"Invalid GPU indices {unknown} (only {known} GPUs detected)")
        before = self._vetoes()
        self.resources.allowed = chosen
        # an empty list is kept as such: no GPU at all is given out
        out = Outcome(settings={"allowed_gpu_indices": None if chosen is None else sorted(chosen)})
        self._tell_available(out, before, now)
        return out

    def ignore_gpu_process(self, index: int, process: GpuProcessId) -> tuple[bool, Outcome]:
        """Let jobs have a device though this process computes on it; whether that is new. Raises Impossible."""
        self._known_gpu(index)
        is_new = (index, process) not in self.resources.ignored
        self.resources.ignored[index, process] = None
        return is_new, Outcome(settings={"ignored_gpu_processes": self._ignored_setting()} if is_new else {})

    def unignore_gpu_process(self, index: int, pid: int) -> Outcome:
        """Let a process count again. Raises NotFound."""
        found = [key for key in self.resources.ignored if key[0] == index and key[1].pid == pid]
        if not found:
            raise NotFound(f"Process {pid} is not ignored on GPU {index}")
        for key in found:
            del self.resources.ignored[key]
        return Outcome(settings={"ignored_gpu_processes": self._ignored_setting()})

    def _ignored_setting(self) -> list[list[int]] | None:
        return [[index, *process] for index, process in self.resources.ignored] or None

    def _known_gpu(self, index: int) -> None:
        if index not in self.resources.gpus:
            raise Impossible(f"There is no GPU {index} (only {len(self.resources.gpus)} GPUs detected)")

    # -- reservations ----------------------------------------------------------------------------------------------

    def reserve(
        self,
        user: str,
        start_at: float,
        end_at: float,
        now: Now,
        *,
        gpu_count: int | None = None,
        gpu_indices: Iterable[int] | None = None,
        by: str | None = None,
    ) -> tuple[Reservation, Outcome]:
        """Promise GPUs to a user. Raises Malformed, Impossible, or Conflict where they are promised or in use."""
        reservation = Reservation(
            id=self.book.next_id,
            user=user,
            start_at=start_at,
            end_at=end_at,
            gpu_count=gpu_count,
            gpu_indices=tuple(sorted(set(gpu_indices))) if gpu_indices is not None else None,
            created_at=now.wall,
            created_by=by,
        )
        check_request(reservation, now.wall)
        self._check_room(reservation, now)
        return reservation, self._keep(reservation, EventKind.RESERVATION_CREATED, now)

    def _check_room(self, reservation: Reservation, now: Now) -> None:
        planner = Planner(self, now)
        there = planner.permitted
        if reservation.size > there.bit_count() or reservation.gpus & ~there:
            raise Impossible(f"Only {_count(there.bit_count(), 'GPU')} may be given out: {_listed(there) or 'none'}")
        short_at = shortfall(reservation, self.book.ahead(now.wall), planner.holdings, there)
        if short_at is not None:
            raise Conflict(self._why_short(reservation, short_at, planner))

    def _why_short(self, reservation: Reservation, at: float, planner: Planner) -> str:
        """Whose reservations or running jobs are in the way at a moment."""
        beside = [r for r in self.book.ahead(at) if r.holds(at)]
        others = [f"reservation {r.id} of {r.user}" for r in beside]
        in_the_way = taken_by_others(reservation, planner.holdings, at) or planner.permitted
        for job_id in sorted({j for index in indices(in_the_way) for j in self.resources.holders(index)}):
            job = self.jobs[job_id]
            if planner.gone_at(job) > at and job.spec.owner != reservation.user:
                limit = "has no time limit" if job.spec.time_limit_secs is None else "may run until then"
                others.append(f"job {job_id} of {job.spec.owner}, which {limit}")
        what = f"{_count(reservation.size, 'GPU')}" if not reservation.gpus else f"GPUs {_listed(reservation.gpus)}"
        return f"{what} cannot be reserved: taken by {'; '.join(others) or 'others'}"

    def cancel_reservation(self, reservation_id: int, now: Now) -> Outcome:
        """Give up a reservation. Raises NotFound, WrongState."""
        return self._keep(self.book.cancelled(reservation_id, now.wall), EventKind.RESERVATION_CANCELLED, now)

    def _keep(self, reservation: Reservation, kind: EventKind, now: Now) -> Outcome:
        self.book.put(reservation, now.wall)
        out = Outcome(settings=self.book.to_settings())
        about = {
            "reservation_id": reservation.id,
            "user": reservation.user,
            "gpu_count": reservation.gpu_count,
            "gpu_indices": list(reservation.gpu_indices) if reservation.gpu_indices is not None else None,
            "start_at": reservation.start_at,
            "end_at": reservation.end_at,
        }
        out.tell(kind, None, now.wall, about)
        return out

    def unkept(self, now: Now) -> list[Reservation]:
        """The reservations, now or to come, for which too few devices are left to be given out."""
        there = self.resources.permitted()
        return [r for r in self.book.ahead(now.wall) if r.gpus & ~there or r.size > there.bit_count()]

    # -- draining --------------------------------------------------------------------------------------------------

    def drain(self, by: str, reason: str | None, now: Now) -> Outcome:
        """Start nothing new from now on. Asked for again, a reason replaces the one before. Raises Malformed."""
        reason, before = check_reason(reason), self.drained
        if before is not None and reason in (None, before.reason):
            return Outcome()
        self.drained = Drain(now.wall, by, reason) if before is None else Drain(before.since, by, reason)
        out = Outcome(settings={"drained": self.drained.to_map()})
        out.tell(EventKind.SCHEDULER_DRAINED, None, now.wall, {"by": by, "reason": reason})
        return out

    def resume(self, by: str, now: Now) -> Outcome:
        """Start jobs again; nothing changes where they are started anyway."""
        if self.drained is None:
            return Outcome()
        self.drained = None
        out = Outcome(settings={"drained": None})
        out.tell(EventKind.SCHEDULER_RESUMED, None, now.wall, {"by": by})
        return out

    # -- quotas ----------------------------------------------------------------------------------------------------

    def set_quota(self, scope: str, name: str | None, given: Limits) -> Outcome:
        """Set limits at run time, over the configured ones; those that are None stay. Raises Malformed."""
        quotas.check_entry(scope, name, given)
        limits = quotas.merged(self.quotas.overrides.entry(scope, name), given)
        return self._override(self.quotas.overrides.with_entry(scope, name, limits))

    def remove_quota(self, scope: str, name: str | None) -> Outcome:
        """Take back limits that were set at run time. Raises Malformed, NotFound."""
        quotas.check_entry(scope, name, Limits())
        return self._override(quotas.without(self.quotas.overrides, scope, name))

    def _override(self, table: quotas.Table) -> Outcome:
        self.quotas.set_overrides(table)
        return Outcome(settings={"quota_overrides": quotas.table_to_map(table) or None})


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(gpus: int) -> str:
    return ", ".join(map(str, indices(gpus)))
