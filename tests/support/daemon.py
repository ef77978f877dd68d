"""A real daemon in a scratch directory of its own, and everything a test does to it.

`with Daemon() as daemon:` starts one; at the end nothing of it is left: no process, no tmux server, no job, no file.
"""

import contextlib
import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

import gflow
from support.preloaded import Child, Parent
from support.scratch import end_processes_of
from support.wait import until

PROGRAM: tuple[str, ...] = ("-m", "gflow.cli.gflowd")
SOURCES = Path(gflow.__file__).parents[1]
GRACE = "GFLOW_DAEMON_KILL_GRACE_SECS"
_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2


def moment(stamp: dict[str, int]) -> float:
    """Seconds since the epoch of a moment in a job's record."""
    return stamp["secs_since_epoch"] + stamp["nanos_since_epoch"] / 1e9


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with its JSON body, read."""

    status: int
    body: Any


class UnixConnection(HTTPConnection):
    """HTTP over the daemon's socket."""

    def __init__(self, path: Path, timeout_secs: float) -> None:
        super().__init__("gflowd", timeout=timeout_secs)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


class Daemon:
    """`options` are those of `gflowd run`, `environment` is what the daemon has besides the scratch directories.

    Commands run in `work`, with the same scratch directories. A daemon is forked, unless it has a program or an
    environment of its own, or `as_typed` asks for the command line that a user would type.
    """

    def __init__(
        self,
        *options: str,
        grace_secs: float = 1.0,
        environment: dict[str, str] | None = None,
        as_typed: bool = False,
    ) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="gf", dir="/tmp"))
        self.work, self.data, self.runtime = self.root / "work", self.root / "data/gflow", self.root / "run/gflow"
        self.socket = self.runtime / "gflowd.sock"
        self.program = PROGRAM
        self.options = options
        for name in ("work", "run", "home", "tmux"):
            (self.root / name).mkdir(mode=0o700)
        self.surroundings = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(self.root / "home"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_DATA_HOME": str(self.root / "data"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "TMUX_TMPDIR": str(self.root / "tmux"),
            "PYTHONPATH": str(SOURCES),
        }
        self._forked = environment is None and not as_typed
        self.environment = {**self.surroundings, GRACE: str(grace_secs), **self._no_driver(), **(environment or {})}
        self.process: subprocess.Popen[bytes] | Child | None = None

    def _no_driver(self) -> dict[str, str]:
        """Keeps the GPUs that this machine may have out of its sight: what it finds for a library is none."""
        directory = self.root / "no-driver"
        directory.mkdir()
        (directory / "libnvidia-ml.so.1").touch()
        return {"LD_LIBRARY_PATH": str(directory)}

    # -- its life

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def start(self) -> None:
        """Start it; return once it answers."""
        self.begin()
        until(self._answers, "an answer of the daemon")

    def begin(self) -> None:
        """Start it without waiting."""
        if self._forked and self.program == PROGRAM:
            log = self.root / "daemon.log"
            log.touch()
            self.process = Child(_parent(), ["run", *self.options], self.environment, log)
            return
        with (self.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "run", *self.options],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_be_no_superuser,  # noqa: PLW1509 - no threads here
            )

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"the daemon ended: {self.said()}"
        with contextlib.suppress(OSError):
            return self.http("GET", "/health", timeout_secs=20).status == 200
        return False

    def kill9(self) -> None:
        """As by the kernel when memory runs out."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)

    def stop(self, deadline_secs: float = 20.0) -> int:
        """SIGTERM; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(deadline_secs)

    def restart(self) -> None:
        """Stop it properly and start it anew."""
        assert self.stop() == 0
        self.start()

    def close(self) -> None:
        """End all that ever ran here and remove the scratch directory. Fails if the daemon met a bug of its own."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(20)
        end_processes_of(str(self.root))
        said = self.said()
        shutil.rmtree(self.root)
        assert "Traceback" not in said, said[:4000]

    def said(self) -> str:
        """Its own log."""
        path = self.root / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def tmux_socket(self) -> Path:
        """Of the server its jobs run in."""
        return next(self.runtime.glob("tmux-*.sock"))

    @property
    def tmux_pid(self) -> int:
        """Of the server its jobs run in, as the kernel says."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(self.tmux_socket))
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    # -- talking to it

    def connection(self, timeout_secs: float = 60.0) -> UnixConnection:
        return UnixConnection(self.socket, timeout_secs)

    def http(
        self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, timeout_secs: float = 60.0
    ) -> Answer:
        """One request; `body` is sent as JSON, `raw` as it is."""
        content = json.dumps(body).encode() if body is not None else raw
        with contextlib.closing(self.connection(timeout_secs)) as connection:
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            data = response.read()
            kind = response.headers.get_content_type()
            return Answer(response.status, json.loads(data) if kind == "application/json" else data.decode())

    def get(self, path: str) -> Any:
        """The body of a GET that must succeed."""
        answer = self.http("GET", path)
        assert answer.status == 200, answer
        return answer.body

    def submit(self, command: str | None = None, **fields: Any) -> int:
        """Submit one job over HTTP, in `work` unless said otherwise; its id."""
        return self.submit_all([{"command": command, **fields} if command is not None else fields])[0]

    def submit_all(self, jobs: list[dict[str, Any]], **common: Any) -> list[int]:
        """Submit jobs in one request; their ids."""
        defaults = {"run_dir": str(self.work), **common}
        answer = self.http("POST", "/jobs/batch", {"defaults": defaults, "jobs": jobs})
        assert answer.status == 201, answer
        return [made["id"] for made in answer.body]

    def job(self, job_id: int) -> dict[str, Any]:
        """The record of a job."""
        return self.get(f"/jobs/{job_id}")

    def jobs(self) -> dict[int, dict[str, Any]]:
        """All records, by id."""
        return {job["id"]: job for job in self.get("/jobs")}

    def states(self, *job_ids: int) -> list[str]:
        return [self.job(job_id)["state"] for job_id in job_ids]

    def wait_job(self, job_id: int, deadline_secs: float = 30.0) -> dict[str, Any]:
        """The record of a job once it has ended."""
        answer = self.http("GET", f"/jobs/{job_id}/wait", timeout_secs=deadline_secs)
        assert answer.status == 200, answer
        return answer.body

    def wait_jobs(self, job_ids: list[int], deadline_secs: float = 60.0) -> list[dict[str, Any]]:
        """The records of jobs once they have all ended."""
        return [self.wait_job(job_id, deadline_secs) for job_id in job_ids]

    def wait_running(self, job_id: int) -> dict[str, Any]:
        """The record of a job once it runs."""
        return until(lambda: (job := self.job(job_id))["state"] == "Running" and job, f"start of job {job_id}")

    def log(self, job_id: int) -> bytes:
        """The bytes the job printed to its terminal, with the terminal's CR LF as LF."""
        return (self.data / "logs" / f"{job_id}.log").read_bytes().replace(b"\r\n", b"\n")

    def wait_log(self, job_id: int, mark: bytes = b"\n") -> bytes:
        """The same, once `mark` is in it."""
        path = self.data / "logs" / f"{job_id}.log"
        return until(lambda: path.exists() and mark in (said := self.log(job_id)) and said, f"{mark!r} of job {job_id}")

    # -- its programs

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line of one of gflow's programs, as an installed one would run."""
        module = f"gflow.cli.{'umbrella' if program == 'gflow' else program}"
        code = f"import sys; sys.argv[0] = {program!r}; from {module} import main; main()"
        return [sys.executable, "-c", code, *arguments]

    def cli(
        self, program: str, *arguments: str, cwd: Path | None = None, timeout_secs: float = 60.0, **surroundings: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of gflow's programs to its end. `stdin=…` is what it reads, other words are its environment."""
        given = surroundings.pop("stdin", "")
        return subprocess.run(
            self.command(program, *arguments),
            cwd=cwd or self.work,
            env={**self.surroundings, **surroundings},
            input=given,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_secs,
            check=False,
        )

    def gbatch(self, *arguments: str, **surroundings: Any) -> int:
        """Submit one job with the real gbatch; its id."""
        done = self.cli("gbatch", "--parsable", *arguments, **surroundings)
        assert (done.returncode, done.stderr) == (0, ""), done
        return int(done.stdout)

    def spawn(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start one of gflow's programs with its output in a pipe."""
        return subprocess.Popen(
            self.command(program, *arguments),
            cwd=self.work,
            env=self.surroundings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@contextlib.contextmanager
def with_data_of(stopped: Daemon) -> Iterator[Daemon]:
    """A daemon that has not been started, with a copy of all that one that was stopped has left."""
    daemon = Daemon()
    try:
        shutil.copytree(stopped.data, daemon.data)
        yield daemon
    finally:
        daemon.close()


@cache
def _parent() -> Parent:
    surroundings = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(SOURCES)}
    return Parent(surroundings, _be_no_superuser)


def _be_no_superuser() -> None:
    """Root may read and enter everything; daemons of tests may not, so that they meet what a plain user meets."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
