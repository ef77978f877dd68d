"""How many refusals of nobody get a line: whoever reaches the port could fill the log with them.

Those whom the kernel or a token names answer for theirs, and every one of these has its line.
"""

from collections import Counter
from collections.abc import Iterator

MINUTE_SECS = 60.0
OF_ONE, OF_ALL = 20, 200
"""Lines a minute about one address, and about all of them: one machine may have many."""

MOST_COUNTED = 20
"""Addresses of which it is said how many more there were; those behind are counted together."""

OTHERS = "others"


class Refusals:
    """Counts refusals by address, a minute at a time. Times are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._since = float("-inf")
        self._told: Counter[str] = Counter()
        self._more: Counter[str] = Counter()

    def tells(self, address: str) -> bool:
        """Whether one more from this address gets a line; it is counted either way."""
        if self._told[address] < OF_ONE and self._told.total() < OF_ALL:
            self._told[address] += 1
            return True
        self._more[address if address in self._more or len(self._more) < MOST_COUNTED else OTHERS] += 1
        return False

    def counted(self, now: float) -> Iterator[tuple[str, int]]:
        """When the minute is over: addresses and how many more there were. To be asked before `tells`."""
        if now - self._since < MINUTE_SECS:
            return
        self._since = now
        self._told.clear()
        more, self._more = self._more, Counter()
        yield from more.items()
