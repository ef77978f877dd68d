"""Whether jobs of a user could be run, looked up when he submits one; the answer counts for a while."""

import math

import trio

from gflow.core.errors import Impossible
from gflow.users.accounts import NoAccount, account_of, check_login

FRESH_SECS = 30.0
_MOST = 1000
_AT_ONCE = 8
"""Threads that may be looking. A home on a server that is down holds one of them, and no other work."""


class Submitters:
    """The users of this machine."""

    def __init__(self) -> None:
        self._fit: dict[tuple[int, str], float] = {}
        self._asking: dict[int, trio.Lock] = {}
        self._threads = trio.CapacityLimiter(_AT_ONCE)

    async def check(self, uid: int, name: str) -> None:
        """Raise Impossible for a user without an account, a shell or a home."""
        if self._is_fit(uid, name):
            return
        async with self._asking.setdefault(uid, trio.Lock()):
            if not self._is_fit(uid, name):
                await self._look(uid, name)

    def _is_fit(self, uid: int, name: str) -> bool:
        return self._fit.get((uid, name), -math.inf) > trio.current_time() - FRESH_SECS

    async def _look(self, uid: int, name: str) -> None:
        try:
            await trio.to_thread.run_sync(_check, uid, name, limiter=self._threads)
        except NoAccount as error:
            raise Impossible(str(error)) from error
        if len(self._fit) >= _MOST:
            self._fit.clear()
        self._fit[uid, name] = trio.current_time()


def _check(uid: int, name: str) -> None:
    check_login(account_of(uid, name))
