"""What one daemon for all users needs of the machine: places that users come to and cannot change, and a way to become
them."""

import pwd
import sys
from collections.abc import Iterator
from pathlib import Path

from gflow.config import ConfigError
from gflow.daemon.finding import NOTE, OK, PROBLEM, Finding, Place
from gflow.users.becoming import has_pam
from gflow.users.helper import closed_programs
from gflow.users.places import Places, UnsafePlace, check_place


def system(place: Place) -> Iterator[Finding]:
    """Nothing about a daemon of one's own."""
    if place.system:
        yield from _directories(Places.beside(place.data_dir, place.socket))
        yield from _programs()
        yield from _becoming()
        yield from _authentication(place)


def _directories(places: Places) -> Iterator[Finding]:
    for directory in (places.jobs, places.logs, places.sockets):
        if directory.exists():
            yield from public(directory)


def public(directory: Path) -> Iterator[Finding]:
    """Whether users can come to a directory that only root may change."""
    try:
        check_place(directory)
    except UnsafePlace as error:
        what, _, remedy = str(error).rpartition(": ")
        yield Finding(PROBLEM, what, remedy)
        return
    yield Finding(OK, f"{directory} is root's, and users can come there")


def _programs() -> Iterator[Finding]:
    closed = closed_programs()
    for path in closed:
        yield Finding(PROBLEM, f"{path} keeps users from gflow or its Python", _about(path))
    if not closed:
        yield Finding(OK, f"users can run {sys.executable}")


def _about(closed: Path) -> str:
    """A home is closed for good reason, and stays so."""
    root = Path(pwd.getpwuid(0).pw_dir)
    if closed.is_relative_to(root) or closed.stat().st_uid != 0:
        return "install gflow, and its Python, where all users can read them, as in /opt/gflow; leave homes closed"
    return f"run: chmod o+rx {closed}"


def _becoming() -> Iterator[Finding]:
    if has_pam():
        yield Finding(OK, "jobs have the limits that PAM gives their users")
    else:
        what = "there is no runuser with PAM: jobs have the limits of the daemon"
        yield Finding(NOTE, what, "for those of /etc/security/limits.conf install util-linux with its PAM files")


def _authentication(place: Place) -> Iterator[Finding]:
    try:
        auth = place.settings().daemon.auth
    except ConfigError:
        return
    if auth == "none":
        what = 'daemon.auth = "none" lets everybody submit under any name, and jobs run as who submits them'
        yield Finding(PROBLEM, what, "take it out of the configuration: a daemon would not start with it")
