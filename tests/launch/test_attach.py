"""Terminals: what viewers see, and when they go away."""

import os
import pty
import signal
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from gflow.core.model import Job
from gflow.launch.base import Trace
from support.tmux_server import Machine, running, until


class Viewer:
    """A tmux client on a terminal of its own."""

    def __init__(self, argv: list[str]) -> None:
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            environment = {"PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
            os.execvpe(argv[0], argv, environment)
        os.set_blocking(self._master, False)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def sees(self, text: bytes) -> bool:
        self._read()
        return text in self.seen

    def gone(self) -> bool:
        self._read()
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0] == self.pid:
            self.pid = 0
        return self.pid == 0

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.seen += data
        except OSError:
            return

    def close(self) -> None:
        if not self.gone():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._master)


Attach = Callable[[Job], Awaitable[Viewer]]


@pytest.fixture
async def attach(tmux: Machine) -> AsyncIterator[Attach]:
    viewers: list[Viewer] = []

    async def attach(job: Job) -> Viewer:
        argv = tmux.tmux.attach_argv(job)
        assert argv is not None
        viewers.append(Viewer(argv))
        await until(lambda: tmux.pane(job, "#{session_attached}") == str(len(viewers)), "the viewer")
        return viewers[-1]

    yield attach
    for viewer in viewers:
        viewer.close()


async def launched(tmux: Machine, **fields: object) -> Job:
    """A job that says "bye" and exits with 3 once somebody presses Enter at its terminal."""
    job = tmux.job("echo hello; read -r line; echo bye; exit 3", **fields)
    await tmux.tmux.launch(job)
    await until(lambda: "hello" in tmux.log(job), "the job")
    return job


async def test_a_viewer_uses_the_jobs_terminal(tmux: Machine, attach: Attach) -> None:
    job = await launched(tmux)
    viewer = await attach(job)
    await until(lambda: viewer.sees(b"hello"), "what was printed before")
    viewer.type(b"\r")
    assert (await tmux.tmux.wait(job)).code == 3
    await until(lambda: viewer.sees(b"bye"), "the last line")


async def test_a_terminal_stays_for_its_viewers_and_then_goes(tmux: Machine, attach: Attach) -> None:
    job, other = await launched(tmux), await launched(tmux)
    first, second = await attach(job), await attach(job)
    first.type(b"\r")
    assert (await tmux.tmux.wait(job)).code == 3
    await tmux.tmux.discard(job)
    await until(lambda: first.sees(b"The job has ended"), "the notice")
    first.type(b"\x02d")
    await until(first.gone, "the first viewer leaves")
    assert tmux.pane(job, "#{pane_dead}") == "1"
    second.type(b"\x02d")
    await until(second.gone, "the second viewer leaves")
    await until(lambda: tmux.sessions() == {f"gjob-{other.id}"}, "the end of the terminal")


async def test_a_viewer_that_left_before_the_end_does_not_keep_the_terminal(tmux: Machine, attach: Attach) -> None:
    job = await launched(tmux)
    viewer = await attach(job)
    os.kill(viewer.pid, signal.SIGKILL)
    await until(viewer.gone, "the viewer's death")
    await until(lambda: tmux.pane(job, "#{session_attached}") == "0", "tmux noticing it")
    tmux.ask("send-keys", "-t", f"=gjob-{job.id}:", "Enter")
    assert (await tmux.tmux.wait(job)).code == 3
    await until(lambda: not tmux.sessions(), "the end of the terminal")


async def test_windows_a_viewer_left_open_go_with_the_job(tmux: Machine, attach: Attach) -> None:
    job = await launched(tmux)
    viewer = await attach(job)
    tmux.ask("new-window", "-t", f"=gjob-{job.id}:", "sleep", "600")
    viewer.type(b"\x02d")
    await until(viewer.gone, "the viewer leaves")
    tmux.ask("send-keys", "-t", f"=gjob-{job.id}:0", "Enter")
    assert (await tmux.tmux.wait(job)).code == 3
    await tmux.tmux.discard(job)
    await until(lambda: not tmux.sessions(), "the end of the terminal")


async def test_the_log_is_complete_while_somebody_still_looks(tmux: Machine, attach: Attach) -> None:
    job = tmux.job("touch ready; read -r line; head -c 300000 /dev/zero | tr '\\0' x; echo the-end")
    await tmux.tmux.launch(job)
    await until((tmux.work / "ready").exists, "the job")
    viewer = await attach(job)
    viewer.type(b"\r")
    with trio.fail_after(20):
        assert (await tmux.tmux.wait(job)).code == 0
    assert tmux.log(job).endswith("x" * 300_000 + "the-end\n")


async def test_a_kept_terminal_stays_and_its_log_is_complete(tmux: Machine) -> None:
    job = await launched(tmux, keep_session=True)
    tmux.ask("send-keys", "-t", f"=gjob-{job.id}:", "Enter")
    with trio.fail_after(20):
        assert (await tmux.tmux.wait(job)).code == 3
    assert tmux.log(job).endswith("bye\n")
    assert not await tmux.tmux.survivors(job)
    await tmux.tmux.discard(job)
    assert tmux.pane(job, "#{pane_dead}") == "1"
    assert "bye" in tmux.ask("capture-pane", "-p", "-t", f"=gjob-{job.id}:")
    assert tmux.tmux.attach_argv(job) is not None


async def test_a_kept_terminal_stays_after_its_viewers(tmux: Machine, attach: Attach) -> None:
    job = await launched(tmux, keep_session=True)
    viewer = await attach(job)
    viewer.type(b"\r")
    await tmux.tmux.wait(job)
    await tmux.tmux.discard(job)
    viewer.type(b"\x02d")
    await until(viewer.gone, "the viewer leaves")
    assert tmux.pane(job, "#{session_attached} #{pane_dead}") == "0 1"


async def test_a_kept_terminal_is_accounted_by_the_next_daemon(machine: Machine) -> None:
    async with running(machine):
        job = await launched(machine, keep_session=True)
    machine.ask("send-keys", "-t", f"=gjob-{job.id}:", "Enter")
    await until(lambda: machine.pane(job, "#{pane_dead}") == "1", "its end")
    machine.tmux = machine.launcher()
    async with running(machine):
        assert await machine.tmux.trace(job) is Trace.ENDED
        with trio.fail_after(20):
            assert (await machine.tmux.wait(job)).code == 3
        assert machine.log(job).endswith("bye\n")
