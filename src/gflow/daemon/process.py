"""The process that a daemon is: its lock, its limits, and daemons in it one after the other; at last another program.

A daemon in recovery is followed by another once the state can be read again. Everything that keeps one from starting
becomes CannotStart here.
"""

import os
import resource
import signal

import trio

from gflow import clock
from gflow.daemon.configured import CannotStart, check_auth
from gflow.daemon.cycles import short_searches
from gflow.daemon.endpoints import SocketInUse
from gflow.daemon.handover import HandedOver, replace
from gflow.daemon.loopback import CannotListen
from gflow.daemon.run import Daemon
from gflow.daemon.settings import Settings
from gflow.daemon.signals import HEEDED, Terminal
from gflow.daemon.systemd import adopt
from gflow.launch.tmux_server import TmuxUnusable
from gflow.store.disk import private_directory
from gflow.store.errors import Unreadable
from gflow.store.lock import DataLock, Held
from gflow.users.places import UnsafePlace, open_directory


def serve(settings: Settings) -> None:
    """Run a daemon until SIGTERM, SIGINT, or its terminal is gone. Raises CannotStart."""
    try:
        _serve(settings)
    except (Held, SocketInUse, CannotListen, TmuxUnusable, Unreadable, UnsafePlace) as error:
        raise CannotStart(str(error)) from error
    except OSError as error:
        what = f"{error.filename}: " if error.filename is not None else ""
        raise CannotStart(f"{what}{error.strerror or error}") from error


def _serve(settings: Settings) -> None:
    os.umask(0o077)
    if settings.system:
        _check_system(settings)
    else:
        private_directory(settings.socket.parent)
    handed = settings.handed_over
    if handed is None and (sock := adopt(settings.given, settings.socket)) is not None:
        handed = HandedOver(sock, of_systemd=True)
    terminal = Terminal()
    daemon = _serve_locked(settings, terminal, handed)
    if daemon.leaving.replacement is not None:
        terminal.hand_over()
        replace(daemon.leaving.replacement, settings.given)


def _serve_locked(settings: Settings, terminal: Terminal, handed: HandedOver | None) -> Daemon:
    """Daemons one after the other, the last of which is returned when it has left."""
    with DataLock(settings.data_dir, socket=str(settings.socket), started=clock.read().wall):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        heard = list[int]()
        again = True
        while again and not any(map(terminal.asks_to_stop, heard)):
            resource.setrlimit(resource.RLIMIT_NOFILE, limit)
            daemon = Daemon(settings, terminal, heard, handed)
            _raise_descriptor_limit()  # after the launcher has noted the limit that jobs are to have
            for number in HEEDED:  # between two daemons, too, one is heard
                signal.signal(number, lambda number, _: heard.append(number))
            again = _run(daemon)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    return daemon


def _check_system(settings: Settings) -> None:
    """What one daemon for all users needs. Raises CannotStart, UnsafePlace."""
    if os.geteuid() != 0:
        raise CannotStart(
            "--system is for root: it runs every job as its submitter; leave it out for a daemon of your own"
        )
    check_auth(settings.config)
    open_directory(settings.socket.parent, 0o755)
    assert settings.places is not None
    private_directory(settings.data_dir)
    settings.places.prepare()


def _run(daemon: Daemon) -> bool:
    """Whether another daemon is to take over in this process: in a recovery, once the state can be read again."""
    try:
        with short_searches():
            return trio.run(daemon.run, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first_cause(group) from group


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What one service fell over; a nursery wraps even a single error."""
    first = group.exceptions[0]
    return _first_cause(first) if isinstance(first, BaseExceptionGroup) else first


def _raise_descriptor_limit() -> None:
    """Each running job costs two descriptors; the usual soft limit of 1024 is for programs that use select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
