"""What a look at one file comes to: in words for a person, and as data."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """The one word on a file.

    torn: an unfinished write at its end. absent: it is not there, and need not be. missing: it, or something in it,
    ought to be there. foreign: another program's. newer: of a later format. pending: what is in it is still to be
    taken over. older: than what else there is to see.
    """

    OK = "ok"
    ABSENT = "absent"
    TORN = "torn"
    DAMAGED = "damaged"
    MISSING = "missing"
    FOREIGN = "foreign"
    NEWER = "newer"
    UNREADABLE = "unreadable"
    PENDING = "pending"
    OLDER = "older"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, at which byte if that can be said, and what to do about it."""

    verdict: Verdict
    what: str
    advice: str
    offset: int | None = None

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"verdict": self.verdict.value, "offset": self.offset, "what": self.what, "advice": self.advice}


@dataclass(slots=True)
class Finding:
    """One file, or a directory, or what several of them hold together.

    - says: what is in it. notes: what is worth knowing though nothing is wrong with it.
    """

    name: str
    says: str = ""
    absent: bool = False
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def well(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def verdict(self) -> Verdict:
        """The word for the first problem, or that there is none."""
        if self.problems:
            return self.problems[0].verdict
        return Verdict.ABSENT if self.absent else Verdict.OK

    def add(self, verdict: Verdict, what: str, advice: str, offset: int | None = None) -> None:
        """One more problem."""
        self.problems.append(Problem(verdict, what, advice, offset))

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "says": self.says,
            "problems": [problem.as_data() for problem in self.problems],
            "notes": self.notes,
        }


def amount(count: int, thing: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
