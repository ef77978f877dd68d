"""What may keep gflow from working on this machine: looked at from outside, with and without a daemon.

Each check is a function of the place it looks at and says what it found: that all is well, something worth knowing, or
a problem with what to do about it. Nothing is changed but a file that is written and removed to see whether that works.
"""

import getpass
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gflow import paths
from gflow.config import ConfigError
from gflow.daemon import doctor_tmux, hosting
from gflow.daemon.doctor_client import client
from gflow.daemon.doctor_files import files, stale_lock
from gflow.daemon.doctor_limits import limits
from gflow.daemon.doctor_machine import about_no_gpus, about_the_clock
from gflow.daemon.doctor_notifications import notifications
from gflow.daemon.doctor_system import public, system
from gflow.daemon.doctor_unit import enabled
from gflow.daemon.finding import NOTE, OK, PROBLEM, Finding, Place
from gflow.daemon.tls import UnusableCertificate, names_of, server_context
from gflow.daemon.units import Host, lingers, runs_systemd
from gflow.gpu import aside
from gflow.gpu.base import ProbeReading
from gflow.launch import logout

LITTLE_BYTES = 1 << 30
"""Less room than this is worth a note: a training's log can be as large."""

TOO_LITTLE_BYTES = 64 << 20
"""With less the state cannot be written anew."""

FEW_FILES = 1000
DRIVER_SECS = 10.0
CALL_SECS = 5.0
SOCKET_PATH_BYTES = 107
A_SANE_YEAR = 2024


def examine(place: Place) -> Iterator[Finding]:
    """Everything that is found, check by check."""
    for check in _CHECKS:
        try:
            yield from check(place)
        except subprocess.TimeoutExpired as error:
            asked = " ".join(error.cmd[:4])
            yield Finding(PROBLEM, f"no answer to '{asked}' in {error.timeout:.0f} s", "see why it hangs")
        except OSError as error:
            where = f"{error.filename}: " if error.filename is not None else ""
            yield Finding(
                PROBLEM, f"{where}{error.strerror or error}", "make it readable for you, or name another place"
            )


def _configuration(place: Place) -> Iterator[Finding]:
    try:
        config = place.settings()
    except ConfigError as error:
        yield Finding(PROBLEM, f"configuration: {error}", "a daemon would not start with it")
        return
    try:
        config.tls()
    except ConfigError as error:
        yield Finding(PROBLEM, f"configuration: {error}", "a daemon would not start with it")
        return
    yield Finding(OK, "the configuration can be used")
    for note in config.unserved():
        yield Finding(NOTE, f"configuration: {note}")


def _certificate(place: Place) -> Iterator[Finding]:
    """What is wrong with the configuration is said elsewhere."""
    try:
        files = place.settings().tls()
    except ConfigError:
        return
    if files is None:
        return
    try:
        names = names_of(files[0], server_context(*files))
    except UnusableCertificate as error:
        yield Finding(
            PROBLEM, str(error), "until then no other machine can come by TCP; gflowd reload takes up one that is right"
        )
        return
    yield Finding(OK, f"the certificate is for {', '.join(sorted(names)) or 'addresses only'}")


def _tmux(_place: Place) -> Iterator[Finding]:
    return doctor_tmux.program(_install("tmux"))


def _gpus(_place: Place) -> Iterator[Finding]:
    reading = look_at_gpus()
    if reading is None:
        what = f"the NVIDIA driver did not answer within {DRIVER_SECS:.0f} s"
        yield Finding(PROBLEM, what, "see dmesg; the GPU may need a reset")
        return
    if isinstance(reading, aside.Crash):
        remedy = "install the library of the driver that is loaded, or restart the machine; gflowd would crash, too"
        yield Finding(PROBLEM, reading.trouble or "", remedy)
        return
    if reading.trouble is not None:
        yield Finding(NOTE, f"no GPUs: {reading.trouble}", about_no_gpus(reading.trouble))
        return
    faults = [one for one in reading.readings if one.fault]
    yield Finding(OK, f"{len(reading.readings)} GPUs, {len(reading.readings) - len(faults)} of them usable")
    for one in faults:
        yield Finding(PROBLEM, f"GPU {one.gpu.index}: {one.fault}", "gflow leaves it out until it is well")


