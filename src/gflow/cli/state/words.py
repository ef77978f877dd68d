"""Numbers as a person reads them. Pure."""

from __future__ import annotations


def amount(count: int, thing: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def size(count: int) -> str:
    """Bytes: `811 bytes`, `12.3 kB`, `4.0 MB`."""
    if count < 1000:
        return amount(count, "byte")
    return f"{count / 1000:.1f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"
