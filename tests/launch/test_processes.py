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
from gflow.launch.birthmark import mark_of, shell_line
from gflow.launch.processes import (
    Process,
    ProcessTable,
    birthmark_of,
    is_alive,
    name_of,
    open_process,
    read_stat,
    send,
    signal_all,
    wait_process,
)
from support.birthmark import marked
from support.tmux_server import until

ME = os.getuid()

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


FIRST_THREAD_ENDS = f"""
import ctypes
ctypes.CDLL(None).syscall({93 if os.uname().machine in ("aarch64", "riscv64") else 60}, 0)
"""


@contextmanager
def child(run_id: str | None, *argv: str, **options: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A program, born with the mark of a launch."""
    env = {"PATH": os.environ["PATH"]}
    with marked(run_id) if run_id else contextlib.nullcontext():
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, start_new_session=True, **options)  # type: ignore[call-overload]
    try:
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
def table(run_id: str) -> ProcessTable:
    made = ProcessTable()
    made.register(run_id, ME)
    return made


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
        table.register(run_id, ME, wrapper.pid)
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
            table.forget(run_id)
            assert process_of(pid) not in await table.members(run_id), "as long as the launch is not known"
            table.register(run_id, ME)
            assert process_of(pid) in await table.members(run_id)
            table.register("another", ME, 2**22 + 2)
            assert await table.members("another") == []
            assert (await table.owners([pid]))[pid].run_id == run_id
            send(process_of(pid), signal.SIGKILL)


async def test_the_wrapper_is_never_signalled(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "sh", "-c", "trap : TERM; sleep 600 & echo $!; wait; wait; echo done") as wrapper:
        pid = read_pid(wrapper)
        await until(lambda: name_of(pid) == "sleep", "a process that no longer traps as the shell does")
        table.register(run_id, ME, wrapper.pid)
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
        table.register(run_id, ME, wrapper.pid)
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


async def test_a_process_lives_as_long_as_any_of_its_threads(table: ProcessTable, run_id: str) -> None:
    with child(run_id, sys.executable, "-c", f"{THREAD}\n{FIRST_THREAD_ENDS}") as process:
        read_pid(process)
        await until(lambda: (stat := read_stat(process.pid)) and stat.state == "Z", "the end of the first thread")
        assert await table.members(run_id) == [process_of(process.pid)]
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) == 1
        await until_none(table, run_id)


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
    with child(run_id, "sleep", "600") as process, child("unknown", "sleep", "600") as stranger:
        await table.members(run_id)
        looked: list[tuple[int, str]] = []
        read = processes._read
        monkeypatch.setattr(processes, "_read", lambda pid, name: looked.append((pid, name)) or read(pid, name))
        assert [member.pid for member in await table.members(run_id)] == [process.pid]
        assert sorted(name for pid, name in looked if pid == process.pid) == ["stat", "status"], (
            "whether it still counts"
        )
        assert stranger.pid not in dict(looked)


async def test_nothing_is_read_that_a_process_can_keep_back(
    table: ProcessTable, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()

    def noted(path: str, *how: object, **more: object) -> object:
        opened.add(path)
        return open(path, *how, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(processes, "open", noted, raising=False)
    with child(run_id, "sleep", "600") as process:
        assert await table.owners([process.pid])
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) == 1
    assert {path.split("/")[3] for path in opened} == {"stat", "status", "limits"}


async def test_one_that_was_there_before_its_launch_was_known_is_found(table: ProcessTable, run_id: str) -> None:
    with child(None, "sh", "-c", "sleep 600 & echo $!; wait") as wrapper:
        pid = read_pid(wrapper)
        assert await table.members(run_id) == []
        table.register(run_id, ME, wrapper.pid)
        assert process_of(pid) in await table.members(run_id)
        assert {(await table.owners([one]))[one].run_id for one in (pid, wrapper.pid)} == {run_id}


async def test_a_session_that_was_left_counts_no_more(table: ProcessTable, run_id: str) -> None:
    """Its number may be another's by the time a launch is known."""
    leaving = "import os; print(os.getpid(), flush=True); input(); os.setsid(); print(flush=True); input()"
    with child(None, "sh", "-c", f"{sys.executable} -c '{leaving}'; true", stdin=subprocess.PIPE) as shell:
        pid = read_pid(shell)
        assert await table.members(run_id) == []
        assert shell.stdin is not None
        shell.stdin.write(b"\n")
        shell.stdin.flush()
        assert shell.stdout is not None
        shell.stdout.readline()
        table.register(run_id, ME, shell.pid)
        assert await table.members(run_id) == []
        send(process_of(pid), signal.SIGKILL)


async def test_what_is_gone_is_forgotten(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "sleep", "600") as process:
        await table.members(run_id)
        assert process.pid in table._known
    await table.members(run_id)
    assert process.pid not in table._known


@pytest.mark.skipif(ME != 0, reason="only root can be another user")
async def test_another_user_who_has_the_mark_is_nobody_s(table: ProcessTable, run_id: str) -> None:
    with child(run_id, "sleep", "600", user=4242) as liar:
        assert await table.members(run_id) == []
        assert (await table.owners([liar.pid]))[liar.pid].run_id is None
        assert await signal_all(partial(table.members, run_id), signal.SIGKILL) == 0
        table.register("lie", 4242)
        assert await table.members("lie") == []
    with child("lie", "sleep", "600", user=4242) as own:
        assert await table.members("lie") == [process_of(own.pid)]


@pytest.mark.skipif(ME != 0, reason="only root can become another user")
async def test_what_has_become_another_user_s_is_not_waited_for(run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program of another's with his rights can, that a job runs; there nobody but root may signal it."""
    monkeypatch.setattr(processes, "_may_be_signalled", lambda _: False)
    monkeypatch.setattr(processes, "_LOOK_AGAIN_SECS", 0.01)
    table = ProcessTable()
    table.register(run_id, 4242)
    become = "import os; os.setresuid(4242, 4242, 0); print(flush=True); input(); os.setresuid(0, 0, 0)"
    become += "; os.setresuid(4343, 4343, 4343); print(flush=True); input()"
    with child(run_id, sys.executable, "-c", become, stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        process.stdout.readline()
        assert await table.members(run_id) == [process_of(process.pid)]
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(processes.wait_all_gone, partial(table.members, run_id))
                await trio.testing.wait_all_tasks_blocked()
                process.stdin.write(b"\n")
                process.stdin.flush()
        assert is_alive(process_of(process.pid))
        assert (await table.owners([process.pid]))[process.pid].run_id is None


async def test_after_a_slow_scan_the_next_is_not_long_in_coming(
    table: ProcessTable, run_id: str, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the daemon was stopped (SIGSTOP) in the middle of one."""

    def slow(*arguments: object) -> object:
        autojump_clock.jump(100)
        return {}

    monkeypatch.setattr(processes, "_scan", slow)
    await table.members(run_id)
    began = trio.current_time()
    await table.members(run_id)
    assert trio.current_time() - began == pytest.approx(100 + processes._LONGEST_REST_SECS)


def test_names_with_spaces_and_brackets_are_read(run_id: str) -> None:
    with child(
        run_id, "bash", "-c", "printf ') R 1 (x' >/proc/$$/comm; echo; read -r -t 600 <> <(:)", stdin=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        stat = read_stat(process.pid)
        assert stat is not None
        assert (stat.parent, stat.session) == (os.getpid(), process.pid)
        assert birthmark_of(process.pid) == mark_of(run_id)