def look_at_gpus() -> ProbeReading | None:
    """What the driver says; None if it says nothing."""
    return aside.look(DRIVER_SECS)


def _data_directory(place: Place) -> Iterator[Finding]:
    data = place.data_dir
    if not data.exists():
        yield Finding(NOTE, f"{data} is not there yet", "the first start makes it")
        data = next(parent for parent in data.parents if parent.exists())
    else:
        yield from _is_private(data)
    try:
        with tempfile.NamedTemporaryFile(dir=data, prefix=".gflow-doctor-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        remedy = "free some room" if error.errno in _FULL else "make it writable for you"
        yield Finding(PROBLEM, f"{data} cannot be written: {error.strerror}", remedy)
    yield from _room(data)


def _is_private(data: Path) -> Iterator[Finding]:
    found = data.stat()
    if found.st_uid != os.geteuid():
        yield Finding(PROBLEM, f"{data} belongs to uid {found.st_uid}", f"run: chown -R {getpass.getuser()} {data}")
    elif found.st_mode & 0o077:
        yield Finding(NOTE, f"{data} is open to others", "the next start closes it")
    else:
        yield Finding(OK, f"{data} is yours alone")


def _room(data: Path) -> Iterator[Finding]:
    found = os.statvfs(data)
    free = found.f_bavail * found.f_frsize
    if free < TOO_LITTLE_BYTES:
        yield Finding(PROBLEM, f"{free >> 20} MiB are free for {data}", "free some room: state and logs go there")
    elif free < LITTLE_BYTES:
        yield Finding(NOTE, f"{free >> 20} MiB are free for {data}", "logs of jobs go there, too")
    else:
        yield Finding(OK, f"{free >> 30} GiB are free for {data}")
    if found.f_files > 0 and found.f_favail < FEW_FILES:
        yield Finding(PROBLEM, f"{found.f_favail} more files fit on the file system of {data}", "remove some")


def _socket(place: Place) -> Iterator[Finding]:
    path, directory = place.socket, place.socket.parent
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
        yield Finding(
            PROBLEM, f"the path {path} is too long for a socket", "set XDG_RUNTIME_DIR or daemon.socket to another"
        )
    if not directory.exists():
        yield Finding(NOTE, f"{directory} is not there yet", "the first start makes it")
        return
    yield from public(directory) if place.system else _private(directory)
    if path.exists() and not stat.S_ISSOCK(path.lstat().st_mode):
        yield Finding(PROBLEM, f"{path} is not a socket", "remove it")


def _private(directory: Path) -> Iterator[Finding]:
    try:
        paths.check_private_directory(os.path.realpath(directory) if _leads_on(directory) else os.fspath(directory))
    except paths.UnsafeDirectory as error:
        what, _, remedy = str(error).partition("; ")
        yield Finding(PROBLEM, what, remedy)
        return
    yield Finding(OK, f"{directory} is yours alone")


def _leads_on(directory: Path) -> bool:
    """Whether it is a link that nobody else can have put there; gflowd goes where that leads."""
    return directory.is_symlink() and directory.lstat().st_uid in (0, os.geteuid())


def _daemon(place: Place) -> Iterator[Finding]:
    found = hosting.find(place.socket, place.data_dir)
    if found is None:
        if place.socket.exists() and not Host(place.system).installed:
            yield Finding(NOTE, f"{place.socket} was left by a daemon that was killed", "the next start replaces it")
        if (lock := stale_lock(place.data_dir)) is not None:
            yield Finding(NOTE, f"{lock} was left by a daemon that was killed", "nothing holds it")
        if (why := hosting.failure(place.socket)) is not None:
            yield Finding(PROBLEM, why, f"once that is mended: gflowd up{' --system' if place.system else ''}")
        elif not place.system and Host(system=True).socket.exists():
            what = "you run no daemon of your own, and commands go to that of all users"
            yield Finding(
                NOTE, what, "for one of your own: gflowd up --own; as root, about that: gflowd doctor --system"
            )
        else:
            yield Finding(NOTE, "gflowd is not running", f"start it with: {place.start}")
    elif found.health is None and (there := hosting.elsewhere(place.socket, place.data_dir)) is not None:
        what = f"gflowd (pid {found.pid}) listens on {there}, not on {place.socket}"
        yield Finding(PROBLEM, what, f"set GFLOW_DAEMON_SOCKET or daemon.socket to that, or run: {place.restart}")
    elif found.health is None:
        yield Finding(PROBLEM, f"gflowd (pid {found.pid}) does not answer on {place.socket}", f"run: {place.restart}")
    elif trouble := (found.status or {}).get("launch_trouble"):
        yield Finding(PROBLEM, f"gflowd (pid {found.pid}) can launch nothing: {trouble}", "it tries again by itself")
    elif (status := found.health.get("status")) == "ok":
        yield Finding(OK, f"gflowd is well (pid {found.pid})")
    else:
        remedy = _MEND if status == "recovery" else "make it writable, or free some room; gflowd goes on by itself then"
        yield Finding(PROBLEM, f"gflowd (pid {found.pid}): {status}: {found.health.get('detail')}", remedy)


def _sessions(place: Place) -> Iterator[Finding]:
    """Terminals of jobs that nobody accounts, for want of a daemon or because it does not know them. Those of users are
    not root's to look at."""
    tmux = shutil.which("tmux")
    if tmux is None or place.system:
        return
    runs = hosting.find(place.socket, place.data_dir) is not None
    for server in sorted(place.socket.parent.glob("tmux-*.sock")):
        names = doctor_tmux.sessions([tmux, "-N", "-S", os.fspath(server)], CALL_SECS, living=runs)
        if runs:
            yield from doctor_tmux.unknown(place, server, names)
        elif names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            what = f"terminals of jobs are open without a daemon: {shown}"
            yield Finding(NOTE, what, f"{place.start} takes them up again")


def _clock(_place: Place) -> Iterator[Finding]:
    now = time.gmtime()
    if now.tm_year < A_SANE_YEAR:
        yield Finding(
            PROBLEM, f"the clock says {time.strftime('%Y-%m-%d', now)}", "set it: begin times and reservations need it"
        )
        return
    unkept = about_the_clock()
    if unkept is not None:
        yield unkept
    else:
        yield Finding(OK, f"the clock says {time.strftime('%Y-%m-%d %H:%M %Z')}")


def _systemd(place: Place) -> Iterator[Finding]:
    user, installed = getpass.getuser(), Host(place.system).installed
    if installed and place.system:
        yield Finding(OK, "gflowd is a service of systemd for all users")
    elif installed and not lingers(user):
        what = f"the daemon and its jobs end when {user} logs out"
        yield Finding(NOTE, what, f"run: loginctl enable-linger {user}")
    elif installed:
        yield Finding(OK, f"gflowd is a service of systemd, and goes on when {user} logs out")
    elif runs_systemd():
        install = f"gflowd service install{' --system' if place.system else ''}"
        yield Finding(NOTE, "gflowd is not a service of systemd", f"to have it started at each boot: {install}")
    else:
        yield Finding(NOTE, "this machine does not run systemd", f"start gflowd at each boot yourself: {place.start}")


_MEND = (
    "jobs run on; gctl state check says of each file what is wrong and what to do. If damaged ones have no good copy,"
    " move state.msgpack* and wal* to another directory, and nothing else; gflowd takes either up by itself"
)


def _logout(place: Place) -> Iterator[Finding]:
    """Of a service `_systemd` speaks."""
    if place.system or Host().installed:
        return
    running = hosting.find(place.socket, place.data_dir)
    remedy = logout.remedy(running.pid if running is not None else None)
    if remedy is not None:
        yield Finding(NOTE, "the daemon and its jobs end when you log out", f"run: {remedy}")


_FULL = (28, 122)  # ENOSPC, EDQUOT
_CHECKS = (
    _configuration,
    notifications,
    _certificate,
    client,
    _tmux,
    _gpus,
    limits,
    _data_directory,
    files,
    _socket,
    system,
    _daemon,
    _sessions,
    doctor_tmux.servers,
    _clock,
    _systemd,
    _logout,
    enabled,
)


def _install(package: str) -> str:
    """The command that installs a package here."""
    for program, words in (("apt-get", "install"), ("dnf", "install"), ("pacman", "-S"), ("zypper", "install")):
        if shutil.which(program):
            return f"sudo {program} {words} {package}"
    return f"install {package} with the package manager of this machine"
