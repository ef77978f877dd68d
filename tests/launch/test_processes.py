"""Processes are found wherever they moved, never mistaken for others, and signalled only as themselves."""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio
import trio.testing

from gflow.launch import processes
from gflow.launch.birthmark import shell_line
from gflow.launch.processes import (
    Process,
    ProcessTable,
    is_alive,
    name_of,
    open_process,
    read_stat,
    run_id_of,
    send,
    signal_all,
    wait_process,
)
from support.tmux_server import until
from support.wait import until as wait_until

CHAIN = """
import os, sys
for _ in range(int(sys.argv[1])):
    if os.fork():
        os._exit(0)
    os.setsid()
print(os.getpid(), flush=True)
os.execvpe("sleep", ["sleep", "600"], {"PATH": os.environ["PATH"]} if "clean" in sys.argv else os.environ)
"""


BREED = """
import os, time
print(flush=True)
while True:
    os.fork() or (os.setsid(), time.sleep(600))
    time.sleep(0.01)
"""


THREAD = """
import threading
threading.Thread(target=lambda: (print(threading.get_native_id(), flush=True), threading.Event().wait(600))).start()
"""


@contextmanager
def child(run_id: str | None, *argv: str, **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    env = {"PATH": os.environ["PATH"]} | ({"GFLOW_RUN_ID": run_id} if run_id else {})
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
        wait_until(lambda: processes._environ(process.pid) or not is_alive(process_of(process.pid)), "the program")
        yield process
    finally:
        process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what it has started keeps its output open
        process.communicate()


def process_stat(pid: int) -> processes.Stat:
    stat = read_stat(pid)
    assert stat is not None
    return stat


def process_of(pid: int) -> Process:
    return process_stat(pid).process


def read_pid(process: "subprocess.Popen[bytes]") -> int:
    assert process.stdout is not None
    return int(process.stdout.readline())


async def until_none(table: ProcessTable, run_id: str) -> None:
    with trio.fail_after(20):
        for process in await table.members(run_id):
            await wait_process(process)
    assert await table.members(run_id) == []


@pytest.fixture
def run_id() -> str:
    """A launch no other test knows."""
    return secrets.token_hex(8)


@pytest.fixture
def table() -> ProcessTable:
    return ProcessTable()


async def test_processes_that_left_session_group_and_parent_are_found(table: ProcessTable, run_id: str) -> None:
    with child(run_id, sys.executable, "-c", CHAIN, "2") as process:
        pid = read_pid(process)
        assert await table.members(run_id) == [process_of(pid)]
        assert await table.members("other") == []
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) == 1
        await until_none(table, run_id)


async def test_a_process_without_the_mark_is_found_by_its_session(table: ProcessTable, run_id: str) -> None:
    with child(None, "sh", "-c", "sleep 600 & echo $!; wait") as wrapper:
        pid = read_pid(wrapper)
        table.register(run_id, wrapper.pid)
        assert await table.members(run_id) == [process_of(pid)]
        table.forget(run_id)
        os.kill(pid, signal.SIGKILL)


async def test_a_descendant_without_mark_and_session_is_found_by_its_parent(table: ProcessTable, run_id: str) -> None:
    command = (
        f"env -i setsid {sys.executable} -c 'import os, time; print(os.getpid(), flush=True); time.sleep(600)' & wait"
    )
    with child(run_id, "sh", "-c", command) as process:
        pid = read_pid(process)
        assert process_of(pid) in await table.members(run_id)
        process.kill()
        process.wait()
        assert await table.members(run_id) == [process_of(pid)], "once found it stays found"
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) == 1


async def test_a_process_that_left_all_of_it_has_its_birthmark(table: ProcessTable, run_id: str) -> None:
    for shell in ("dash", "bash"):
        chain = f"{sys.executable} -c '{CHAIN}' 2 clean"
        with child(None, shell, "-c", f"{shell_line(run_id)}{chain}; exec sleep 600", stderr=subprocess.DEVNULL) as sh:
            pid = read_pid(sh)
            assert process_of(pid) not in await table.members(run_id), "as long as the launch is not known"
            table.register(run_id, 2**22 + 1)
            assert process_of(pid) in await table.members(run_id)
            table.register("another", 2**22 + 2)
            assert await table.members("another") == []
            assert (await table.owners([pid]))[pid].run_id == run_id
            send(process_of(pid), signal.SIGKILL)
            table.forget(run_id)


async def test_the_wrapper_is_never_signalled(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "sh", "-c", "trap : TERM; sleep 600 & echo $!; wait; wait; echo done") as wrapper:
        pid = read_pid(wrapper)
        await until(lambda: name_of(pid) == "sleep", "a process that no longer traps as the shell does")
        table.register(run_id, wrapper.pid)
        assert await signal_all(partial(table.members, run_id), signal.SIGTERM) == 1
        assert wrapper.stdout is not None
        assert wrapper.stdout.readline() == b"done\n"
        wrapper.wait()
        assert wrapper.returncode == 0


