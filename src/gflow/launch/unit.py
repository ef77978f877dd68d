"""A unit of systemd's for the tmux server, so that what happens to the daemon's unit does not happen to jobs.

Processes live in the unit of whoever starts them. Where the daemon is a unit's main process, it therefore has systemd
start the server, as a transient service: no limit, sandbox or signal meant for the daemon reaches it, and when a job
is killed for want of memory that is no failure of the unit (OOMPolicy).

Units stop in the reverse order in which they start, so jobs' come before the daemon's: when everything is stopped, at
a shutdown, the daemon is gone before its jobs are, and sees none of them end.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

UNIT_PREFIX = "gflow-jobs-"
_RUN_SECS = 20.0
_PROPERTIES = ("OOMPolicy=continue", "Delegate=yes", "KillMode=control-group", "TimeoutStopSec=15", "UMask=0077")
_BUS = ("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")


def start_in_unit(
    place: Path,
    command: Sequence[str],
    environ: Mapping[str, str],
    description: str = "Terminals of the jobs of gflow",
    more: Sequence[str] = (),
) -> str | None:
    """Have systemd run `command` with no other environment than `environ`; None, or why that did not work. Blocks.

    The unit is named after `place`. more: further properties of it.
    """
    systemd_run, env = shutil.which("systemd-run"), shutil.which("env")
    if systemd_run is None or env is None:
        return "systemd-run is not installed"
    whose = ["--user"] if _is_of_user() else ["--system"]
    options = [
        f"--unit={unit_name(place)}",
        f"--description={description}",
        "--service-type=exec",
    ]
    properties = [f"--property={value}" for value in (*_PROPERTIES, *stopped_after_daemon(), *more)]
    cleared = [env, "-i", *(f"{name}={value}" for name, value in environ.items())]
    words = [word.replace("$", "$$") for word in (*cleared, *command)]  # systemd fills in variables
    try:
        done = subprocess.run(
            [systemd_run, *whose, "--quiet", "--collect", "--no-ask-password", *options, *properties, "--", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**environ, **{name: os.environ[name] for name in _BUS if name in os.environ}},
            timeout=_RUN_SECS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"systemd-run did not answer within {_RUN_SECS:g} s"
    except OSError as error:
        return f"systemd-run: {error.strerror}"
    return None if done.returncode == 0 else done.stderr.strip().split("\n")[-1] or f"exit code {done.returncode}"


def unit_name(place: Path) -> str:
    """The unit of the tmux server on this socket; in system mode, of the limits of the jobs of this data directory."""
    return f"{UNIT_PREFIX}{hashlib.sha256(os.fsencode(place)).hexdigest()[:8]}.service"


def stopped_after_daemon(place: str | None = None) -> list[str]:
    """Properties of a unit with jobs that have it stopped after the unit of the daemon: the usual one, and the one that
    this process is in.

    place: what /proc/PID/cgroup says of this process; None: look.
    """
    parts = (_place() if place is None else place).replace("\n", "/").split("/")
    services = [part for part in parts if part.endswith(".service") and not part.startswith("user@")]
    return [f"Before={name}" for name in dict.fromkeys(["gflowd.service", *services[-1:]])]


def _is_of_user() -> bool:
    """Whether this process is below a user's manager."""
    place = _place()
    return f"/user@{os.geteuid()}.service/" in place if place else os.geteuid() != 0


def _place() -> str:
    """The cgroup of this process, "" if that cannot be read."""
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""
