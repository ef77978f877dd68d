"""The unit of systemd's whose cgroup root divides among jobs with limits, where the daemon is in a unit itself.

The daemon's own unit is not for that: systemd can put no main process into a unit whose cgroup has children with
controllers, so with jobs in it no daemon could be started again. What users run is in scopes, which come and go. So
there is a service of its own, delegated, for the jobs of one data directory. systemd keeps a cgroup only as long as
there are processes in it: hence one of root's that does nothing, and outlives the daemon, as jobs do.
"""

import shutil
import subprocess
from pathlib import Path

from gflow.launch.unit import start_in_unit, unit_name

_ASK_SECS = 20.0
_PROPERTIES = ("TasksMax=infinity",)
"""Each job has a limit of its own, or those of one user could keep others' from starting processes."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class NotHeld(Exception):
    """systemd gives jobs no unit of their own; the message says why, in a few words."""


def hold(data_dir: Path) -> int:
    """The process that holds the unit, started if there is none. Blocks for a moment. Raises NotHeld."""
    there = _main_pid(data_dir)
    if there:
        return there
    sleep = shutil.which("sleep") or "/bin/sleep"
    trouble = start_in_unit(data_dir, [sleep, "infinity"], _ENVIRONMENT, "Limits of the jobs of gflow", _PROPERTIES)
    pid = _main_pid(data_dir)
    if pid == 0:
        raise NotHeld(trouble or f"{unit_name(data_dir)} has ended at once")
    return pid


def let_go(data_dir: Path) -> None:
    """Have systemd end the unit, which must be of no use any more, for all that is in it ends as well."""
    _systemctl("stop", unit_name(data_dir))


def _main_pid(data_dir: Path) -> int:
    """0 if there is none."""
    said = _systemctl("show", "--property=MainPID", "--value", unit_name(data_dir))
    return int(said) if said.isdigit() else 0


def _systemctl(*words: str) -> str:
    """What it says, "" if it does not."""
    try:
        done = subprocess.run(
            ["systemctl", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_ASK_SECS,
            check=False,
            env=_ENVIRONMENT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
