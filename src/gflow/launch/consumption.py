"""What the processes of a job take of the machine: CPU time and memory, as the kernel counts them. Blocks on /proc."""

import contextlib
import os
import re
from collections.abc import Iterable

from gflow.launch.base import Consumption
from gflow.launch.processes import Process

COMMAND_BYTES = 4096

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


def consumption_of(processes: Iterable[Process]) -> list[Consumption]:
    """What each of the processes takes, but those that are gone."""
    return [found for process in processes if (found := _consumption(process)) is not None]


def memory_over(processes: Iterable[Process], limit_bytes: int) -> int | None:
    """What the processes have in memory together, in bytes, if it is more than the limit; else None.

    The resident pages of each are cheap to know, but what processes share is counted in each. Only where that sum is
    too much, shared pages are counted by their share (PSS), which has the kernel walk through all pages of a process.
    What may not be looked at so closely, as programs with more rights, counts with its resident pages.
    """
    resident = {process: _resident_bytes(process) for process in processes}
    if sum(resident.values()) <= limit_bytes:
        return None
    used = sum(_proportional_bytes(process, least) for process, least in resident.items())
    return used if used > limit_bytes else None


def _resident_bytes(process: Process) -> int:
    with contextlib.suppress(OSError, ValueError):
        text = _content(process.pid, "stat", COMMAND_BYTES)
        fields = text[text.rindex(b")") + 2 :].split()
        if int(fields[19]) == process.start_ticks:
            return int(fields[21]) * _PAGE_BYTES
    return 0


def _proportional_bytes(process: Process, resident: int) -> int:
    """Never more than what is resident: the process may have become another one meanwhile."""
    with contextlib.suppress(OSError):
        found = _PSS.search(_content(process.pid, "smaps_rollup", COMMAND_BYTES))
        if found:
            return min(resident, int(found[1]) << 10)
    return resident


def _consumption(process: Process) -> Consumption | None:
    try:
        text = _content(process.pid, "stat", COMMAND_BYTES)
        fields = text[text.rindex(b")") + 2 :].split()
        words = _content(process.pid, "cmdline", COMMAND_BYTES).rstrip(b"\0").split(b"\0")
    except (OSError, ValueError):
        return None
    if int(fields[19]) != process.start_ticks:
        return None
    name = text[text.index(b"(") + 1 : text.rindex(b")")]
    return Consumption(
        pid=process.pid,
        parent=int(fields[1]),
        command=(b" ".join(words) or b"[" + name + b"]").decode("utf-8", "replace"),
        state=fields[0].decode(),
        cpu_secs=(int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
        threads=int(fields[17]),
        started_boot=process.start_boot,
    )


def _content(pid: int, name: str, most: int) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read(most)
