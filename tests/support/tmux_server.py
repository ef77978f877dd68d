"""The real launcher in a scratch directory of its own; at the end nothing of it is left."""

import dataclasses
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import trio

from gflow.core.model import Exit, Job, JobId, JobSpec, Now, State
from gflow.launch.script import render_environment
from gflow.launch.tmux import Tmux
from gflow.users.confining import Confining
from gflow.users.launcher import PerUser
from gflow.users.places import Places
from support.scratch import end_processes_of


def clock() -> Now:
    """The machine's clocks."""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def make_job(
    job_id: int = 1, run_name: str = "calm-lynx-0001", gpu_ids: tuple[int, ...] | None = None, **fields: Any
) -> Job:
    """A job that was just decided to launch; `fields` of its specification, without a command it runs `true`."""
    if not fields.keys() & {"command", "argv", "script_digest"}:
        fields["command"] = "true"
    return Job(
        id=JobId(job_id),
        spec=JobSpec(**{"owner": "ana", "run_dir": "/", **fields}),
        run_name=run_name,
        state=State.RUNNING,
        submitted_at=0.0,
        gpu_ids=gpu_ids,
        run_id=secrets.token_hex(8),
    )


class Machine:
    """A launcher and where its jobs run. Stopping and starting it again is what a daemon's restart is to jobs."""

    def __init__(self, data: str = "data") -> None:
        self.root = Path(tempfile.mkdtemp(prefix="gl", dir="/tmp"))
        self.data, self.runtime, self.work, self.spool = (self.root / name for name in (data, "run", "work", "spool"))
        for directory in (self.work, self.spool):
            directory.mkdir(mode=0o700)
        self.tmux = self.launcher()
        self.whose: dict[str, Any] = {}
        self._ids = count(1)

    def launcher(self) -> Tmux:
        """Another launcher on the same directories, as a new daemon makes."""
        return Tmux(self.data, self.runtime, clock, self.spool.joinpath, self.spool.joinpath)

    def job(self, command: str | None = None, **fields: Any) -> Job:
        """A job with the next id, in `work` unless it says otherwise."""
        fields = {"run_dir": str(self.work), **self.whose, **fields}
        return make_job(next(self._ids), **({"command": command} if command is not None else {}), **fields)

    def script(self, path: Path, text: bytes, **fields: Any) -> Job:
        """A job of the script `path`, whose `text` is stored; the file itself is not made."""
        return self.job(script=str(path), script_digest=self.store(text), **fields)

    def environment(self, env: Mapping[str, str]) -> str:
        """The digest of a stored environment."""
        return self.store(render_environment(env))

    def store(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        (self.spool / digest).write_bytes(content)
        return digest

    async def end_of(self, job: Job) -> Exit:
        """Launch it and wait for its end."""
        await self.tmux.launch(job)
        return await self.tmux.wait(job)

    async def output_of(self, job: Job) -> str:
        """What it printed; it must exit with 0."""
        end = await self.end_of(job)
        assert end.code == 0, (end, self.log(job))
        return self.log(job)

    def log(self, job: Job) -> str:
        """The log as text, with the terminal's line ends undone."""
        return self.raw_log(job).replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")

    def raw_log(self, job: Job) -> bytes:
        return self.tmux.log_path(job.id).read_bytes()

    def ask(self, *arguments: str) -> str:
        """The answer of a tmux command of our own."""
        command = ["tmux", "-N", "-S", os.fspath(self.tmux._server.socket_path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def pane(self, job: Job, fmt: str) -> str:
        return self.ask("display-message", "-p", "-t", f"=gjob-{job.id}:", fmt)

    def sessions(self) -> set[str]:
        return set(self.ask("list-sessions", "-F", "#{session_name}").split())

    def remove(self) -> None:
        end_processes_of(str(self.root))
        shutil.rmtree(self.root, ignore_errors=True)


@asynccontextmanager
async def serving_users(machine: Machine) -> AsyncIterator[Machine]:
    """The same with the launcher of system mode in its place; jobs are root's, as these tests are."""
    for directory in (machine.root, machine.data, machine.runtime):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    places = Places(machine.data / "jobs", machine.runtime / "users")

    def stored(digest: str) -> bytes:
        return (machine.spool / digest).read_bytes()

    confining = Confining(machine.data, lambda _: None)
    machine.tmux = PerUser(places, clock, stored, stored, confining, idle_secs=0.4)  # type: ignore[assignment]
    machine.whose = {"owner": "root", "uid": 0}
    async with running(machine):
        yield machine


@asynccontextmanager
async def running(machine: Machine) -> AsyncIterator[Machine]:
    """`machine.tmux`, served."""
    async with trio.open_nursery() as nursery:
        await nursery.start(machine.tmux.run)
        yield machine
        nursery.cancel_scope.cancel()


def relaunched(job: Job) -> Job:
    """The same job, decided to launch once more."""
    return dataclasses.replace(job, run_id=secrets.token_hex(8))


async def until(condition: Any, what: str, deadline_secs: float = 20.0) -> Any:
    """The first true value of `condition()`, asked while other tasks go on."""
    with trio.move_on_after(deadline_secs):
        while not (value := condition()):
            await trio.sleep(0.005)
        return value
    raise AssertionError(f"{what}: not within {deadline_secs:g} s")
