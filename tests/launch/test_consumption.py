"""What a process takes, as the kernel counts it."""

import os
import subprocess
import sys

import pytest

from gflow.launch import consumption
from gflow.launch.consumption import consumption_of, memory_over
from gflow.launch.patience import Patience
from gflow.launch.processes import Process, all_processes, read_stat


async def test_this_process_takes_time_and_memory() -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    held = bytearray(32 << 20)
    (found,) = await consumption_of([stat.process], None, Patience())
    assert (found.pid, found.parent) == (os.getpid(), os.getppid())
    assert found.memory_bytes > len(held)
    assert 0 < found.cpu_secs <= sum(os.times()[:2]) + 0.1
    assert found.threads >= 1
    assert "pytest" in found.command or sys.executable in found.command
    assert found.started_boot == stat.process.start_boot


async def test_what_is_gone_or_another_by_now_is_left_out() -> None:
    with subprocess.Popen(["true"]) as child:
        pid = child.pid
    stat = read_stat(os.getpid())
    assert stat is not None
    gone, another = Process(pid, 1), Process(os.getpid(), stat.process.start_ticks + 1)
    assert await consumption_of([gone, another], None, Patience()) == []


async def test_a_process_without_a_command_line_has_its_name_in_brackets() -> None:
    with subprocess.Popen([sys.executable, "-c", "import os; os._exit(0)"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        stat = read_stat(child.pid)
        assert stat is not None
        (found,) = await consumption_of([stat.process], None, Patience())
    assert (found.state, found.memory_bytes) == ("Z", 0)
    assert found.command.startswith("[")


HOLD = "import sys, time; {}; print(flush=True); sys.stdin.read()"
FORKED = "held = b'x' * (60 << 20); import os; [os.fork() and None for _ in range(2)]"
SHARED = "import mmap, os; held = mmap.mmap(-1, 60 << 20); held.write(b'x' * (60 << 20)); os.fork(), os.fork(); held[:]"


def holding(what: str, processes: int) -> "tuple[subprocess.Popen[str], list[Process]]":
    """A program that holds 60 MiB, once each of its processes has said that it is there."""
    program = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(what)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert program.stdout is not None
    for _ in range(processes):
        assert program.stdout.readline() == "\n"
    found = [stat.process for stat in all_processes() if stat.session == program.pid]
    assert len(found) == processes
    return program, found


@pytest.mark.parametrize("what", [FORKED, SHARED], ids=["pages of a parent", "shared memory"])
async def test_what_processes_share_is_counted_once(what: str) -> None:
    program, found = holding(what, 4)
    with program:
        resident = sum(one.memory_bytes for one in await consumption_of(found, None, Patience()))
        assert resident > 220 << 20, "each of the four holds it"
        assert await memory_over(found, 180 << 20, None, Patience()) is None
        used = await memory_over(found, 50 << 20, None, Patience())
        assert used is not None
        assert 60 << 20 < used < 180 << 20


async def test_what_is_below_the_limit_is_not_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    monkeypatch.setattr(consumption, "_proportional_bytes", None)
    assert await memory_over([stat.process], 1 << 50, None, Patience()) is None
    assert await memory_over([Process(os.getpid(), 1)], 0, None, Patience()) is None, "another process by now"
