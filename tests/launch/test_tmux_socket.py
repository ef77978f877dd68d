"""Somebody removes the socket of a server that lives: it comes back, no job is lost, and nobody else is signalled."""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from gflow.core.model import Job
from gflow.launch.base import CannotLaunch, Trace
from gflow.launch.processes import Process, is_alive, read_stat
from gflow.launch.tmux_socket import call_back, guard, listener_on, listening_paths, servers_of
from support.tmux_server import Machine, relaunched, running, serving_users, until


def server_of(machine: Machine) -> Process:
    pid = machine.tmux._server.pid
    stat = read_stat(pid) if pid is not None else None
    assert stat is not None
    return stat.process


def path_of(machine: Machine) -> Path:
    return machine.tmux._server.socket_path


async def launched(machine: Machine) -> Job:
    """A job that runs until `gate` is written to."""
    os.mkfifo(machine.work / "gate")
    job = machine.job("touch ready; read -r code <gate; exit $code")
    await machine.tmux.launch(job)
    await until((machine.work / "ready").exists, "the job")
    return job


async def finished(machine: Machine, job: Job) -> int | None:
    await trio.to_thread.run_sync((machine.work / "gate").write_text, "5\n")
    with trio.fail_after(20):
        return (await machine.tmux.wait(job)).code


@pytest.mark.parametrize("how", ["removed", "replaced by a dead one", "with its directory"])
async def test_no_launch_fails_for_it_and_no_job_ends(tmux: Machine, how: str) -> None:
    server, first = server_of(tmux), await launched(tmux)
    if how == "with its directory":
        shutil.rmtree(tmux.runtime)
    else:
        path_of(tmux).unlink()
    if how == "replaced by a dead one":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(os.fspath(path_of(tmux)))
    assert (await tmux.end_of(tmux.job("exit 3"))).code == 3
    assert server_of(tmux) == server
    assert await trio.to_thread.run_sync(tmux.tmux.attach_argv, first) is not None
    assert await finished(tmux, first) == 5


async def test_a_daemon_that_comes_back_finds_the_server_and_its_jobs(machine: Machine) -> None:
    async with running(machine):
        server, job = server_of(machine), await launched(machine)
    path_of(machine).unlink()
    machine.tmux = machine.launcher()
    async with running(machine):
        assert server_of(machine) == server
        assert listener_on(path_of(machine)) == server.pid
        assert await machine.tmux.trace(job) is Trace.ALIVE
        assert await finished(machine, job) == 5


async def test_one_that_does_not_come_back_is_another_servers_place(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gflow.launch.tmux_socket._RETURN_SECS", 0.1)
    async with running(machine):
        old = server_of(machine)
    path_of(machine).unlink()
    os.kill(old.pid, signal.SIGSTOP)
    machine.tmux = machine.launcher()
    async with running(machine):
        assert server_of(machine) != old
        assert (await machine.end_of(machine.job("exit 4"))).code == 4


async def test_a_server_that_cannot_be_reached_is_no_fault_of_a_job(
    tmux: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gflow.launch.tmux_socket._RETURN_SECS", 0.05)
    job, server = tmux.job("exit 6"), server_of(tmux)
    path_of(tmux).unlink()
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(CannotLaunch, match="cannot be reached"):
        await tmux.tmux.launch(job)
    os.kill(server.pid, signal.SIGCONT)
    await tmux.tmux.discard(job)
    assert (await tmux.end_of(relaunched(job))).code == 6


@pytest.mark.skipif(os.geteuid() != 0, reason="jobs of several users need root")
async def test_users_have_their_servers_back_too(machine: Machine) -> None:
    async with serving_users(machine):
        assert (await machine.end_of(machine.job("exit 2"))).code == 2
        for removed in ("users/0", "users"):
            shutil.rmtree(machine.runtime / removed)
            assert (await machine.end_of(machine.job("exit 3"))).code == 3


async def test_servers_are_known_by_what_the_kernel_says(tmux: Machine) -> None:
    path = os.fspath(path_of(tmux))
    assert path in listening_paths()
    assert servers_of({path, "/nowhere"}) == {path: [server_of(tmux)]}
    path_of(tmux).unlink()
    assert servers_of({path}) == {path: [server_of(tmux)]}
    assert servers_of({path}, uid=os.geteuid() + 1) == {}


_LISTENS = """
import signal, socket, sys
if sys.argv[2] == "catches":
    signal.signal(signal.SIGUSR1, lambda *_: sys.exit("signalled"))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("kind", ["catches", "would die"])
def test_what_is_no_tmux_is_never_signalled(tmp_path: Path, kind: str) -> None:
    """Neither by its path, nor by its name: it must catch the signal, too."""
    path, program = tmp_path / "s", tmp_path / ("tmux" if kind == "would die" else "other")
    program.symlink_to(sys.executable)
    words = [program, "-c", _LISTENS, path, kind]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={"PYTHONHOME": sys.base_prefix}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = read_stat(process.pid)
        assert found is not None
        path.unlink()
        assert servers_of({os.fspath(path)}) == {}
        assert not call_back(found.process, path)
        assert not call_back(found.process._replace(start_ticks=1), path)
        assert is_alive(found.process)
        process.kill()
    assert process.returncode == -signal.SIGKILL


def test_a_guarded_socket_is_sticky_and_new(tmp_path: Path) -> None:
    path = tmp_path / "s"
    guard(path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        os.utime(path, (1, 1))
        mode = stat.S_IMODE(path.stat().st_mode)
        guard(path)
    assert path.stat().st_mtime > 1
    assert stat.S_IMODE(path.stat().st_mode) == mode | stat.S_ISVTX
    (tmp_path / "file").touch(0o600)
    guard(tmp_path / "file")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
