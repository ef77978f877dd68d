"""Starting a program as another user, with nothing of root's left in it.

A small program runs first, still as root, and takes off what a change of the user does not: signals that are ignored
or blocked, a negative oom_score_adj or nice value, a real-time policy, the session keyring, inheritable capabilities,
and our own raised limit of open files. Descriptors, working directory, terminal and environment are gone before it.

Then `runuser` from util-linux changes the user: with it PAM sets the limits that the administrator has configured for
users, as at a login. Where there is no `runuser` with PAM the program changes the user itself, and the limits are those
the daemon was started with. Whoever is started checks that all is as it should be (`check_become`).
"""

import ctypes
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gflow.launch.unit import stopped_after_daemon
from gflow.users.accounts import Account

_PROGRAM_DIRECTORIES = "/usr/sbin:/usr/bin:/sbin:/bin"
_PAM = ("/etc/pam.d/runuser", "/usr/lib/pam.d/runuser", "/usr/etc/pam.d/runuser")

_TAKE_OFF = """\
import ctypes, os, platform, resource, signal, sys
name, gid, uid, soft, hard, runuser, *program = sys.argv[1:]
os.umask(0o077)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
resource.setrlimit(resource.RLIMIT_NOFILE, (int(soft), int(hard)))
with open("/proc/self/oom_score_adj", "r+") as file:
    if int(file.read()) < 0:
        file.seek(0)
        file.write("0")
if os.getpriority(os.PRIO_PROCESS, 0) < 0:
    os.setpriority(os.PRIO_PROCESS, 0, 0)
if os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE):
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
libc = ctypes.CDLL(None, use_errno=True)
keyctl = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}.get(platform.machine())
if keyctl is not None:
    libc.syscall(keyctl, 1, None, 0, 0, 0)  # KEYCTL_JOIN_SESSION_KEYRING: a new one without a name
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
if libc.capget(header, sets) == 0:
    sets[2] = sets[5] = 0  # what a program started from here would inherit
    if libc.capset(header, sets) != 0:
        sys.exit("the inheritable capabilities cannot be dropped")
if runuser:
    os.execv(runuser, ["runuser", "-u", name, "--", *program])
os.initgroups(name, int(gid))
os.setresgid(int(gid), int(gid), int(gid))
os.setresuid(int(uid), int(uid), int(uid))
os.execv(program[0], program)
"""


_JOIN_SESSION_KEYRING, _LINK = 1, 8
_SESSION_KEYRING, _USER_KEYRING = -3, -4
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "ppc64le": 271, "s390x": 280}


class NotBecome(Exception):
    """This process is not quite the user it is to be; the message says in what."""


def start_as(
    account: Account,
    program: Sequence[str],
    channel: socket.socket,
    open_files: tuple[int, int],
    lang: str | None,
    *,
    own_unit: bool = False,
) -> subprocess.Popen[bytes]:
    """Start `program` as the user, with `channel` as its standard input. What it says of errors is in `stderr`, a pipe.

    open_files: the soft and the hard limit. own_unit: in a unit of systemd's apart from ours, so that what happens to
    ours does not happen to jobs. Blocks for a moment. Raises OSError.
    """
    numbers = [str(number) for number in (account.gid, account.uid, *open_files)]
    unit = _scope(account.uid) if own_unit else []
    return subprocess.Popen(
        [*unit, sys.executable, "-I", "-S", "-c", _TAKE_OFF, account.name, *numbers, _runuser() or "", *program],
        env=account.environment(lang),
        cwd="/",
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        close_fds=True,
        start_new_session=True,
    )


def _scope(uid: int) -> list[str]:
    """What puts this process into a scope and then becomes what follows; delegated, so that no job takes others along
    that the kernel ends for want of memory."""
    name = f"gflow-user-{uid}-{secrets.token_hex(4)}.scope"
    options = ["--scope", "--quiet", "--collect", "--no-ask-password", f"--unit={name}", "--property=Delegate=yes"]
    order = [f"--property={value}" for value in stopped_after_daemon()]
    return ["systemd-run", *options, *order, "--description=Jobs of a user of gflow", "--"]


def has_pam() -> bool:
    """Whether users get the limits at their jobs that PAM gives them."""
    return _runuser() is not None


def _runuser() -> str | None:
    return shutil.which("runuser", path=_PROGRAM_DIRECTORIES) if any(map(os.path.exists, _PAM)) else None


def check_become(uid: int, gid: int, name: str) -> None:
    """Raise NotBecome unless this process is the user through and through."""
    has, needs = set(os.getgroups()), set(os.getgrouplist(name, gid)) - {gid}
    if os.getresuid() != (uid,) * 3 or os.getresgid() != (gid,) * 3:
        raise NotBecome(f"the user ids are {os.getresuid()} and {os.getresgid()}, not {uid} and {gid}")
    if not needs <= has or 0 in has - needs - {gid}:  # PAM may have been told to give more
        raise NotBecome(f"the groups are {sorted(has)}, not {sorted(needs)}")
    if uid != 0 and (held := _capabilities()):
        raise NotBecome(f"there are capabilities left: {', '.join(held)}")


def own_keyring() -> None:
    """A session keyring of our own: the one that PAM has made is revoked when this process ends, and jobs stay."""
    number = _KEYCTL.get(platform.machine())
    if number is not None:
        keyctl = ctypes.CDLL(None).syscall
        if keyctl(number, _JOIN_SESSION_KEYRING, None, 0, 0, 0) >= 0:
            keyctl(number, _LINK, _USER_KEYRING, _SESSION_KEYRING, 0, 0)


def _capabilities() -> list[str]:
    lines = [
        line.split() for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    ]
    sets = {line[0].rstrip(":"): int(line[1], 16) for line in lines if line and line[0].startswith("Cap")}
    return [name for name in ("CapPrm", "CapEff", "CapAmb") if sets.get(name)]
