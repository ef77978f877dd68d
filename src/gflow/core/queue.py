"""The jobs that could start now if there were room, in lanes of like requests.

All jobs of a lane ask for the same, for the same owner and as long, so when the first of a lane finds no room, none
behind it does, and a pass over the queue looks at one job a lane plus those it starts, however many wait. Room only
shrinks during a pass, so a lane once blocked stays blocked until the next one.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from gflow.core.model import JobId, ReasonKind
from gflow.core.order import PRIORITY_WEIGHT, QueueKey


class Shape(NamedTuple):
    """What a job needs to start; jobs of equal shape are interchangeable for placement.

    `project` and `group_id` are set only where a quota or a limit depends on them.
    """

    owner: str
    project: str | None
    gpus: int
    gpu_indices: tuple[int, ...]
    shared: bool
    gpu_memory_mb: int | None
    memory_mb: int | None
    group_id: str | None
    limit_secs: float | None


Rank = tuple[int, float, QueueKey]
"""Priority, negated; the owner's usage; the key."""


def _no_usage(_owner: str) -> float:
    return 0.0


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

    def candidates(self, usage: Callable[[str], float] = _no_usage) -> Iterator[tuple[Shape, JobId]]:
        """The jobs to try, best first. After each, the caller either discards it (started) or blocks its lane.

        Within a priority, owners with less `usage` come first. It may grow during the pass, and is asked again then.
        """
        for lane in self._lanes.values():
            lane.blocked = None
        heads = [(rank(lane.keys[0], usage(lane.shape.owner)), lane.shape) for lane in self._lanes.values()]
        heapq.heapify(heads)
        while heads:
            was, shape = heads[0]
            now = rank(self._lanes[shape].keys[0], usage(shape.owner))
            if now > was:
                heapq.heapreplace(heads, (now, shape))
                continue
            yield shape, was[2][1]
            lane_now = self._lanes.get(shape)
            if lane_now is not None and lane_now.blocked is None:
                heapq.heapreplace(heads, (rank(lane_now.keys[0], usage(shape.owner)), shape))
            else:
                heapq.heappop(heads)

    def position(self, key: QueueKey, owner: str = "", usage: Callable[[str], float] = _no_usage) -> int:
        """How many ready jobs stand before this key of this owner."""
        return sum(number for _, number in self._ahead(rank(key, usage(owner)), usage))

    def before(self, key: QueueKey, owner: str = "", usage: Callable[[str], float] = _no_usage) -> Iterator[JobId]:
        """The ready jobs that stand before this key of this owner, in no order."""
        for lane, number in self._ahead(rank(key, usage(owner)), usage):
            for earlier in lane.keys[:number]:
                yield earlier[1]

    def _ahead(self, limit: Rank, usage: Callable[[str], float]) -> Iterator[tuple[Lane, int]]:
        """How many of each lane rank before `limit`. Within a lane rank and key order the same."""
        for lane in self._lanes.values():
            used = usage(lane.shape.owner)
            yield lane, bisect_left(lane.keys, limit, key=lambda key, used=used: rank(key, used))  # type: ignore[misc]

    def items(self) -> Iterator[tuple[JobId, Shape, QueueKey]]:
        """Everything in the queue, in no order."""
        for job_id, (lane, key) in self._place.items():
            yield job_id, lane.shape, key


def rank(key: QueueKey, usage: float) -> Rank:
    """Where a job with this key stands whose owner has used so much."""
    return key[0] // PRIORITY_WEIGHT, usage, key
