"""Bars of text. Pure."""

from __future__ import annotations


def bar(share: float, columns: int, *, symbols: bool) -> str:
    """A bar of so many columns of which `share` (0 to 1) is filled; full or empty only if it is all or nothing."""
    filled = round(min(1.0, max(0.0, share)) * columns)
    if 0 < share < 1:
        filled = min(max(filled, 1), columns - 1)
    full, empty = ("█", "░") if symbols else ("#", ".")
    return full * filled + empty * (columns - filled)


def strip(share: float, columns: int) -> str:
    """The filled part of such a bar alone, to the eighth of a column."""
    eighths = round(min(1.0, max(0.0, share)) * columns * 8)
    if share > 0:
        eighths = max(1, eighths)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
