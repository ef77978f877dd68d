"""The jobs that could start now if there were room, in lanes of like requests.

All jobs of a lane ask for the same resources, so when the first of a lane finds no room, none behind it does, and a
pass over the queue looks at one job a lane plus those it starts, however many wait. Room only shrinks during a pass,
so a lane once blocked stays blocked until the next one.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gflow.core.model import JobId, ReasonKind
from gflow.core.order import QueueKey


class Shape(NamedTuple):
    """What a job needs to start; jobs of equal shape are interchangeable for placement.

    `group_id` is set only for groups with a limit.
    """

    gpus: int
    shared: bool
    gpu_memory_mb: int | None
    memory_mb: int | None
    group_id: str | None


@dataclass(slots=True)
class Lane:
    """Keys in queue order, and why the first of them could not start when last tried."""

    shape: Shape
    keys: list[QueueKey] = field(default_factory=list)
    blocked: ReasonKind | None = None


class ReadyQueue:
    """Ready jobs by shape; adding and removing cost a bisection."""

    def __init__(self) -> None:
        self._lanes: dict[Shape, Lane] = {}
        self._place: dict[JobId, tuple[Lane, QueueKey]] = {}

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, job_id: JobId) -> bool:
        return job_id in self._place

    def add(self, shape: Shape, key: QueueKey) -> None:
        """Put the job of `key` into its lane. It must not be in the queue."""
        lane = self._lanes.get(shape)
        if lane is None:
            lane = self._lanes[shape] = Lane(shape)
        insort(lane.keys, key)
        self._place[key[1]] = lane, key

    def discard(self, job_id: JobId) -> None:
        """Take the job out, if it is in."""
        place = self._place.pop(job_id, None)
        if place is None:
            return
        lane, key = place
        del lane.keys[bisect_left(lane.keys, key)]
        if not lane.keys:
            del self._lanes[lane.shape]

    def blocked(self, job_id: JobId) -> ReasonKind | None:
        """Why the job's lane was blocked in the last pass; None if it was not, or has not been tried."""
        return self._place[job_id][0].blocked

    def block(self, shape: Shape, why: ReasonKind) -> None:
        """Remember why the first job of the lane could not start."""
        self._lanes[shape].blocked = why

    def candidates(self) -> Iterator[tuple[Shape, JobId]]:
        """The jobs to try, best first. After each, the caller either discards it (started) or blocks its lane."""
        heads = [(lane.keys[0], shape) for shape, lane in self._lanes.items()]
        for lane in self._lanes.values():
            lane.blocked = None
        heapq.heapify(heads)
        while heads:
            key, shape = heapq.heappop(heads)
            yield shape, key[1]
            lane_now = self._lanes.get(shape)
            if lane_now is not None and lane_now.blocked is None:
                heapq.heappush(heads, (lane_now.keys[0], shape))

    def position(self, key: QueueKey) -> int:
        """How many ready jobs stand before this key."""
        return sum(bisect_left(lane.keys, key) for lane in self._lanes.values())

    def before(self, key: QueueKey) -> Iterator[JobId]:
        """The ready jobs that stand before this key, in no order."""
        for lane in self._lanes.values():
            for earlier in lane.keys[: bisect_left(lane.keys, key)]:
                yield earlier[1]

    def items(self) -> Iterator[tuple[JobId, Shape, QueueKey]]:
        """Everything in the queue, in no order."""
        for job_id, (lane, key) in self._place.items():
            yield job_id, lane.shape, key
