"""How much may be under way at once: requests that take long or much, and streams.

What takes much is made one step at a time in any case, so a few at once are enough; more of them wait for their turn, a
while. Streams stay as long as their client likes, so more of them are refused. Who is over his bound keeps nobody else
waiting, and administrators have places of their own.
"""

from collections import Counter
from collections.abc import Callable, Hashable

import trio

from gflow.api.callers import Caller
from gflow.api.users import NO_USER
from gflow.core.errors import TooMany
from gflow.daemon.places import Places

HEAVY = frozenset(
    "jobs.list_jobs queue.queue control.stats logs.content submissions.submit_batch ending.cancel_many redo.redo"
    " state.prune state.compact metrics.metrics watching.terminals watching.processes".split()
)
"""The endpoints that take much."""

STREAMS = frozenset("events.events jobs.wait logs.stream".split())
"""The endpoints whose answers take as long as their client stays."""

HEAVY_AT_ONCE, HEAVY_OF_ONE, HEAVY_KEPT = 32, 8, 8
STREAMS_AT_ONCE, STREAMS_OF_ONE, STREAMS_KEPT = 2048, 512, 64
LARGE_BYTES = 64 << 10
"""A body from which on a request counts as one that takes much, whatever it asks for."""

PATIENCE_SECS, WAITING_OF_ONE = 10.0, 64
"""How long a request waits for its turn, and how many of one user's do; what they bring is in memory meanwhile."""

Leave = Callable[[], None]


class Crowd:
    """Who is asking for what takes much, and who follows streams."""

    def __init__(self) -> None:
        self._heavy = Places(HEAVY_AT_ONCE, HEAVY_OF_ONE, HEAVY_KEPT)
        self._streams = Places(STREAMS_AT_ONCE, STREAMS_OF_ONE, STREAMS_KEPT)
        self._waiting: Counter[Hashable] = Counter()
        self._left = trio.Event()

    async def enter(self, endpoint: str, caller: Caller, body_bytes: int = 0) -> Leave | None:
        """Take a place for a request, if it needs one; what gives it back. Raises TooMany.

        body_bytes: how long its body is said to be.
        """
        if endpoint in STREAMS:
            return self._follow(caller)
        if endpoint in HEAVY or body_bytes > LARGE_BYTES:
            return await self._take_turn(caller)
        return None

    def _follow(self, caller: Caller) -> Leave:
        who, admin = _party(caller), caller.admin
        if not self._streams.has_room(who, admin=admin):
            raise TooMany(f"You follow {STREAMS_OF_ONE} streams, or all together {STREAMS_AT_ONCE}; end some first")
        self._streams.enter(who)
        return lambda: self._streams.leave(who)

    async def _take_turn(self, caller: Caller) -> Leave:
        who, admin = _party(caller), caller.admin
        if not self._heavy.has_room(who, admin=admin) and self._waiting[who] < WAITING_OF_ONE:
            await self._wait(who, admin=admin)
        if not self._heavy.has_room(who, admin=admin):
            raise TooMany(f"{HEAVY_OF_ONE} large requests of yours, or {HEAVY_AT_ONCE} in all, are under way; wait")
        self._heavy.enter(who)
        return lambda: self._give_back(who)

    async def _wait(self, who: Hashable, *, admin: bool) -> None:
        self._waiting[who] += 1
        try:
            with trio.move_on_after(PATIENCE_SECS):
                while not self._heavy.has_room(who, admin=admin):
                    await self._left.wait()
        finally:
            self._waiting[who] -= 1
            if not self._waiting[who]:
                del self._waiting[who]

    def _give_back(self, who: Hashable) -> None:
        self._heavy.leave(who)
        self._left.set()
        self._left = trio.Event()


def _party(who: Caller) -> Hashable:
    """Whose requests count together: those of one user. Where nobody knows who calls, all are one."""
    return "unknown" if who.anonymous else who.name if who.uid == NO_USER else who.uid
