"""What fits: rows of the queue, GPUs and help on lines of a given width. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gflow.cli.live.picture import ASKED
from gflow.cli.render.gpus import size
from gflow.cli.render.table import harmless
from gflow.cli.render.table import width as columns_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gflow.cli.live.picture import Row

_ALWAYS = ("JOBID", "NAME", "ST", "TIME")
_BY_VALUE = ("NODELIST(REASON)", "REMAINING", "USER", "PROGRESS", "PROJECT", "PRIORITY")
"""Further columns, what is wanted most first."""

_TITLES = {"NODELIST(REASON)": "GPUS(REASON)"}
_LEAST_NAME = 10
_MOST_NAME = 40
_GAP = 2
_BAR = 10

KEYS = (
    ("q", "quit"),
    ("?", "keys"),
    ("c", "cancel"),
    ("a", "attach"),
    ("h", "hold"),
    ("r", "release"),
    ("/", "filter"),
    ("l", "log"),
    ("m", "mine"),
    ("e", "ended"),
)
"""Keys and what they do, what must be known first first."""


def columns(rows: Sequence[Row], width: int) -> list[tuple[str, int]]:
    """The columns that fit into `width`, in the order of `ASKED`, and how wide each is."""
    needed = {name: _needed(name, rows) for name in ASKED}
    chosen = {name: needed[name] for name in _ALWAYS}
    chosen["NAME"] = min(needed["NAME"], _LEAST_NAME)
    for name in _BY_VALUE:
        if name in needed and _says_something(name, rows) and _sum(chosen) + _GAP + needed[name] <= width:
            chosen[name] = needed[name]
    spare = width - _sum(chosen)
    chosen["NAME"] = max(1, min(needed["NAME"], _MOST_NAME, chosen["NAME"] + spare))
    return [(name, chosen[name]) for name in ASKED if name in chosen]


def _sum(chosen: dict[str, int]) -> int:
    """With a blank in front."""
    return 1 + sum(chosen.values()) + _GAP * (len(chosen) - 1)


def _needed(name: str, rows: Sequence[Row]) -> int:
    return max([len(_TITLES.get(name, name)), *(columns_of(row.cells[name]) for row in rows)])


def _says_something(name: str, rows: Sequence[Row]) -> bool:
    """Columns that are empty, or say the same of everybody, are no loss."""
    if name in ("PROGRESS", "PROJECT"):
        return any(row.cells[name] != "-" for row in rows)
    return name != "PRIORITY" or len({row.cells[name] for row in rows}) > 1


def header(shown: Sequence[tuple[str, int]]) -> str:
    return _line([_TITLES.get(name, name) for name, _ in shown], shown)


def line(row: Row, shown: Sequence[tuple[str, int]]) -> str:
    return _line([harmless(row.cells[name]) for name, _ in shown], shown)


def _line(cells: Sequence[str], shown: Sequence[tuple[str, int]]) -> str:
    return " " + (" " * _GAP).join(fit(cell, wide) for cell, (_, wide) in zip(cells, shown, strict=True))


def fit(text: str, width: int) -> str:
    """`text` cut, or filled with blanks, to exactly `width` columns."""
    if columns_of(text) > width:
        while text and columns_of(text) > width - 1:
            text = text[:-1]
        text = f"{text}…" if width > 0 else ""
    return text + " " * (width - columns_of(text))


def gpu_lines(gpus: Sequence[dict[str, Any]], width: int, most: int) -> list[str]:
    """The GPUs by index, two on a line where that fits, on at most so many lines; the last says what is missing."""
    across = 2 if width >= 78 and len(gpus) > 2 else 1
    cells = [gpu_cell(gpu, width // across - 1) for gpu in gpus]
    high = -(-len(cells) // across)
    if high > most:
        high = most
        left = len(cells) - (high * across - 1)
        cells = [*cells[: high * across - 1], f" … {left} more"]
    parts = [[cells[at] for at in range(low, len(cells), high)] for low in range(high)]
    return [" ".join(fit(cell, width // across - 1) for cell in part).rstrip() for part in parts]


def gpu_cell(gpu: dict[str, Any], width: int) -> str:
    """One GPU: its index, how busy it is and how full, and who has it or why nobody may."""
    busy, used, total = gpu.get("utilisation_pct"), gpu.get("used_mb"), gpu.get("memory_mb")
    parts = [f" {gpu['index']:>2}"]
    if busy is not None:
        filled = round(_BAR * busy / 100)
        parts.append(f"{'█' * filled}{'░' * (_BAR - filled)} {busy:>3}%" if width >= 36 else f"{busy:>3}%")
    if used is not None and total and width >= 36:
        parts.append(f"{size(used)}/{size(total)}")
    return fit(" ".join([*parts, _holders(gpu)]), width)


def _holders(gpu: dict[str, Any]) -> str:
    jobs = gpu.get("jobs") or ()
    if jobs:
        return harmless(", ".join(f"{job['id']} {job.get('name') or ''}".strip() for job in jobs))
    reason = gpu.get("reason")
    return "idle" if gpu.get("available") else harmless(f"({reason or 'unavailable'})")


def help_line(width: int) -> list[tuple[str, str]]:
    """The keys and words for which there is room, each with a blank in front, between, and behind."""
    shown: list[tuple[str, str]] = []
    for key, what in KEYS:
        if sum(len(k) + len(w) + 3 for k, w in [*shown, (key, what)]) <= width:
            shown.append((key, what))
    return shown
