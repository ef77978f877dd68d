"""The private server: clean, found again, replaced when lost, gone when not needed; and plain words if it cannot be."""

import os
import signal
from pathlib import Path

import pytest
import trio

from gflow.launch import tmux_server
from gflow.launch.processes import read_stat
from gflow.launch.tmux_server import TmuxServer, TmuxUnusable, clean_environment
from support.tmux_server import Machine, running, until


def server_pid(machine: Machine) -> int:
    pid = machine.tmux._server.pid
    assert pid is not None
    return pid


async def start(server: TmuxServer) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        nursery.cancel_scope.cancel()


async def refusal(server: TmuxServer) -> str:
    with pytest.RaisesGroup(TmuxUnusable, flatten_subgroups=True, allow_unwrapped=True) as raised:
        await start(server)
    error = raised.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def test_it_knows_nothing_of_its_surroundings(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    home = machine.root / "home"
    home.mkdir()
    (home / ".tmux.conf").write_text("set-option -g history-limit 7\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("TMUX", "/nowhere,1,0")
    machine.tmux = machine.launcher()
    async with running(machine):
        pid = server_pid(machine)
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        assert sorted(entry.split(b"=")[0] for entry in environ if entry) == [b"HOME", b"LC_ALL", b"PATH"]
        assert os.readlink(f"/proc/{pid}/cwd") == str(machine.data / "logs")
        stat = read_stat(pid)
        assert stat is not None
        assert stat.session == pid
        assert machine.ask("show-options", "-gv", "history-limit") == "2000"
        assert machine.tmux._server.socket_path.stat().st_mode & 0o077 == 0
        assert machine.runtime.stat().st_mode & 0o777 == 0o700


async def test_orphans_of_jobs_become_its_children(tmux: Machine) -> None:
    orphan_is_there = "until [ -s orphan ]; do sleep 0.01; done"  # else the end of the terminal may be sooner
    job = tmux.job(f"(setsid sh -c 'echo $$ >orphan; exec sleep 600' </dev/null >/dev/null 2>&1 &); {orphan_is_there}")
    await tmux.end_of(job)
    orphan = int((tmux.work / "orphan").read_text())
    stat = read_stat(orphan)
    assert stat is not None
    assert stat.parent == server_pid(tmux)
    os.kill(orphan, signal.SIGKILL)
    await until(lambda: read_stat(orphan) is None, "it is reaped")


async def test_it_outlives_the_daemon_and_is_found_again(machine: Machine) -> None:
    async with running(machine):
        first = server_pid(machine)
    machine.tmux = machine.launcher()
    async with running(machine):
        assert server_pid(machine) == first


async def test_its_loss_is_noticed_and_mended(tmux: Machine) -> None:
    for _ in range(2):
        lost = server_pid(tmux)
        os.kill(lost, signal.SIGKILL)
        await until(lambda lost=lost: tmux.tmux._server.pid not in (None, lost), "another server")
        assert (await tmux.end_of(tmux.job("exit 5"))).code == 5


async def test_a_client_never_starts_a_server(machine: Machine) -> None:
    machine.runtime.mkdir(mode=0o700)
    answer = machine.tmux._server.call("new-session", "-d", "-s", "x")
    assert answer.server_lost
    assert not machine.tmux._server.socket_path.exists()


async def test_a_stale_socket_is_no_obstacle(machine: Machine) -> None:
    async with running(machine):
        os.kill(server_pid(machine), signal.SIGKILL)
    assert machine.tmux._server.socket_path.exists()
    machine.tmux = machine.launcher()
    async with running(machine):
        assert (await machine.end_of(machine.job("exit 4"))).code == 4


async def test_at_the_end_it_leaves_unless_a_job_needs_it(machine: Machine) -> None:
    async with running(machine):
        pid = server_pid(machine)
        await machine.tmux.close()
    assert read_stat(pid) is None

    machine.tmux = machine.launcher()
    async with running(machine):
        pid = server_pid(machine)
        job = machine.job("read -r line <>gate; exit 6")
        os.mkfifo(machine.work / "gate")
        await machine.tmux.launch(job)
        await machine.tmux.close()
        assert read_stat(pid) is not None
    (machine.work / "gate").write_text("go\n")
    await until(lambda: (stat := read_stat(pid)) is None or stat.gone, "it leaves after the last job")
    assert (await machine.launcher().wait(job)).code == 6


async def test_a_returning_daemon_keeps_a_server_that_was_about_to_leave(machine: Machine) -> None:
    async with running(machine):
        pid = server_pid(machine)
        job = machine.job("sleep 600")
        await machine.tmux.launch(job)
        await machine.tmux.close()
    machine.tmux = machine.launcher()
    async with running(machine):
        await machine.tmux.send_signal(job, signal.SIGKILL)
        await machine.tmux.wait(job)
        await until(lambda: not machine.sessions(), "the end of the session")
        assert (await machine.end_of(machine.job("exit 3"))).code == 3
        assert server_pid(machine) == pid


async def test_a_missing_tmux_is_said_plainly(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.work))
    assert "tmux is not installed" in await refusal(machine.launcher()._server)


async def test_a_tmux_that_does_not_run_is_said_plainly(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tmux_server, "_VERSION_SECS", 0.2)
    monkeypatch.setenv("PATH", f"{machine.work}:{os.environ['PATH']}")
    program = machine.work / "tmux"
    for script, said in (
        ("echo 'error while loading libevent' >&2; exit 127", "does not run: error while loading libevent"),
        ("exit 1", "does not run: exit code 1"),
        ("echo garbage", "is not tmux: 'tmux -V' says 'garbage'"),
        ("exec sleep 30", "no answer"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
        assert said in await refusal(machine.launcher()._server)


@pytest.mark.parametrize("version", ["tmux 3.1c", "tmux 2.9", "tmux 1.8"])
async def test_an_old_tmux_is_said_plainly(machine: Machine, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    old = machine.work / "tmux"
    old.write_text(f"#!/bin/sh\necho {version}\n")
    old.chmod(0o700)
    monkeypatch.setenv("PATH", f"{machine.work}:{os.environ['PATH']}")
    text = await refusal(machine.launcher()._server)
    assert version in text
    assert "3.2" in text


async def test_a_server_that_does_not_start_says_why(machine: Machine) -> None:
    machine.runtime.mkdir(mode=0o700)
    machine.tmux._server.socket_path.mkdir()
    assert str(machine.tmux._server.socket_path) in await refusal(machine.tmux._server)


async def test_a_socket_path_linux_cannot_take_is_said_plainly(tmp_path: Path) -> None:
    text = await refusal(TmuxServer(tmp_path / ("x" * 100) / "t.sock", tmp_path))
    assert "107" in text


async def test_a_socket_others_could_replace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    assert "0700" in await refusal(TmuxServer(tmp_path / "run" / "t.sock", tmp_path))


def test_a_clean_environment_is_complete_from_nothing() -> None:
    assert clean_environment({}) == {"PATH": os.defpath, "HOME": "/", "LC_ALL": "C.UTF-8"}
