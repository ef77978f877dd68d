"""What a process takes, as the kernel counts it."""

import os
import subprocess
import sys

from gflow.launch.consumption import consumption_of
from gflow.launch.processes import Process, read_stat


def test_this_process_takes_time_and_memory() -> None:
    stat = read_stat(os.getpid())
    assert stat is not None
    held = bytearray(32 << 20)
    (found,) = consumption_of([stat.process])
    assert (found.pid, found.parent) == (os.getpid(), os.getppid())
    assert found.memory_bytes > len(held)
    assert 0 < found.cpu_secs <= sum(os.times()[:2]) + 0.1
    assert found.threads >= 1
    assert "pytest" in found.command or sys.executable in found.command
    assert found.started_boot == stat.process.start_boot


def test_what_is_gone_or_another_by_now_is_left_out() -> None:
    with subprocess.Popen(["true"]) as child:
        pid = child.pid
    stat = read_stat(os.getpid())
    assert stat is not None
    assert consumption_of([Process(pid, 1), Process(os.getpid(), stat.process.start_ticks + 1)]) == []


def test_a_process_without_a_command_line_has_its_name_in_brackets() -> None:
    with subprocess.Popen([sys.executable, "-c", "import os; os._exit(0)"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        stat = read_stat(child.pid)
        assert stat is not None
        (found,) = consumption_of([stat.process])
    assert (found.state, found.memory_bytes) == ("Z", 0)
    assert found.command.startswith("[")
