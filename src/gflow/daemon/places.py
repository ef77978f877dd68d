"""How many may be in at once: in all, and of one party, so that nobody keeps others out.

Some places are for administrators only. This counts: nothing waits here, or knows what for.
"""

from collections import Counter
from collections.abc import Hashable


class Places:
    """`total` places, `kept` of them for administrators, and `each` for one party that is none."""

    def __init__(self, total: int, each: int, kept: int) -> None:
        self.total = total
        self.each = each
        self.kept = kept
        self.inside = 0
        self._of: Counter[Hashable] = Counter()

    def has_room(self, party: Hashable, *, admin: bool) -> bool:
        """Whether one more of this party may come in."""
        if admin:
            return self.inside < self.total
        return self.inside < self.total - self.kept and self._of[party] < self.each

    def enter(self, party: Hashable) -> None:
        """Take a place."""
        self.inside += 1
        self._of[party] += 1

    def leave(self, party: Hashable) -> None:
        """Give it back."""
        self.inside -= 1
        self._of[party] -= 1
        if not self._of[party]:
            del self._of[party]
