"""Processes are found wherever they moved, never mistaken for others, and signalled only as themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from gflow.launch import processes
from gflow.launch.processes import Process, ProcessTable, is_alive, open_process, read_stat, run_id_of, send, wait_process
from support.tmux_server import until

CHAIN = """
import os, sys
for _ in range(int(sys.argv[1])):
    if os.fork():
        os._exit(0)
    os.setsid()
print(os.getpid(), flush=True)
os.execvpe("sleep", ["sleep", "600"], {"PATH": os.environ["PATH"]} if "clean" in sys.argv else os.environ)
"""


@contextmanager
def child(*argv: str, run_id: str | None = "r1", **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    env = {"PATH": os.environ["PATH"]} | ({"GFLOW_RUN_ID": run_id} if run_id else {})
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def process_of(pid: int) -> Process:
    stat = read_stat(pid)
    assert stat is not None
    return stat.process


def read_pid(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable()


async def test_processes_that_left_session_group_and_parent_are_found(table: ProcessTable) -> None:
    with child(sys.executable, "-c", CHAIN, "2") as process:
        pid = read_pid(process)
        assert await table.members("r1") == [process_of(pid)]
        assert await table.members("r2") == []
        assert await table.signal("r1", signal.SIGKILL) == 1
        await until(lambda: read_stat(pid) is None or not is_alive(Process(pid, 0)), "its end")
        assert await table.members("r1") == []


async def test_a_process_without_the_mark_is_found_by_its_session(table: ProcessTable) -> None:
    with child("sh", "-c", "sleep 600 & echo $!; wait", run_id=None) as wrapper:
        pid = read_pid(wrapper)
        table.register("r3", wrapper.pid)
        assert await table.members("r3") == [process_of(pid)]
        table.forget("r3")
        os.kill(pid, signal.SIGKILL)


async def test_a_descendant_without_mark_and_session_is_found_by_its_parent(table: ProcessTable) -> None:
    command = f"env -i setsid {sys.executable} -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)' & wait"
    with child("sh", "-c", command) as process:
        pid = read_pid(process)
        assert process_of(pid) in await table.members("r1")
        process.kill()
        process.wait()
        assert await table.members("r1") == [process_of(pid)], "once found it stays found"
        assert await table.signal("r1", signal.SIGKILL) == 1


async def test_the_wrapper_is_never_signalled(table: ProcessTable) -> None:
    with child("sh", "-c", "trap : TERM; sleep 600 & echo $!; wait; wait; echo done") as wrapper:
        read_pid(wrapper)
        table.register("r1", wrapper.pid)
        assert await table.signal("r1", signal.SIGTERM) == 1
        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == b"done\n"
        wrapper.wait()
        assert wrapper.returncode == 0


async def test_zombies_do_not_count(table: ProcessTable) -> None:
    with child("true") as process:
        await until(lambda: (stat := read_stat(process.pid)) and stat.state == "Z", "a zombie")
        assert await table.members("r1") == []
        assert not is_alive(process_of(process.pid))
        assert open_process(process_of(process.pid)) is None


async def test_a_stopped_process_can_be_terminated(table: ProcessTable) -> None:
    with child("sh", "-c", "trap 'echo bye; exit' TERM; echo $$; while :; do sleep 600 & wait; done") as process:
        pid = read_pid(process)
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: (stat := read_stat(pid)) and stat.state == "T", "a stop")
        assert await table.signal("r1", signal.SIGTERM) == 2
        assert process.stdout is not None
        assert process.stdout.readline() == b"bye\n"


async def test_children_born_while_their_parents_are_killed_do_not_escape(table: ProcessTable) -> None:
    breed = "import os, time\nwhile True:\n    if os.fork():\n        time.sleep(0.002)\n        os._exit(0)\n    os.setsid()\n"
    with child(sys.executable, "-c", breed) as process:
        process.wait()
        while await table.members("r1"):
            await table.signal("r1", signal.SIGKILL)
        assert await table.members("r1") == []


def test_a_process_that_took_over_an_id_is_not_signalled() -> None:
    with child("sleep", "600") as process:
        actual = process_of(process.pid)
        former = actual._replace(start_ticks=actual.start_ticks - 1)
        assert send(former, signal.SIGKILL) is False
        assert process.poll() is None
        assert send(actual, signal.SIGKILL) is True
        process.wait()
        assert send(actual, signal.SIGKILL) is False


async def test_waiting_ends_with_the_process() -> None:
    with child("sh", "-c", "read -r line", stdin=subprocess.PIPE) as process:
        target = process_of(process.pid)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_process, target)
                nursery.start_soon(wait_process, target)
                await trio.testing.wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 2
                assert process.stdin is not None
                process.stdin.close()
        process.wait()
        await wait_process(target)


async def test_asking_at_once_is_answered_at_once(table: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = 0
    scan = processes._scan

    def counted(*arguments: object) -> object:
        nonlocal scans
        scans += 1
        return scan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(processes, "_scan", counted)
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(table.members, f"r{number}")
    assert scans <= 2


async def test_a_process_is_looked_into_once(table: ProcessTable, monkeypatch: pytest.MonkeyPatch) -> None:
    with child("sleep", "600") as process:
        await table.members("r1")
        looked: list[int] = []
        monkeypatch.setattr(processes, "run_id_of", looked.append)
        assert [member.pid for member in await table.members("r1")] == [process.pid]
        assert process.pid not in looked


def test_names_with_spaces_and_brackets_are_read() -> None:
    with child("bash", "-c", "printf ') R 1 (x' >/proc/$$/comm; echo; read -r -t 600 <> <(:)", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat is not None
        assert (stat.parent, stat.session) == (os.getpid(), process.pid)
        assert run_id_of(process.pid) == "r1"
