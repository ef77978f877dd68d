"""What the processes of a job take of the machine: CPU time and memory, as the kernel counts them. Blocks on /proc."""

import os
from collections.abc import Iterable

from gflow.launch.base import Consumption
from gflow.launch.processes import Process

COMMAND_BYTES = 4096

_TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def consumption_of(processes: Iterable[Process]) -> list[Consumption]:
    """What each of the processes takes, but those that are gone."""
    return [found for process in processes if (found := _consumption(process)) is not None]


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
