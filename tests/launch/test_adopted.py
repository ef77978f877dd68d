"""Jobs an older gflow has started: found, watched to their end, stopped; and nothing else in their sessions touched."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from gflow.core import stops
from gflow.core.model import Exit, Job, StopCause
from gflow.launch.adopted import (
    IDLE_SECS,
    SESSION_GONE,
    UNREPORTED,
    Adopted,
    is_adopted,
    run_id_in,
    session_of,
    user_sessions,
)
from gflow.launch.base import LaunchFailed, Trace
from gflow.launch.routing import Launchers
from support.fake_launcher import FakeLauncher
from support.older_session import OlderSessions, children, fake_gcancel, wait_busy
from support.scratch import end_processes_of, lives
from support.tmux_server import clock, make_job
from support.wait import until


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OlderSessions]:
    """A tmux server that stands for the user's, where gcancel writes down what it was told."""
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    path = fake_gcancel(tmp_path / "bin", ["sh", "-c", 'echo "$@" >>"$0"', str(tmp_path / "told")])
    made = OlderSessions(tmp_path, {**os.environ, "PATH": path, "HOME": str(tmp_path)})
    yield made
    made.close()
    end_processes_of(str(tmp_path))


@pytest.fixture
def adopted(tmp_path: Path) -> Adopted:
    return Adopted(tmp_path, clock)


def adopt(name: str, started_at: float, **fields: object) -> Job:
    """The job in a session, as an import makes it."""
    run_id = run_id_in(user_sessions(), name, started_at)
    assert run_id is not None
    return replace(make_job(7, **fields), run_id=run_id)


def stopping(job: Job, cause: StopCause) -> Job:
    return replace(job, stop=stops.begin(cause, clock().boot, 10.0))


@asynccontextmanager
async def watched(adopted: Adopted, job: Job) -> AsyncIterator[list[Exit]]:
    """Watch a job; its end is in the list at the end of the block."""
    ends: list[Exit] = []

    async def wait() -> None:
        ends.append(await adopted.wait(job))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            yield ends


def told(tmp_path: Path) -> str:
    path = tmp_path / "told"
    return path.read_text() if path.exists() else ""


def test_a_session_is_known_by_its_exact_name_and_by_when_it_was_made(sessions: OlderSessions):
    assert user_sessions() == {}
    started = sessions.start("gjob-10", 10, "sleep 600")
    found = user_sessions()
    assert list(found) == ["gjob-10"]
    assert run_id_in(found, "gjob-1", started) is None
    assert run_id_in(found, "gjob-10", started + 3600) is None
    run_id = run_id_in(found, "gjob-10", started)
    assert run_id is not None
    assert run_id.startswith(f"gflow:{sessions.shell('gjob-10')}.")
    job = replace(make_job(), run_id=run_id)
    assert is_adopted(job)
    assert session_of(job) == "gjob-10"
    assert not is_adopted(make_job())
    assert session_of(make_job()) is None


def test_names_are_compared_as_tmux_keeps_them(sessions: OlderSessions):
    started = sessions.start("lr0.1:a", 1, "sleep 600")
    assert run_id_in(user_sessions(), "lr0.1:a", started) is not None


def test_the_first_process_of_a_session_is_the_job_s(sessions: OlderSessions):
    started = sessions.start("gjob-1", 1, "sleep 600")
    shell = sessions.shell("gjob-1")
    sessions.tmux("split-window", "-b", "-t", "=gjob-1:")
    assert str(run_id_in(user_sessions(), "gjob-1", started)).startswith(f"gflow:{shell}.")


def test_without_tmux_there_are_no_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert user_sessions() == {}


