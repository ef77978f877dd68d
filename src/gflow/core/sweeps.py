"""The machine, with steps about groups of jobs that belong together: the cells of a sweep.

A cell is a job of a group with a key. As long as one waits, runs or has finished, submitting it again makes nothing
new; since a submission is one step, that holds for two runs of a script at once, too.

The rest of a group is put on hold when its jobs fail one after another. From then on what is submitted to it is born
on hold, until somebody releases one of its jobs, submits a failed cell again, or nothing of the group has been left
for a minute.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gflow.core import groups
from gflow.core.events import EventKind
from gflow.core.groups import Cell, cell_of
from gflow.core.lifecycle import ACTIVE, move
from gflow.core.machine import Machine
from gflow.core.model import Group, Job, JobId, JobSpec, Now, State
from gflow.core.outcome import Outcome

SETTLED = ACTIVE | {State.FINISHED}
"""The states of a job in which its cell is not submitted again."""


class Sweeps(Machine):
    """The machine, and what groups add to it."""

    def standing(self, spec: JobSpec, past: Mapping[Cell, Job]) -> Job | None:
        """The job that stands in the place of a new one: of the same submission, or of the same cell.

        `past` has the latest of those that had left. A job that is done once more takes its cell over.
        """
        if spec.submit_key is not None and (known := self.submitted_under(spec.owner, spec.submit_key)) is not None:
            return known
        latest = self._latest(spec, past) if spec.redone_from is None else None
        return latest if latest is not None and latest.state in SETTLED else None

    def _latest(self, spec: JobSpec, past: Mapping[Cell, Job]) -> Job | None:
        cell = cell_of(spec)
        if cell is None:
            return None
        found = [job for job in (self.in_cell(cell), past.get(cell)) if job is not None]
        return max(found, key=lambda job: job.id, default=None)

    def _set_groups(
        self,
        out: Outcome,
        specs: Iterable[JobSpec],
        limits: Mapping[str, int | None],
        hold_after: Mapping[str, int],
    ) -> None:
        """Take over what a submission says of groups, but not of those that have no job and get none."""
        getting = {spec.group_id for spec in specs}
        for group_id in {**limits, **hold_after}:
            group = self.groups.get(group_id) or Group(group_id)
            if group_id not in self.groups and group_id not in getting:
                continue
            if (failures := hold_after.get(group_id, group.hold_after)) != group.hold_after:
                self._note_group(out, replace(group, hold_after=failures))
            if group_id in limits:
                self._set_limit(out, group_id, limits[group_id])

    def _set_limit(self, out: Outcome, group_id: str, max_concurrent: int | None) -> None:
        group = self.groups.get(group_id) or Group(group_id)
        if group.max_concurrent != max_concurrent or group_id not in self.groups:
            self._put_group(out, replace(group, max_concurrent=max_concurrent))

    def _lift_for(self, out: Outcome, specs: Iterable[JobSpec], past: Mapping[Cell, Job], now: Now) -> None:
        """Forget the hold of groups whose failed cells come again, or that had come to their end."""
        for spec in specs:
            group = self.groups.get(spec.group_id) if spec.group_id is not None else None
            if group is None or group.held is None:
                continue
            over = not self.group_open(group.id) and groups.is_over(group, now.wall)
            if over or self._latest(spec, past) is not None:
                self._note_group(out, groups.lifted(group))

    def _held_with_group(self, spec: JobSpec) -> str | None:
        """Why a new job of this group is born on hold."""
        group = self.groups.get(spec.group_id) if spec.group_id is not None else None
        return group.held if group is not None else None

    def _released(self, out: Outcome, job: Job) -> None:
        """Whoever releases one job of a group on hold has seen to it."""
        group = self.groups.get(job.spec.group_id) if job.spec.group_id is not None else None
        if group is not None and group.held is not None:
            self._note_group(out, groups.lifted(group))

    def _watch_group(self, out: Outcome, ended: Job, now: Now) -> None:
        """Put the rest of a group on hold when its jobs fail one after another."""
        group = self.groups.get(ended.spec.group_id) if ended.spec.group_id is not None else None
        if group is None:
            return
        after = groups.after_end(group, ended, self._first_attempt(ended))
        if after is not group:
            self._note_group(out, after)
        if after.held is not None and group.held is None:
            self._hold_rest(out, after, ended, now)

    def _first_attempt(self, job: Job) -> JobId:
        while (earlier := job.spec.retried_from) is not None and earlier in self.jobs:
            job = self.jobs[earlier]
        return job.id

    def _hold_rest(self, out: Outcome, group: Group, last: Job, now: Now) -> None:
        members = sorted(self.members(group.id))
        rest = [job for job in map(self.jobs.__getitem__, members) if job.state is State.QUEUED]
        for job in rest:
            self._put(out, move(job, State.HOLD, detail=group.held, planned_for=None, bypassed_at=None))
        about = {
            "group_id": group.id,
            "group_name": last.spec.group_name,
            "user": last.spec.owner,
            "first_job_id": members[0],
            "reason": group.held,
            "failed": [failure.task for failure in group.failures],
            "held": len(rest),
        }
        out.tell(EventKind.GROUP_HELD, last, now.wall, about)


def latest_by_cell(jobs: Sequence[Job]) -> dict[Cell, Job]:
    """Of each cell the latest of these jobs."""
    return {cell: job for job in sorted(jobs, key=lambda job: job.id) if (cell := cell_of(job.spec)) is not None}
