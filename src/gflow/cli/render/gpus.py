"""GPUs as the rows of a table: in groups of like use, or each by itself. Pure.

Columns that would say nothing anywhere are left out.
"""

from __future__ import annotations

from gflow.cli.render.table import harmless
from gflow.cli.render.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Record = dict[str, Any]
    Column = tuple[str, Callable[[list[Record]], str]]

_HEADER = ("PARTITION", "GPUS", "NODES", "STATE", "JOB(REASON)")
_HEADER_EACH = ("PARTITION", "GPU", "NAME", "STATE", "JOB(REASON)")


def grouped(gpus: list[Record]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row for the idle GPUs, then one per set of holders or reason, by lowest index."""
    found: dict[tuple[str, ...], list[Record]] = {}
    for gpu in _by_index(gpus):
        found.setdefault((_partition(gpu), *_use(gpu), _reserved([gpu])), []).append(gpu)
    groups = sorted(found.items(), key=lambda item: item[0][1] != "idle")
    more = _more_columns(gpus, memory="used_mb")
    rows = [
        [partition, str(len(group)), ",".join(str(gpu["index"]) for gpu in group), state, text, *_cells(more, group)]
        for (partition, state, text, _), group in groups
    ]
    return [*_HEADER, *(name for name, _ in more)], rows


def each(gpus: list[Record]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row per GPU, with what its holders have of it."""
    more = _more_columns(gpus, memory="memory_mb")
    rows = [
        [_partition(gpu), str(gpu["index"]), harmless(gpu.get("name") or "-"), *_use(gpu, _share), *_cells(more, [gpu])]
        for gpu in _by_index(gpus)
    ]
    return [*_HEADER_EACH, *(name for name, _ in more)], rows


def _by_index(gpus: list[Record]) -> list[Record]:
    return sorted(gpus, key=lambda gpu: int(gpu["index"]))


def _partition(gpu: Record) -> str:
    return "gpu (simulated)" if gpu.get("simulated") else "gpu"


def _no_share(_job: Record) -> str:
    return ""


def _use(gpu: Record, share: Callable[[Record], str] = _no_share) -> tuple[str, str]:
    """STATE and JOB(REASON) of one GPU."""
    holders, reason = gpu.get("jobs") or (), gpu.get("reason") or ""
    is_only_reserved = reason.startswith("reserved(")
    if holders:
        jobs = ", ".join(f"{job['id']} ({job.get('name') or '?'}){share(job)}" for job in holders)
        return "allocated", harmless(jobs if not reason or is_only_reserved else f"{jobs} ({reason})")
    if gpu["available"]:
        return "idle", harmless(f"({reason})" if reason else "")
    if is_only_reserved:
        return "reserved", "(Reserved)"
    return "unavailable", harmless(f"({reason or 'unknown'})")


def _share(job: Record) -> str:
    """What a job has of a device, as far as it is known: measured, else declared."""
    found = job.get("used_mb") if job.get("used_mb") is not None else job.get("share_mb")
    return "" if found is None else f" {size(found)}"


def _more_columns(gpus: list[Record], memory: str) -> list[Column]:
    """The further columns that have something to show; MEMORY where a GPU has the field named `memory`."""
    columns: list[tuple[str, str, Callable[[list[Record]], str]]] = [
        ("MEMORY", memory, _memory),
        ("UTIL", "utilisation_pct", _utilisation),
        ("RESERVED", "reserved", _reserved),
    ]
    return [(name, cell) for name, field, cell in columns if any(gpu.get(field) is not None for gpu in gpus)]


def _cells(columns: list[Column], group: list[Record]) -> list[str]:
    return [cell(group) for _, cell in columns]


def _memory(group: list[Record]) -> str:
    """`used/total` over all of them."""
    used, total = _known(group, "used_mb"), _known(group, "memory_mb")
    parts = [size(sum(sizes)) if len(sizes) == len(group) else "-" for sizes in (used, total)]
    return "/".join(parts) if parts != ["-", "-"] else "-"


def _utilisation(group: list[Record]) -> str:
    """The mean of those that tell."""
    told = _known(group, "utilisation_pct")
    return f"{sum(told) / len(told):.0f}%" if told else "-"


def _reserved(group: list[Record]) -> str:
    """Whose they are, and until when; within a group that is the same."""
    reserved = group[0].get("reserved")
    return harmless(f"{reserved['user']} until {stamp(reserved['until'])}") if reserved else "-"


def _known(group: Iterable[Record], field: str) -> list[int]:
    return [gpu[field] for gpu in group if gpu.get(field) is not None]


def size(size_mb: int) -> str:
    """`11.2G`, `640M`."""
    return f"{size_mb / 1024:.1f}G" if size_mb >= 1024 else f"{size_mb}M"
