"""How many may be in at once: in all, and of one party, so that nobody keeps others out.

Some places are for administrators only, and strangers together have no more than half: their parties are only
addresses, and one of them may have many. This counts: nothing waits here, or knows what for.
"""

from collections import Counter
from collections.abc import Hashable


class Places:
    """`total` places, and for one party that is no administrator `each` of them or a quarter, if that is less.

    Administrators have `kept` for themselves, or a quarter.
    """

    def __init__(self, total: int, each: int, kept: int) -> None:
        self.total = total
        self.each = min(each, total // 4)
        self.kept = min(kept, total // 4)
        self.inside = 0
        self._strangers = 0
        self._of: Counter[Hashable] = Counter()

    def has_room(self, party: Hashable, *, admin: bool, stranger: bool = False) -> bool:
        """Whether one more of this party may come in."""
        if admin:
            return self.inside < self.total
        if stranger and self._strangers >= self.total // 2:
            return False
        return self.inside < self.total - self.kept and self._of[party] < self.each

    def enter(self, party: Hashable, *, stranger: bool = False) -> None:
        """Take a place."""
        self.inside += 1
        self._strangers += stranger
        self._of[party] += 1

    def leave(self, party: Hashable, *, stranger: bool = False) -> None:
        """Give it back."""
        self.inside -= 1
        self._strangers -= stranger
        self._of[party] -= 1
        if not self._of[party]:
            del self._of[party]
