"""How far a job is, read from what it writes.

A job tells it in one of two ways:

- in the file named by GFLOW_PROGRESS_FILE: the last line that is not blank counts, `45`, `45.5%` or `450/1000`, with
  words behind it as it likes. What is in the file counts before everything else;
- on its terminal, within the last `TAIL_BYTES` of its log: by the sequence OSC 9;4 that terminals draw progress by
  (ESC ] 9 ; 4 ; STATE ; PERCENT, ended by BEL or ST), or by a bar as tqdm draws it, `45%|##  | 45/100 [00:10<00:12, …`.
  The last one of them counts.

What comes from the job is read without trust: never more than a few kB, and only from regular files.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from gflow.core.progress import Progress

TAIL_BYTES = 16 << 10
NEAR_CHARS = 1000
REPORT_BYTES = 512
NOTE_CHARS = 100

_REPORT = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)\s*(?:%|/\s*(\d{1,15}(?:\.\d{1,9})?))?(?:\s+(.*))?", re.ASCII)
_SIGN = re.compile(
    r"\x1b\]9;4;(?P<state>[0-4])(?:;(?P<value>\d{0,3}))?(?:\x07|\x1b\\)"
    r"|(?<!\d)(?P<percent>\d{1,3})%\|[^|\r\n]{0,500}\| *[^\s/]{1,30}/[^\s/]{1,30}"
    r" \[[\d:]{1,12}<(?P<left>[\d:?]{1,12})[,\]]",
    re.ASCII,
)
_STATES = {"1": "normal", "2": "error", "4": "paused"}
_MARKS = (b"%|", b"\x1b]9;4;")
"""Without one of these there is nothing to look for."""

_NONE = ("0", "3")
"""Taken back, and not known."""


Report = tuple[bytes, float]
"""The end of a file, and when it was written, in seconds since the epoch."""


def read_report(file: Path) -> Report | None:
    """What a job has written in its file, None if nothing. Blocks on the disk."""
    return _end_of(file, REPORT_BYTES)


def read_progress(log: Path, report: Report | None) -> Progress | None:
    """What the job with this log, and this report in its file, said last; None if nothing. Blocks on the disk."""
    progress = reported(*report) if report is not None else None
    if progress is not None:
        return progress
    tail = _end_of(log, TAIL_BYTES)
    return shown(*tail) if tail is not None else None


def reported(content: bytes, at: float) -> Progress | None:
    """What the end of a job's file says, which was written `at` (seconds since the epoch)."""
    lines = [line.strip() for line in content.decode("utf-8", "replace").splitlines()]
    match = _REPORT.fullmatch(next((line for line in reversed(lines) if line), ""))
    if match is None:
        return None
    done, total, words = float(match[1]), match[2], match[3]
    if total is not None and not float(total):
        return None
    percent = done if total is None else 100 * done / float(total)
    if percent > 100:
        return None  # `15/10`: who is beyond the end does not know where it is
    return Progress(percent, at, "file", note=_plain(words))


def shown(tail: bytes, at: float) -> Progress | None:
    """What the end of a log shows, which was written to `at` (seconds since the epoch)."""
    if not any(mark in tail for mark in _MARKS):
        return None
    text = tail.decode("utf-8", "replace")
    signs = list(_SIGN.finditer(text[-NEAR_CHARS:]))
    if not signs or _keeps_value(signs[-1]):  # what a bar redraws all the time need not all be read
        signs = list(_SIGN.finditer(text))
    if not signs or signs[-1]["state"] in _NONE:
        return None
    value = _value(signs)
    if value is None:
        return None
    left, state = signs[-1]["left"], _STATES.get(signs[-1]["state"], "normal")
    return Progress(min(100.0, float(value)), at, "terminal", _seconds(left) if left else None, state)


def _keeps_value(sign: re.Match[str]) -> bool:
    """Whether it is an error or a pause that leaves the percentage where it was."""
    return sign["percent"] is None and not sign["value"] and sign["state"] not in _NONE


def _value(signs: Sequence[re.Match[str]]) -> str | None:
    """The last percentage, unless it was taken back since."""
    for sign in reversed(signs):
        if sign["state"] in _NONE:
            return None
        if sign["percent"] or sign["value"]:
            return sign["percent"] or sign["value"]
    return None


def _seconds(text: str) -> float | None:
    """`01:02:03` or `02:03`; None of `?`."""
    parts = text.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total)


def _plain(words: str | None) -> str | None:
    """A note as one short line without what would steer a terminal."""
    text = "".join(char for char in words or "" if char.isprintable()).strip()
    return text[:NOTE_CHARS] or None


def _end_of(path: Path, most: int) -> Report | None:
    """The last bytes of a regular file, and when it was written; None if there is none, or it is something else."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        return os.pread(descriptor, most, max(0, status.st_size - most)), status.st_mtime
    except OSError:
        return None
    finally:
        os.close(descriptor)
