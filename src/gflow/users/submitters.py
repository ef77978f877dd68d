"""Whether jobs of a user could be run, looked up when he submits one; the answer counts for a while."""

import math

import trio

from gflow.core.errors import Impossible
from gflow.users.accounts import NoAccount, account_of, check_login

FRESH_SECS = 30.0
_MOST = 1000


class Submitters:
    """The users of this machine."""

    def __init__(self) -> None:
        self._fit: dict[tuple[int, str], float] = {}

    async def check(self, uid: int, name: str) -> None:
        """Raise Impossible for a user without an account, a shell or a home."""
        now = trio.current_time()
        if self._fit.get((uid, name), -math.inf) > now - FRESH_SECS:
            return
        try:
            await trio.to_thread.run_sync(_check, uid, name)
        except NoAccount as error:
            raise Impossible(str(error)) from error
        if len(self._fit) >= _MOST:
            self._fit.clear()
        self._fit[uid, name] = now


def _check(uid: int, name: str) -> None:
    check_login(account_of(uid, name))
