"""How many lines requests get that came to nothing: whoever may send some could fill the log with them.

Strangers have few, counted by address; those whom the kernel or a token names have more, counted by name.
"""

from collections import Counter
from collections.abc import Iterator

MINUTE_SECS = 60.0
OF_ONE, OF_ALL = 20, 200
"""Lines a minute about one address, and about all of them: one machine may have many."""

OF_A_USER, OF_USERS = 200, 2000
"""The same about those who are known."""

MOST_COUNTED = 20
"""Parties of which it is said how many more there were; those behind are counted together."""

OTHERS = "others"


class Refusals:
    """Counts lines by party, a minute at a time. Times are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._told: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        self._more: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}

    def tells(self, party: str, *, known: bool = False) -> bool:
        """Whether one more of this address, or user, gets a line; it is counted either way."""
        told, more = self._told[known], self._more[known]
        of_one, of_all = (OF_A_USER, OF_USERS) if known else (OF_ONE, OF_ALL)
        if told[party] < of_one and told.total() < of_all:
            told[party] += 1
            return True
        more[party if party in more or len(more) < MOST_COUNTED else OTHERS] += 1
        return False

    def counted(self, now: float) -> Iterator[tuple[bool, str, int]]:
        """When the minute is over: whether they are known, parties, and how many more. To be asked before `tells`."""
        if now - self._since < MINUTE_SECS:
            return
        self._since = now
        for known, told in self._told.items():
            told.clear()
            more, self._more[known] = self._more[known], Counter()
            for party, count in more.items():
                yield known, party, count