async def test_whose_many_processes_are_is_found_by_one_look(
    table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = 0
    scan = processes._scan

    def counted(*arguments: object) -> object:
        nonlocal scans
        scans += 1
        return scan(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(processes, "_scan", counted)
    with child(run_id, "sh", "-c", "sleep 600 & echo $!; wait") as wrapper:
        pid = read_pid(wrapper)
        table.register(run_id, wrapper.pid)
        assert await table.owners([]) == {}
        assert scans == 0
        owners = await table.owners([pid, wrapper.pid, os.getpid(), *range(-100, 0)])
        assert scans == 1
        os.kill(pid, signal.SIGKILL)
    assert {one: owner.run_id for one, owner in owners.items()} == {pid: run_id, wrapper.pid: run_id, os.getpid(): None}
    assert owners[os.getpid()].start_ticks == process_of(os.getpid()).start_ticks


async def test_a_thread_belongs_to_whom_its_process_does(table: ProcessTable, run_id: str) -> None:
    with child(run_id, sys.executable, "-c", THREAD) as process:
        thread = read_pid(process)
        assert thread != process.pid
        owners = await table.owners([thread])
        assert owners == {thread: (process_of(process.pid).start_ticks, run_id)}


async def test_a_process_that_ended_since_it_was_seen_is_known_until_it_is_reaped(
    table: ProcessTable, run_id: str
) -> None:
    with child(run_id, "sleep", "600") as process:
        before = await table.owners([process.pid])
        process.kill()
        await until(lambda: (stat := read_stat(process.pid)) and stat.state == "Z", "a zombie")
        assert await table.owners([process.pid]) == before
        process.wait()
        assert await table.owners([process.pid]) == {}
    assert before[process.pid].run_id == run_id


async def test_zombies_do_not_count(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "true") as process:
        await until(lambda: (stat := read_stat(process.pid)) and stat.state == "Z", "a zombie")
        assert await table.members(run_id) == []
        assert not is_alive(process_of(process.pid))
        assert open_process(process_of(process.pid)) is None


async def test_a_stopped_process_can_be_terminated(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "sh", "-c", "trap 'echo bye; exit' TERM; echo $$; sleep 600 & wait") as process:
        pid = read_pid(process)
        os.kill(pid, signal.SIGSTOP)
        await until(lambda: (stat := read_stat(pid)) and stat.state == "T", "a stop")
        assert await signal_all(partial(table.members, run_id), signal.SIGTERM) >= 1
        assert process.stdout is not None
        assert process.stdout.readline() == b"bye\n"


async def test_children_born_while_the_others_are_killed_do_not_escape(table: ProcessTable, run_id: str) -> None:
    with child(run_id, sys.executable, "-c", BREED) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not await table.members(run_id):
            pass
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) >= 1
        await until_none(table, run_id)


def test_a_process_that_took_over_an_id_is_not_signalled(run_id: str) -> None:
    with child(run_id, "sleep", "600") as process:
        actual = process_of(process.pid)
        former = actual._replace(start_ticks=actual.start_ticks - 1)
        assert send(former, signal.SIGKILL) is False
        assert process.poll() is None
        assert send(actual, signal.SIGKILL) is True
        process.wait()
        assert send(actual, signal.SIGKILL) is False


async def test_waiting_ends_with_the_process(run_id: str) -> None:
    with child(run_id, "sleep", "600") as process:
        target = process_of(process.pid)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_process, target)
                nursery.start_soon(wait_process, target)
                await trio.testing.wait_all_tasks_blocked()
                assert len(nursery.child_tasks) == 2
                process.kill()
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


async def test_a_process_is_looked_into_once(table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with child(run_id, "sleep", "600") as process:
        await table.members(run_id)
        looked: list[int] = []
        monkeypatch.setattr(processes, "_environ", looked.append)
        assert [member.pid for member in await table.members(run_id)] == [process.pid]
        assert process.pid not in looked


@pytest.mark.parametrize("looks", [1, 3])
async def test_a_process_in_the_middle_of_starting_a_program_is_waited_for(
    table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """The kernel takes the old environment away some time before it puts the new one there."""
    early = dict.fromkeys(map(str, range(looks)))
    monkeypatch.setattr(processes, "_STARTING_SECS", 60)  # on a busy machine a moment may be a long one
    with child(run_id, "sleep", "600") as process:
        real_stat, real_environ = processes.read_stat, processes._environ

        def stat_of(pid: int) -> processes.Stat | None:
            stat = real_stat(pid)
            return stat._replace(starting=bool(early)) if stat is not None and pid == process.pid else stat

        def environ(pid: int) -> bytes | None:
            return b"" if pid == process.pid and early and early.popitem() else real_environ(pid)

        monkeypatch.setattr(processes, "read_stat", stat_of)
        monkeypatch.setattr(processes, "_environ", environ)
        assert [member.pid for member in await table.members(run_id)] == [process.pid]


async def test_a_process_without_any_environment_is_looked_into_again(
    table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with child(run_id, "sleep", "600") as process:
        with monkeypatch.context() as early:
            early.setattr(processes, "_environ", lambda pid: b"")
            assert await table.members(run_id) == []
        assert await table.members(run_id) == [process_of(process.pid)]


def test_only_a_process_that_starts_a_program_has_no_end_of_an_environment() -> None:
    assert not process_stat(os.getpid()).starting
    with child(None, "sleep", "600") as process:
        assert not process_stat(process.pid).starting
    first_of_the_kernel = read_stat(2)
    if first_of_the_kernel is not None and first_of_the_kernel.parent == 0:
        assert not first_of_the_kernel.starting, "it never has one"


async def test_what_may_not_be_looked_at_is_not_tried_again_and_again(
    table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []
    with child(run_id, "sleep", "600") as process:
        monkeypatch.setattr(processes, "_environ", looked.append)
        for _ in range(2):
            assert await table.members(run_id) == []
        assert looked.count(process.pid) == 1


def test_names_with_spaces_and_brackets_are_read(run_id: str) -> None:
    with child(
        run_id, "bash", "-c", "printf ') R 1 (x' >/proc/$$/comm; echo; read -r -t 600 <> <(:)", stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat is not None
        assert (stat.parent, stat.session) == (os.getpid(), process.pid)
        assert run_id_of(process.pid) == run_id
