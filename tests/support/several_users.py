"""Users of this machine made for tests, a daemon that serves them all, and what they do to it. Needs root.

`with several_users("ana", "ben") as (ana, ben)` makes them and removes them; `SystemDaemon` is `Daemon` in system mode.
"""

import contextlib
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.daemon import SOURCES, Answer, Daemon
from support.scratch import lives, processes_of
from support.wait import until

_KEEPCAPS_OFF = 8
LIBRARIES = sysconfig.get_paths()["purelib"]


@dataclass(frozen=True)
class User:
    """One of them, and what he does."""

    name: str
    uid: int
    gid: int
    home: Path

    def run(self, *words: str, **given: Any) -> "subprocess.CompletedProcess[str]":
        """Run a program as he would."""
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=60, **self._as(given))

    def start(self, *words: str, **given: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, **self._as(given))

    def shell(self, line: str) -> "subprocess.CompletedProcess[str]":
        return self.run("/bin/sh", "-c", line)

    def _as(self, given: dict[str, Any]) -> dict[str, Any]:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), "USER": self.name, **given.pop("env", {})}
        groups = os.getgrouplist(self.name, self.gid)
        return {"user": self.uid, "group": self.gid, "extra_groups": groups, "env": env, "cwd": "/", **given}

    @contextlib.contextmanager
    def connecting(self) -> Iterator[None]:
        """What connects meanwhile is taken for him by the kernel."""
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)


def why_not() -> str | None:
    """Why this cannot be tested here, None if it can."""
    if os.geteuid() != 0:
        return "makes users of this machine: run the tests as root"
    missing = [name for name in ("useradd", "userdel", "groupadd", "tmux", "runuser") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    return None if interpreter() else f"plain users can run no Python {sys.version_info[1]} here, or not read {SOURCES}"


def interpreter() -> str | None:
    """A Python like this one that plain users can run, too, together with what it loads."""
    version = f"python3.{sys.version_info[1]}"
    load = f"import sys; sys.path[:0] = [{str(SOURCES)!r}, {LIBRARIES!r}]; import gflow, trio, msgpack"
    for candidate in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError):
            if (
                subprocess.run(
                    [candidate, "-I", "-c", load], user=65534, capture_output=True, cwd="/", check=False
                ).returncode
                == 0
            ):
                return candidate
    return None


@contextlib.contextmanager
def several_users(*names: str) -> Iterator[list[User]]:
    """Users called like that, with a few random letters behind it, each in a group of its own besides."""
    mark = secrets.token_hex(3)
    made = [_made(f"gf{name}{mark}") for name in names]
    try:
        yield made
    finally:
        for user in made:
            _end_all_of(user.uid)
            subprocess.run(["userdel", "-r", user.name], capture_output=True, check=False)
            subprocess.run(["groupdel", f"{user.name}x"], capture_output=True, check=False)


def _made(name: str) -> User:
    subprocess.run(["groupadd", f"{name}x"], check=True)
    command = ["useradd", "-m", "-s", "/bin/bash", "-G", f"{name}x", name]
    subprocess.run(command, check=True, capture_output=True)
    entry = pwd.getpwnam(name)
    return User(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def _end_all_of(uid: int) -> None:
    def ended() -> bool:
        for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{pid}").st_uid == uid and lives(pid):
                    os.kill(pid, signal.SIGKILL)
        return not any(_is_of(name, uid) for name in os.listdir("/proc") if name.isdigit())

    until(ended, f"the end of the processes of the user id {uid}")


def _is_of(pid: str, uid: int) -> bool:
    with contextlib.suppress(OSError):
        return os.stat(f"/proc/{pid}").st_uid == uid and lives(int(pid))
    return False


class SystemDaemon(Daemon):
    """A daemon for all users, with much of root's about it that no job may have."""

    def __init__(self, *options: str, grace_secs: float = 0.2) -> None:
        super().__init__(grace_secs=grace_secs, environment={"SECRET_OF_ROOT": "swordfish"})
        self.root.chmod(0o755)
        for name in ("data", "system"):
            (self.root / name).mkdir(mode=0o755)
        self.socket = self.root / "system/gflow/gflowd.sock"
        self.jobs_dir = self.data.with_name("gflow-jobs")
        self.options = ("--system", "--data-dir", str(self.data), "--socket", str(self.socket), *options)
        settings = self.root / "gflow.toml"
        settings.write_text('[access]\nvisibility = "own"\n')
        self.program = (*self.program, "--config", str(settings))
        self.python = interpreter() or sys.executable
        self.environment["PYTHONPATH"] = f"{SOURCES}:{LIBRARIES}"

    def begin(self) -> None:
        """Start it with an open file, a nice value, an ignored signal and a score that jobs must not inherit."""
        secret = os.open(self.root / "secret", os.O_RDWR | os.O_CREAT, 0o600)
        os.set_inheritable(secret, True)
        with (self.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, *self.program, "run", *self.options],
                env=self.environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(secret,),
                preexec_fn=_be_special,  # noqa: PLW1509 - no threads here
            )
        os.close(secret)

    def command(self, program: str, *arguments: str) -> list[str]:
        return [self.python, *super().command(program, *arguments)[1:]]

    def as_user(self, user: User, program: str, *arguments: str, **given: Any) -> "subprocess.CompletedProcess[str]":
        """Run one of gflow's programs as a user."""
        env = {"PYTHONPATH": self.environment["PYTHONPATH"], "GFLOW_DAEMON_SOCKET": str(self.socket), "LANG": "C.UTF-8"}
        return user.run(*self.command(program, *arguments), env=env | given.pop("env", {}), **given)

    def ask(self, user: User, method: str, path: str, body: Any = None) -> Answer:
        """One request of a user."""
        with user.connecting():
            return self.http(method, path, body)

    def submit_as(self, user: User, command: str | None = None, **fields: Any) -> int:
        """Submit a job as a user, in the root directory unless said otherwise; its id."""
        body = {"run_dir": "/", **({"command": command} if command is not None else {}), **fields}
        answer = self.ask(user, "POST", "/jobs", body)
        assert answer.status == 201, answer
        return answer.body["id"]

    def log_file(self, job_id: int) -> Path:
        return self.jobs_dir / f"logs/{job_id}.log"

    def log(self, job_id: int) -> bytes:
        return self.log_file(job_id).read_bytes().replace(b"\r\n", b"\n")

    def wait_log(self, job_id: int, mark: bytes = b"\n") -> bytes:
        path = self.log_file(job_id)
        return until(lambda: path.exists() and mark in (said := self.log(job_id)) and said, f"{mark!r} of job {job_id}")

    def run_directory(self, user: User, job_id: int) -> Path:
        """What the launch of a running job has left in the user's own directory."""
        return next((self.jobs_dir / f"users/{user.uid}/runs").glob(f"{job_id}.*"))

    def helper_of(self, user: User) -> int:
        """The process id of a user's helper."""
        return next(pid for pid, words in processes_of(str(self.root)).items() if self._is_helper(pid, words, user))

    def _is_helper(self, pid: int, words: str, user: User) -> bool:
        return "gflow.users.agent" in words and _is_of(str(pid), user.uid)


def _be_special() -> None:
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    os.nice(-3)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-500")
    ctypes.CDLL(None).prctl(_KEEPCAPS_OFF, 0, 0, 0, 0)
