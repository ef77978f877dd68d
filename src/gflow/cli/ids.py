"""Job ids as people write them: `7`, `1,3-5`, `@` (the caller's latest job), `@~1` (the one before).

What is read is a list of parts - inclusive ranges and shorthands - because only the daemon knows what `@` is.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.client.http import Client

    Part = tuple[int, int] | str

_MAX_DIGITS = 10
MAX_JOBS_AT_ONCE = 100_000


def parse(text: str) -> list[Part]:
    """The parts of a comma list, in order. Raises ValueError naming the item that is wrong."""
    parts = [_part(item.strip(), text) for item in text.split(",")]
    if sum(part[1] - part[0] + 1 for part in parts if isinstance(part, tuple)) > MAX_JOBS_AT_ONCE:
        raise ValueError(f"'{text}' names more than {MAX_JOBS_AT_ONCE} jobs")
    return parts


def parse_one(text: str) -> Part:
    """A single id or shorthand. Raises ValueError."""
    part = _part(text.strip(), text)
    if isinstance(part, tuple) and part[0] != part[1]:
        raise ValueError(f"'{text}' is a range; one job id, @ or @~N is needed")
    return part


def _part(item: str, text: str) -> Part:
    if item == "@" or (item.startswith("@~") and _is_number(item[2:])):
        return item
    low, dash, high = item.partition("-")
    if not dash:
        high = low
    if not _is_number(low) or not _is_number(high) or not 0 < int(low) <= int(high):
        raise ValueError(f"Invalid job ID or range: '{item or text}' (write ids like 7, 1,3-5, @ or @~1)")
    return int(low), int(high)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def resolve(parts: list[Part], client: Client) -> list[tuple[int, int]]:
    """`parts` with every shorthand replaced by the job it stands for."""
    return [part if isinstance(part, tuple) else _found(part, client) for part in parts]


def _found(shorthand: str, client: Client) -> tuple[int, int]:
    job_id = client.resolve(shorthand)
    return job_id, job_id


def expand(parts: list[Part], client: Client) -> list[int]:
    """The ids in the order of the parts, each once."""
    return list(dict.fromkeys(job_id for low, high in resolve(parts, client) for job_id in range(low, high + 1)))


def show(ranges: list[tuple[int, int]]) -> str:
    """Ranges as they are written."""
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def compact(ids: list[int]) -> list[tuple[int, int]]:
    """Ascending ids as ranges."""
    ranges: list[tuple[int, int]] = []
    for job_id in ids:
        if ranges and job_id == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], job_id)
        else:
            ranges.append((job_id, job_id))
    return ranges
