"""The jobs that could start now if there were room, in lanes of like requests.

All jobs of a lane ask for the same, for the same owner and as long, so when the first of a lane finds no room, none
behind it does, and a pass over the queue looks at one job a lane plus those it starts, however many wait. Room only
shrinks during a pass, so a lane once blocked stays blocked until the next one.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gflow.core.model import JobId, ReasonKind
from gflow.core.order import PRIORITY_WEIGHT, QueueKey, is_planned


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
    cpus: int | None
    group_id: str | None
    limit_secs: float | None


Rank = tuple[int, float, QueueKey]
"""Priority, negated; the owner's usage; the key."""


def _no_usage(_owner: str) -> float:
    return 0.0


def _never(_shape: Shape) -> bool:
    return False


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

    def block_all(self, why: ReasonKind) -> None:
        """Nobody has a turn: remember why, of every lane."""
        for lane in self._lanes.values():
            lane.blocked = why

    def turns(self, usage: Callable[[str], float] = _no_usage, hopeless: Callable[[Shape], bool] = _never) -> "Turns":
        """One pass over the jobs. Nothing is added to the queue, and nothing taken out but what it gave."""
        return Turns(self._lanes, usage, hopeless)

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


class Turns:
    """The jobs to try in one pass, best first. After each, the caller either discards it (started) or blocks its lane.

    Within a priority, owners with less `usage` come first. It may grow during the pass, and is asked again then.
    `hopeless` lanes, for which too few GPUs are left, are blocked without a turn, however many there are; but while
    `protecting` is set, those that stand before another job do get theirs, and so do the first of them once GPUs were
    taken.
    """

    def __init__(
        self, lanes: Mapping[Shape, Lane], usage: Callable[[str], float], hopeless: Callable[[Shape], bool]
    ) -> None:
        self.protecting = True
        self._fewer = self._taken = False
        self._lanes = lanes
        self._usage = usage
        self._hopeless = hopeless
        self._worth: list[_Entry] = []
        self._idle: list[_Entry] = []
        self._sort_out()

    def _sort_out(self) -> None:
        worth = []
        for shape, lane in self._lanes.items():
            lane.blocked = ReasonKind.GPU if self._hopeless(shape) else None
            if lane.blocked is None:
                worth.append(lane)
        if worth:
            self._worth = [self._entry(lane) for lane in worth]
            self._idle = [self._entry(lane) for lane in self._lanes.values() if lane.blocked is not None]
            heapq.heapify(self._worth)
            heapq.heapify(self._idle)

    def _entry(self, lane: Lane) -> "_Entry":
        return rank(lane.keys[0], self._usage(lane.shape.owner)), lane.shape

    def __iter__(self) -> Iterator[tuple[Shape, JobId]]:
        while self._worth or self._shows_idle():
            if self._shows_idle():
                best, shape = heapq.heappop(self._idle)
                yield shape, best[2][1]
                continue
            best, shape = self._worth[0]
            yield shape, best[2][1]
            self._go_on(shape)
            if self._fewer:
                self._give_up()

    def _shows_idle(self) -> bool:
        """Whether the next to have its turn is one that is blocked already."""
        if self._worth:
            self._settle(self._worth)
        if not (self.protecting and self._idle and (self._worth or self._taken)):
            return False
        self._settle(self._idle)
        return not self._worth or self._idle[0] < self._worth[0]

    def _settle(self, heap: "list[_Entry]") -> None:
        """Bring the best to the front, should its owner have come to use more since."""
        while heap[0] < (now := self._entry(self._lanes[heap[0][1]])):
            heapq.heapreplace(heap, now)

    def _go_on(self, shape: Shape) -> None:
        """The next of the lane that just had its turn has its own, unless it is blocked or empty."""
        lane = self._lanes.get(shape)
        if lane is None or lane.blocked is not None:
            heapq.heappop(self._worth)
        else:
            heapq.heapreplace(self._worth, self._entry(lane))

    def gpus_taken(self) -> None:
        """Fewer GPUs are left than when the last turn was given."""
        self._fewer = self._taken = True

    def _give_up(self) -> None:
        """Lanes for which too few GPUs are left now get no turn."""
        self._fewer = False
        worth = []
        for entry in self._worth:
            if self._hopeless(entry[1]):
                self._lanes[entry[1]].blocked = ReasonKind.GPU
                heapq.heappush(self._idle, entry)
            else:
                worth.append(entry)
        heapq.heapify(worth)
        self._worth = worth


_Entry = tuple[Rank, Shape]


def rank(key: QueueKey, usage: float) -> Rank:
    """Where a job with this key stands whose owner has used so much."""
    return key[0] // PRIORITY_WEIGHT, -1.0 if is_planned(key) else usage, key
