"""What the processes of a job take of the machine: CPU time and memory, as the kernel counts them.

What may make the reader wait for the process is read with `patience`: it is left out where it does not come.
"""

import contextlib
import os
import re
from collections.abc import Collection

import trio

from gflow.launch.base import Consumption
from gflow.launch.patience import Patience
from gflow.launch.processes import Process

COMMAND_BYTES = 4096

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PSS = re.compile(rb"^Pss:\s+(\d+) kB$", re.MULTILINE)


_COMMAND_SECS, _COMMANDS_TOGETHER = 1.0, 64
_PAGES_SECS = 5.0
"""To walk through all pages of a process takes up to a second for a hundred gigabytes."""


async def consumption_of(processes: Collection[Process], user: int | None, patience: Patience) -> list[Consumption]:
    """What each of the processes of this user takes, but those that are gone."""
    found = await trio.to_thread.run_sync(_consumptions, processes)
    commands = await patience.each(_COMMAND_SECS, user, found, _command, _COMMANDS_TOGETHER)
    return [one._replace(command=commands.get(process) or one.command) for process, one in found.items()]


async def memory_over(
    processes: Collection[Process], limit_bytes: int, user: int | None, patience: Patience
) -> int | None:
    """What the processes have in memory together, in bytes, if it is more than the limit; else None.

    The resident pages of each are cheap to know, but what processes share is counted in each. Only where that sum is
    too much, shared pages are counted by their share (PSS), which has the kernel walk through all pages of a process.
    What may not be looked at so closely, as programs with more rights, or does not let itself be looked at in time,
    counts with its resident pages.
    """
    resident = await trio.to_thread.run_sync(_all_resident, processes)
    if sum(resident.values()) <= limit_bytes:
        return None
    shares = await patience.each(_PAGES_SECS, user, resident, _proportional_bytes, 1)
    used = sum(_least(shares.get(process), most) for process, most in resident.items())
    return used if used > limit_bytes else None


def _least(share: int | None, resident: int) -> int:
    """Never more than what is resident: the process may have become another one meanwhile."""
    return resident if share is None else min(share, resident)


def _all_resident(processes: Collection[Process]) -> dict[Process, int]:
    return {process: _resident_bytes(process) for process in processes}


def _consumptions(processes: Collection[Process]) -> dict[Process, Consumption]:
    return {process: found for process in processes if (found := _consumption(process)) is not None}


def _resident_bytes(process: Process) -> int:
    with contextlib.suppress(OSError, ValueError):
        text = _content(process.pid, "stat", COMMAND_BYTES)
        fields = text[text.rindex(b")") + 2 :].split()
        if int(fields[19]) == process.start_ticks:
            return int(fields[21]) * _PAGE_BYTES
    return 0


def _proportional_bytes(process: Process) -> int | None:
    with contextlib.suppress(OSError):
        found = _PSS.search(_content(process.pid, "smaps_rollup", COMMAND_BYTES))
        return int(found[1]) << 10 if found else None
    return None


def _command(process: Process) -> str:
    """Its command line, empty if it has none or is gone."""
    with contextlib.suppress(OSError):
        words = _content(process.pid, "cmdline", COMMAND_BYTES).rstrip(b"\0").split(b"\0")
        return b" ".join(words).decode("utf-8", "replace")
    return ""


def _consumption(process: Process) -> Consumption | None:
    """With its name for a command."""
    try:
        text = _content(process.pid, "stat", COMMAND_BYTES)
        fields = text[text.rindex(b")") + 2 :].split()
    except (OSError, ValueError):
        return None
    if int(fields[19]) != process.start_ticks:
        return None
    name = text[text.index(b"(") + 1 : text.rindex(b")")]
    return Consumption(
        pid=process.pid,
        parent=int(fields[1]),
        command=f"[{name.decode('utf-8', 'replace')}]",
        state=fields[0].decode(),
        cpu_secs=(int(fields[11]) + int(fields[12])) / _TICKS_PER_SEC,
        memory_bytes=int(fields[21]) * _PAGE_BYTES,
        threads=int(fields[17]),
        started_boot=process.start_boot,
    )


def _content(pid: int, name: str, most: int) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read(most)
