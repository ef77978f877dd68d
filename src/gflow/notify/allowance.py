"""How many mails jobs may have sent to whom they name: any user's jobs may name anybody, and the mail server is the
administrator's, who would be the one that others shut out for it.

An hour begins with the first mail, for each user and for all together. It is counted in memory, so a new daemon, or new
targets, begin anew.
"""

import logging
import math
from dataclasses import dataclass

log = logging.getLogger(__name__)

OF_ONE = 200
"""Mails that the jobs of one user have sent within an hour, to addresses that these jobs name."""

OF_ALL = 2000
"""The same, of all users together."""

HOUR_SECS = 3600.0


@dataclass(slots=True)
class _Hour:
    """What was sent since `began`, and what was asked for and not sent."""

    began: float
    sent: int = 0
    withheld: int = 0


class Allowance:
    """What may still be sent, by user. Moments are seconds of any clock that only goes forward."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._all = _Hour(float("-inf"))
        self._users: dict[str, _Hour] = {}

    def take(self, user: str, now: float) -> bool:
        """Whether one more mail may be sent for a job of this user, which is counted. The first refusal is logged."""
        self._forget(now)
        his = self._users.setdefault(user, _Hour(now))
        if his.sent < OF_ONE and self._all.sent < OF_ALL:
            his.sent += 1
            self._all.sent += 1
            return True
        self._say(user, his, now)
        his.withheld += 1
        return False

    def withheld(self, now: float) -> dict[str, int]:
        """Mails that were not sent in the present hour of each user, of those who have such."""
        self._forget(now)
        return {user: hour.withheld for user, hour in self._users.items() if hour.withheld}

    def _forget(self, now: float) -> None:
        """Users are in the order in which their hours began."""
        while self._users and now - next(iter(self._users.values())).began >= HOUR_SECS:
            del self._users[next(iter(self._users))]
        if now - self._all.began >= HOUR_SECS:
            self._all = _Hour(now)

    def _say(self, user: str, his: _Hour, now: float) -> None:
        if his.withheld:
            return
        whose, hour = (f"the jobs of {user}", his) if his.sent >= OF_ONE else ("the jobs of all users", self._all)
        minutes = math.ceil((hour.began + HOUR_SECS - now) / 60)
        what = "%s: %s have had %d mails sent within an hour to whom they name; those of %s get no more for %d minutes"
        log.warning(what, self._name, whose, hour.sent, user, minutes)
