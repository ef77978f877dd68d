"""Whether what a user runs ends when he logs out, and what keeps it: for those whose jobs were lost, or may be.

Two things end it. The user's manager of systemd, and with it every service in it, leaves with his last session unless
he lingers (loginctl(1)). And logind ends what is in the scope of a session where KillUserProcesses is set
(logind.conf(5)): there lingering does not help, only being no part of the session, as a service is.
"""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

_LINGERING = Path("/var/lib/systemd/linger")
_USERS = Path("/run/systemd/users")
_PROC = Path("/proc")
_ASK_SECS = 3.0
_IN_SESSION = re.compile(r"/session-[^/]+\.scope(/|$)", re.MULTILINE)


def remedy(pid: int | None = None) -> str | None:
    """What to run so that a process (this one) of ours outlives a logout; None if it does, or nobody knows. Blocks."""
    uid = os.geteuid()
    try:
        place = (_PROC / (str(pid) if pid else "self") / "cgroup").read_text(encoding="utf-8", errors="replace")
        user = pwd.getpwuid(uid).pw_name
    except (OSError, KeyError):
        return None
    linger = "" if (_LINGERING / user).exists() else f"loginctl enable-linger {user}"
    if f"/user@{uid}.service/" in place:
        return linger or None
    if uid != 0 and _IN_SESSION.search(place) and _kills_at_logout():
        return " and ".join(filter(None, ("gflowd service install", linger)))
    return None


def remedy_for_lost(*, seen: bool) -> str | None:
    """The same about jobs whose terminals were lost, if it may have been at a logout.

    seen: it happened before our eyes; then only if the user is being logged out just now.
    """
    return None if seen and not _is_leaving() else remedy()


def _is_leaving() -> bool:
    """Whether the user has no session left; the file is what sd_uid_get_state(3) reads."""
    try:
        state = (_USERS / str(os.geteuid())).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "STATE=closing\n" in state


def _kills_at_logout() -> bool:
    loginctl = shutil.which("loginctl")
    if loginctl is None:
        return False
    words = [loginctl, "show-session", "--property=KillUserProcesses", "--value"]
    try:
        said = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_ASK_SECS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return said.stdout.strip() == "yes"
