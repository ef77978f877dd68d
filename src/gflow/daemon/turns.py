"""Whose turn it is at a target: users take turns, so that one user's flood of events delays nobody else's.

Each delivery is given a place when it comes, the next after that of its user's last one, or after the present one if
that is later; they are made in the order of places, and of one place in that of events. So those of one user stay in
order, and where there is but one user it is the order of events. What is nobody's is as of one more user.
"""

from collections.abc import Mapping

_MANY = 1000
"""Users whose places are remembered before those are looked at that have none any more."""


class Turns:
    """Places, and how much waits of whom. Users are names, "" is nobody."""

    def __init__(self) -> None:
        self._now = 0
        self._last: dict[str, int] = {}
        self._waiting: dict[str, int] = {}

    def place(self, user: str) -> int:
        """Of the next delivery of this user."""
        self._last[user] = place = max(self._now, self._last.get(user, 0)) + 1
        if len(self._last) > _MANY:
            self._last = {user: last for user, last in self._last.items() if last > self._now}
        return place

    def reached(self, place: int) -> None:
        """A delivery of this place is made."""
        self._now = max(self._now, place)

    def came(self, user: str) -> None:
        """One more waits."""
        self._waiting[user] = self._waiting.get(user, 0) + 1

    def left(self, user: str) -> None:
        """One does not wait any more."""
        left = self._waiting.pop(user, 0) - 1
        if left > 0:
            self._waiting[user] = left

    def found(self, shares: Mapping[str, tuple[int, int]]) -> None:
        """So many wait of each user, up to this place."""
        for user, (count, last) in shares.items():
            self._waiting[user] = self._waiting.get(user, 0) + count
            self._last[user] = max(last, self._last.get(user, 0))

    def forget(self, user: str) -> None:
        """Nothing waits of this user."""
        self._waiting.pop(user, None)

    def most(self) -> str:
        """Of whom most waits."""
        return max(self._waiting, key=self._waiting.__getitem__, default="")
