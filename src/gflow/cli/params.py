"""`--param` as people write it.

lr=0.1,0.01        values, as they are
seed=1:10  1:10:3  numbers from the first to the last, in steps
url="a,b",'1:10'   quoted, what would be several values or a range otherwise; a quote is doubled within quotes
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

    Param = tuple[str, list[str]]
    Item = tuple[str, bool]

MAX_VALUES = 10_000
_NUMBER = r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?(1[0-5]|\d))?"


def parse(text: str) -> Param:
    """(name, values) of `name=v1,v2` or `name=start:stop[:step]`. Raises ValueError."""
    name, equals, listed = text.partition("=")
    if not equals:
        raise ValueError(f"'{text}' is not NAME=VALUES, e.g. lr=0.1,0.01 or seed=1:10")
    return check_name(name.strip()), _values(listed, text)


def check_name(name: str) -> str:
    """`name`, if a placeholder can be called so. Raises ValueError."""
    if not (name.isascii() and name.isidentifier()):
        raise ValueError(f"'{name}' is not the name of a parameter: use letters, digits and _")
    return name


def _values(listed: str, text: str) -> list[str]:
    items = _items(listed, text)
    if len(items) == 1 and not items[0][1] and (numbers := _range(items[0][0], text)) is not None:
        return numbers
    if ("", False) in items:
        raise ValueError(f"'{text}' has an empty value; write \"\" if one is meant")
    if len(items) > MAX_VALUES:
        raise ValueError(f"'{text[:40]}…' has {len(items)} values; {MAX_VALUES} are allowed")
    return [word for word, _ in items]


def _items(listed: str, text: str) -> list[Item]:
    """The items of a comma list, each with whether it was quoted."""
    items: list[Item] = []
    rest = f"{listed},"
    while rest:
        rest = rest.lstrip()
        if rest[0] in "\"'":
            word, rest = _quoted(rest, text)
            items.append((word, True))
        else:
            word, _, rest = rest.partition(",")
            items.append((word.strip(), False))
    return items


def _quoted(rest: str, text: str) -> tuple[str, str]:
    """The word in quotes at the beginning, and what comes after its comma."""
    mark, word, at = rest[0], "", 0
    while rest[at : at + 1] == mark:  # one that follows right on another stands for itself
        end = rest.find(mark, at + 1)
        if end < 0:
            raise ValueError(f"'{text}' has a quote {mark} that is not closed")
        word += (mark if at else "") + rest[at + 1 : end]
        at = end + 1
    behind, _, rest = rest[at:].partition(",")
    if behind.strip():
        raise ValueError(f"'{text}' has text right behind a quoted value; values are separated by commas")
    return word, rest


def _range(word: str, text: str) -> list[str] | None:
    """The numbers of `start:stop[:step]`, None if it is not written like one."""
    import re

    parts = word.split(":")
    if len(parts) not in (2, 3) or not all(re.fullmatch(_NUMBER, part, re.ASCII) for part in parts):
        return None
    from decimal import Decimal

    start, stop = Decimal(parts[0]), Decimal(parts[1])
    step = Decimal(parts[2]) if len(parts) == 3 else Decimal(1 if start <= stop else -1)
    places = max(0, *(-int(number.as_tuple().exponent) for number in (start, step)))
    return [f"{number:.{places}f}" for number in _counted(start, stop, step, text)]


def _counted(start: Decimal, stop: Decimal, step: Decimal, text: str) -> list[Decimal]:
    """All numbers of a range, its end included where a step hits it."""
    if step == 0:
        raise ValueError(f"'{text}' never ends: the step is 0")
    if (stop - start) * step < 0:
        raise ValueError(f"'{text}' is empty: the step leads away from its end")
    count = int((stop - start) / step) + 1
    if count > MAX_VALUES:
        raise ValueError(f"'{text}' has {count} values; {MAX_VALUES} are allowed")
    return [start + step * number for number in range(count)]
