"""The two daemons that are measured: ours, and gflow 0.4.18 (package runqd), which speaks the same requests.

Each instance has a directory of its own for everything: configuration, data, sockets, tmux servers.
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import leftovers
from connection import Connection, Endpoint

Job = dict[str, Any]

BATCH = 1000
"""The most jobs both daemons take in one request."""


def until(condition: Callable[[], bool], what: str, secs: float = 60.0, every: float = 0.005) -> None:
    """Wait for `condition`, looking `every` so many seconds. Raises TimeoutError naming `what` after `secs`."""
    pause, deadline = threading.Event(), time.monotonic() + secs
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {secs:g} s")
        pause.wait(every)


class Daemon:
    """A running daemon of one kind in its own directory; `name` is what tables call its kind."""

    name = ""
    arguments: tuple[str, ...] = ()

    def __init__(self, programs: pathlib.Path, home: pathlib.Path) -> None:
        self.programs, self.home, self.work = programs, home, home / "work"
        for folder in (home, self.work, home / "run", home / "config" / "gflow", home / "data"):
            folder.mkdir(parents=True, mode=0o700)
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(home),
            "USER": "bench",
            "SHELL": "/bin/bash",
            "LC_ALL": "C.UTF-8",
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_RUNTIME_DIR": str(home / "run"),
            "TMUX_TMPDIR": str(home / "run"),
        }
        self.endpoint = self.configure()
        self.process: subprocess.Popen[bytes] | None = None
        self.http = Connection(self.endpoint)

    def configure(self) -> Endpoint:
        """Write what the daemon needs to find; return where it will listen."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.home / "daemon.out").open("wb") as output:
            self.process = subprocess.Popen(
                [self.programs / "gflowd", *self.arguments],
                env=self.environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        until(self.is_up, f"{self.name} answers (see {self.home}/daemon.out)", 30)

    def is_up(self) -> bool:
        """Whether it answers. Raises RuntimeError with its last words if it has ended."""
        if self.process is None or self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {(self.home / 'daemon.out').read_text()[-2000:]}")
        try:
            self.http.raw("GET", "/health")
        except OSError:
            self.http.close()
            return False
        return True

    def end(self) -> None:
        """End the daemon itself; its files stay."""
        self.http.close()
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def stop(self) -> None:
        """End it and whatever tmux it used, and remove its files."""
        self.end()
        for endpoint in (self.home / "run").rglob("*"):
            if endpoint.is_socket():
                subprocess.run(["tmux", "-S", endpoint, "kill-server"], capture_output=True, check=False, timeout=20)
        leftovers.kill(list(leftovers.wait_until_gone(str(self.home), 5)))
        shutil.rmtree(self.home)

    def job(self, command: str, **fields: object) -> Job:
        """A request for one job."""
        return {"command": command, "run_dir": str(self.work), "submitted_by": "bench"} | fields

    def later(self) -> Job:
        """A request for a job that stays queued: it begins tomorrow."""
        tomorrow = {"secs_since_epoch": int(time.time()) + 86400, "nanos_since_epoch": 0}
        return self.job("true", scheduled_at=tomorrow)

    def submit(self, job: Job) -> int:
        """Submit one job; return its id."""
        return int(self.http.call("POST", "/jobs", job)["id"])

    def submit_all(self, jobs: list[Job]) -> list[int]:
        """Submit up to `BATCH` jobs in one request; return their ids."""
        return [int(answer["id"]) for answer in self.http.call("POST", "/jobs/batch", jobs)]

    def fill(self, count: int) -> list[float]:
        """Queue `count` jobs that stay queued; return the seconds that each batch took."""
        secs = []
        for _ in range(count // BATCH):
            jobs = [self.later() for _ in range(BATCH)]
            begun = time.perf_counter()
            self.submit_all(jobs)
            secs.append(time.perf_counter() - begun)
        return secs

    def is_idle(self) -> bool:
        """Whether no job waits for its turn or runs."""
        return not self.http.call("GET", "/jobs?state=Queued,Running&limit=1")

    def resident_mb(self) -> float:
        """Resident memory of the daemon process, in MiB."""
        assert self.process is not None
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Gflow(Daemon):
    """This checkout, over its Unix socket."""

    name = "gflow"
    arguments = ("run",)

    def configure(self) -> Endpoint:
        """The default endpoint of the private runtime directory."""
        return str(self.home / "run" / "gflow" / "gflowd.sock")


class Runqd(Daemon):
    """gflow 0.4.18, over TCP on a free port. It finds tmux's default server, here a private one, by TMUX_TMPDIR."""

    name = "runqd 0.4.18"

    def configure(self) -> Endpoint:
        """A free port, in the file where its clients and its jobs look for it too.

        Its jobs run in a login shell and report their end by calling gcancel, so that must be on a login shell's PATH.
        """
        (self.home / ".bash_profile").write_text(f"PATH={self.environment['PATH']}\n")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        text = f'[daemon]\nhost = "127.0.0.1"\nport = {port}\n'
        (self.home / "config" / "gflow" / "gflow.toml").write_text(text)
        return "127.0.0.1", port


class Bench:
    """What the measurements share: scratch directory, installed programs, daemons on demand."""

    def __init__(self, scratch: pathlib.Path, gflow: pathlib.Path, runqd: pathlib.Path | None) -> None:
        self.scratch = scratch
        self.programs: dict[type[Daemon], pathlib.Path] = {Gflow: gflow}
        if runqd is not None:
            self.programs[Runqd] = runqd

    @property
    def kinds(self) -> list[type[Daemon]]:
        """The daemons that can be measured, ours first."""
        return list(self.programs)

    @contextlib.contextmanager
    def prepared(self, kind: type[Daemon]) -> Iterator[Daemon]:
        """A daemon that is yet to be started, stopped and removed at the end."""
        daemon = kind(self.programs[kind], self.scratch / uuid.uuid4().hex[:6])
        try:
            yield daemon
        finally:
            daemon.stop()

    @contextlib.contextmanager
    def daemon(self, kind: type[Daemon]) -> Iterator[Daemon]:
        """A fresh daemon, stopped and removed at the end."""
        with self.prepared(kind) as daemon:
            daemon.start()
            yield daemon