@pytest.mark.parametrize("bare", [False, True], ids=["in a shell of its own", "typed as it is"])
@pytest.mark.parametrize("code", [0, 3])
async def test_a_job_that_reports_its_end_is_over_with_it(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path, code: int, *, bare: bool
):
    os.mkfifo(tmp_path / "gate")
    started = sessions.start("gjob-7", 7, f"(read line <{tmp_path}/gate; exit {code})", bare=bare)
    wait_busy(sessions, "gjob-7")
    job = adopt("gjob-7", started)
    cause = StopCause.FAIL if code else StopCause.FINISH
    async with watched(adopted, job) as ends:
        await trio.to_thread.run_sync((tmp_path / "gate").write_text, "go\n")
        await trio.to_thread.run_sync(lambda: until(lambda: told(tmp_path), "the report"))
        await adopted.interrupt(stopping(job, cause))
    assert told(tmp_path) == f"--{cause.value} 7\n"
    assert (ends[0].code, ends[0].text) == (None if code else 0, None)
    assert "gjob-7" in sessions.names()


async def test_a_job_that_ends_without_a_word_is_over_after_some_seconds(sessions: OlderSessions, adopted: Adopted):
    started = sessions.start("gjob-7", 7, "exec sleep 0.2", bare=True)  # the shell itself is gone then
    gone = adopt("gjob-7", started)
    quiet = sessions.start("gjob-8", 8, "true; exit 0")
    wordless = replace(adopt("gjob-8", quiet))
    before = clock()
    assert (await adopted.wait(gone)).text == SESSION_GONE
    end = await adopted.wait(wordless)
    assert (end.code, end.text) == (None, UNREPORTED)
    assert clock().boot - before.boot >= IDLE_SECS - 0.5
    assert end.at <= clock().wall - IDLE_SECS + 0.5


