"""Fields of gflow's records, one at a time.

A missing field and null are the same and have a default. A value that gflow could not have written there raises `Odd`,
which names the record and the field.
"""

import uuid
from collections.abc import Mapping
from typing import Any, TypeVar

_T = TypeVar("_T")

MAX_U32 = 0xFFFFFFFF
MAX_U64 = 0xFFFFFFFFFFFFFFFF
_END_OF_TIME = 253_402_300_799  # the last second of the year 9999; later ones no calendar here can show
_NANOS_PER_SEC = 1_000_000_000


class Odd(Exception):
    """Something no gflow has written; the message says where it is and what is wrong with it."""


class Record:
    """A map of gflow's; `what` is how messages name it."""

    def __init__(self, plain: object, what: str) -> None:
        if not isinstance(plain, dict):
            raise Odd(f"{what} is {shown(plain)} instead of a record")
        self._plain: Mapping[Any, Any] = plain
        self.what = what

    def get(self, name: str) -> Any:
        """The value as it is, None if there is none."""
        return self._plain.get(name)

    def integer(self, name: str, most: int = MAX_U32) -> int | None:
        """A number from 0 to `most`."""
        value = self.get(name)
        return None if value is None else whole(value, f"{self.what}: {name}", most)

    def integers(self, name: str) -> tuple[int, ...] | None:
        """A list of 32-bit numbers."""
        value = self.get(name)
        return None if value is None else tuple(whole(v, f"{self.what}: {name}") for v in self._list(name, value))

    def number(self, name: str) -> float | None:
        """A finite number of 0 or more."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise Odd(f"{self.what}: {name} is {shown(value)}, not a number of 0 or more")
        return float(value)

    def text(self, name: str) -> str | None:
        """A string."""
        value = self.get(name)
        return None if value is None else string(value, f"{self.what}: {name}")

    def texts(self, name: str) -> list[str]:
        """A list of strings, empty if there is none."""
        return [string(value, f"{self.what}: {name}") for value in self._list(name, self.get(name) or [])]

    def table(self, name: str) -> Mapping[str, Any]:
        """A map with strings for keys, empty if there is none."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise Odd(f"{self.what}: {name} is {shown(value)} instead of a map")
        return {string(key, f"{self.what}: a key of {name}"): item for key, item in value.items()}

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise Odd(f"{self.what}: {name} is {shown(value)} instead of true or false")
        return default if value is None else value

    def word(self, name: str, words: Mapping[str, _T]) -> _T | None:
        """What one of `words` stands for."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or value not in words:
            raise Odd(f"{self.what}: {name} is {shown(value)}, not one of {', '.join(words)}")
        return words[value]

    def moment(self, name: str) -> float | None:
        """A SystemTime, in seconds since the epoch."""
        value = self.get(name)
        return None if value is None else instant(value, f"{self.what}: {name}")

    def duration(self, name: str) -> float | None:
        """A Duration, in seconds."""
        value = self.get(name)
        return None if value is None else _seconds(value, ("secs", "nanos"), f"{self.what}: {name}", MAX_U64)

    def identifier(self, name: str) -> str | None:
        """A UUID, which some versions write as text and some as its 16 bytes."""
        value = self.get(name)
        if isinstance(value, bytes) and len(value) == 16:
            return str(uuid.UUID(bytes=value))
        if isinstance(value, str):
            try:
                return str(uuid.UUID(value))
            except ValueError:
                pass
        if value is None:
            return None
        raise Odd(f"{self.what}: {name} is {shown(value)}, not a UUID")

    def _list(self, name: str, value: object) -> list[Any]:
        if not isinstance(value, list):
            raise Odd(f"{self.what}: {name} is {shown(value)} instead of a list")
        return value


def whole(value: object, what: str, most: int = MAX_U32) -> int:
    """A number from 0 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise Odd(f"{what} is {shown(value)}, not a whole number from 0 to {most}")
    return value


def string(value: object, what: str) -> str:
    """Text that can be written down again: Rust has no other strings, and no path has a NUL."""
    if not isinstance(value, str) or "\0" in value:
        raise Odd(f"{what} is {shown(value)} instead of text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Odd(f"{what} is {shown(value)}, which is no text") from None
    return value


def instant(value: object, what: str) -> float:
    """A SystemTime, in seconds since the epoch."""
    return _seconds(value, ("secs_since_epoch", "nanos_since_epoch"), what, _END_OF_TIME)


def _seconds(value: object, names: tuple[str, str], what: str, most: int) -> float:
    """Seconds and nanoseconds, by name, or as a pair where the record is positional."""
    if isinstance(value, dict) and set(value) == set(names):
        value = [value[name] for name in names]
    if not isinstance(value, list) or len(value) != 2:
        raise Odd(f"{what} is {shown(value)}, not a time")
    return whole(value[0], what, most) + whole(value[1], what, _NANOS_PER_SEC - 1) / _NANOS_PER_SEC


def shown(value: object) -> str:
    """A value in a message of one line."""
    try:
        text = ascii(value)
    except RecursionError:
        text = f"a {type(value).__name__} nested very deep"
    return text if len(text) <= 60 else f"{text[:57]}..."