async def test_a_closed_session_is_the_end_and_what_outlives_it_is_left_over(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    started = sessions.start("gjob-7", 7, f"trap '' HUP; touch {tmp_path}/ready; sleep 600 & wait; sleep 600")
    until((tmp_path / "ready").exists, "the job")
    job = adopt("gjob-7", started)
    assert await adopted.survivors(job)
    async with watched(adopted, job) as ends:
        sessions.tmux("kill-session", "-t", "=gjob-7")
    assert ends[0].text == SESSION_GONE
    assert await adopted.trace(job) is Trace.ENDED
    assert adopted.started(job) is None
    assert await adopted.survivors(job)
    assert await adopted.send_signal(job, signal.SIGKILL) >= 2
    with trio.fail_after(20):
        await adopted.wait_gone(job)
    assert not await adopted.survivors(job)


async def test_a_cancelled_job_gets_a_ctrl_c_at_its_terminal(sessions: OlderSessions, adopted: Adopted, tmp_path: Path):
    started = sessions.start("gjob-7", 7, "sleep 600")
    wait_busy(sessions, "gjob-7")
    job = adopt("gjob-7", started)
    async with watched(adopted, job) as ends:
        await adopted.interrupt(stopping(job, StopCause.CANCEL))
    assert (ends[0].code, ends[0].text) == (None, None)
    assert not await adopted.survivors(job)
    assert told(tmp_path) == ""
    assert children(sessions.shell("gjob-7")) == []


async def test_without_its_tmux_server_a_job_is_interrupted_by_a_signal(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    started = sessions.start("gjob-7", 7, "sleep 600")
    wait_busy(sessions, "gjob-7")
    job = adopt("gjob-7", started)
    next(tmp_path.glob("tmux-*/default")).unlink()
    async with watched(adopted, job) as ends:
        await adopted.interrupt(stopping(job, StopCause.TIMEOUT))
    assert ends[0].text is None


async def test_a_stubborn_job_is_killed_with_all_its_processes_and_nobody_else(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    stray = f"setsid sh -c 'trap \"\" INT TERM; sleep 600' & echo $! >{tmp_path}/stray; "
    started = sessions.start("gjob-7", 7, f"trap '' INT TERM; {stray} sleep 600; sleep 600")
    until(lambda: (tmp_path / "stray").exists() and (tmp_path / "stray").read_text(), "the job")
    sessions.start("gjob-70", 70, "sleep 600")
    wait_busy(sessions, "gjob-70")
    job = adopt("gjob-7", started)
    shell, bystander = sessions.shell("gjob-7"), children(sessions.shell("gjob-70"))
    async with watched(adopted, job) as ends:
        await adopted.interrupt(stopping(job, StopCause.CANCEL))
        await adopted.send_signal(job, signal.SIGTERM)
        await trio.sleep(0)
        assert await adopted.survivors(job)
        await adopted.send_signal(job, signal.SIGKILL)
        await adopted.wait_gone(job)
    assert ends[0].text is None
    assert not lives(int((tmp_path / "stray").read_text()))
    assert lives(shell)
    assert all(map(lives, bystander))


async def test_a_job_somebody_has_stopped_with_ctrl_z_is_not_over(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    started = sessions.start("gjob-7", 7, "sleep 600")
    wait_busy(sessions, "gjob-7")
    job = adopt("gjob-7", started)
    sessions.tmux("send-keys", "-t", "=gjob-7:", "C-z")
    with trio.move_on_after(IDLE_SECS + 1):
        await adopted.wait(job)
        pytest.fail("a stopped job was taken for ended")
    async with watched(adopted, job) as ends:
        await adopted.interrupt(stopping(job, StopCause.CANCEL))
        assert await adopted.send_signal(job, signal.SIGTERM) > 0
    assert ends[0].text is None


async def test_what_the_shell_keeps_in_the_background_is_left_alone(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    started = sessions.start("gjob-7", 7, "sleep 0.1")
    until(lambda: told(tmp_path), "the end")
    sessions.type("gjob-7", f"sleep 600 & echo $! >{tmp_path}/mine")
    mine = int(until(lambda: (tmp_path / "mine").exists() and (tmp_path / "mine").read_text(), "the other process"))
    job = adopt("gjob-7", started)
    with trio.fail_after(20):
        assert (await adopted.wait(job)).text == UNREPORTED
    assert not await adopted.survivors(job)
    assert lives(mine)


async def test_a_restart_of_the_daemon_changes_nothing(sessions: OlderSessions, adopted: Adopted, tmp_path: Path):
    started = sessions.start("gjob-7", 7, "sleep 600")
    wait_busy(sessions, "gjob-7")
    until(lambda: [child for pid in children(sessions.shell("gjob-7")) for child in children(pid)], "its sleep")
    job = adopt("gjob-7", started)
    assert await adopted.trace(job) is Trace.ALIVE
    start = adopted.started(job)
    assert start is not None
    assert abs(start.at - started) < 5
    assert abs(start.boot - (clock().boot - (clock().wall - start.at))) < 1
    another = Adopted(tmp_path, clock)
    assert await another.trace(job) is Trace.ALIVE
    async with watched(another, stopping(job, StopCause.CANCEL)) as ends:
        assert await another.send_signal(job, signal.SIGKILL) == 2
    assert ends[0].text is None


@pytest.mark.parametrize(
    ("auto_close", "cause", "stays"),
    [(True, StopCause.FINISH, False), (True, StopCause.FAIL, True), (False, StopCause.FINISH, True)],
)
async def test_the_log_stops_with_the_job_and_the_session_closes_if_it_is_to(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path, cause: StopCause, *, auto_close: bool, stays: bool
):
    log = tmp_path / "logs/7.log"
    started = sessions.start("gjob-7", 7, "echo hel''lo", log)
    until(lambda: log.exists() and b"hello" in log.read_bytes(), "the output")
    until(lambda: told(tmp_path), "the end")
    job = adopt("gjob-7", started, auto_close=auto_close)
    await adopted.interrupt(stopping(job, cause))
    await adopted.wait(job)
    await adopted.discard(job)
    assert ("gjob-7" in sessions.names()) == stays
    if stays:
        assert sessions.tmux("display-message", "-p", "-t", "=gjob-7:", "#{pane_pipe}") == "0"


async def test_the_terminal_is_the_session_s(sessions: OlderSessions, adopted: Adopted, tmp_path: Path):
    started = sessions.start("gjob-7", 7, "sleep 600")
    job = adopt("gjob-7", started)
    argv = adopted.attach_argv(job, read_only=True)
    assert argv is not None
    assert (argv[:2], argv[3:5], argv[-1]) == (["tmux", "-S"], ["attach-session", "-t"], "-r")
    assert Path(argv[2]) == next(tmp_path.glob("tmux-*/default"))
    assert sessions.tmux("-S", argv[2], "display-message", "-p", "-t", argv[5], "#{session_name}") == "gjob-7"
    sessions.close()
    until(lambda: adopted.attach_argv(job) is None, "the end of the terminal")


async def test_nothing_is_ever_launched(adopted: Adopted):
    with pytest.raises(LaunchFailed, match="Job 7 was started by an older gflow"):
        await adopted.launch(replace(make_job(7), run_id="gflow:1.1:x"))
    with pytest.raises(ValueError, match="was not started by an older gflow"):
        await adopted.wait(make_job(7))


async def test_whose_a_process_is_is_known_while_its_job_is_followed(
    sessions: OlderSessions, adopted: Adopted, tmp_path: Path
):
    stray = f"setsid sleep 600 & echo $! >{tmp_path}/stray; "
    started = sessions.start("gjob-7", 7, f"{stray} sleep 600")
    until(lambda: (tmp_path / "stray").exists() and (tmp_path / "stray").read_text(), "the job")
    job = adopt("gjob-7", started)
    shell = sessions.shell("gjob-7")
    own = [*children(shell), int((tmp_path / "stray").read_text())]
    nobody = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    asked = [*own, shell, os.getpid(), nobody]
    before = await adopted.owners(asked)
    assert {pid: owner.run_id for pid, owner in before.items()} == dict.fromkeys([*own, shell, os.getpid()])
    assert await adopted.trace(job) is Trace.ALIVE
    owners = await adopted.owners(asked)
    assert {pid: owner.run_id for pid, owner in owners.items()} == {
        **dict.fromkeys(own, job.run_id),
        shell: None,
        os.getpid(): None,
    }
    assert all(owners[pid].start_ticks == before[pid].start_ticks > 0 for pid in owners)
    assert await adopted.owners([]) == {}


async def test_what_our_own_launcher_does_not_know_may_be_an_adopted_job_s():
    own, other = FakeLauncher(clock), FakeLauncher(clock)
    launchers = Launchers(own, other)
    ours, theirs = make_job(1), replace(make_job(2), run_id="gflow:1.1:x")
    for job in (ours, theirs):
        await launchers.launch(job)
    for pid, whose, theirs_too in ((10, 1, None), (20, None, 2), (30, None, None)):
        own.enter(pid, whose)
        other.enter(pid, theirs_too)
    other.enter(40, 2)
    owners = await launchers.owners([10, 20, 30, 40, 50])
    assert {pid: owner.run_id for pid, owner in owners.items()} == {
        10: ours.run_id,
        20: theirs.run_id,
        30: None,
        40: theirs.run_id,
    }


async def test_each_job_goes_to_the_launcher_that_has_it():
    own, other = FakeLauncher(clock), FakeLauncher(clock)
    launchers = Launchers(own, other)
    ours, theirs = make_job(1), replace(make_job(2), run_id="gflow:1.1:x")
    swept: list[list[Job]] = []

    async def sweep(jobs: list[Job]) -> None:
        swept.append(jobs)

    own.sweep = other.sweep = sweep  # type: ignore[method-assign]
    await launchers.sweep(iter([ours, theirs]))
    assert swept == [[ours], [theirs]]
    for job in (ours, theirs):
        await launchers.launch(job)
        await launchers.interrupt(job)
        await launchers.send_signal(job, signal.SIGKILL)
        assert not await launchers.survivors(job)
        await launchers.wait_gone(job)
        assert (await launchers.wait(job)).code is not None
        assert await launchers.trace(job) is Trace.ENDED
        assert launchers.started(job) is not None
        launchers.attach_argv(job)
        await launchers.discard(job)
    await launchers.close()
    assert {call[1:2] for call in own.calls} == {(1,), ()}
    assert {call[1:2] for call in other.calls} == {(2,), ()}
