"""What keeps jobs to their memory here: a daemon that runs says so, otherwise what it would find is looked up."""

import os
from collections.abc import Iterator

from gflow.daemon import hosting
from gflow.daemon.finding import NOTE, OK, Finding, Place
from gflow.daemon.units import Host, runs_systemd
from gflow.launch.cgroups import why_no_controller, why_unavailable

_WATCHED = "a job over its --memory is ended all the same, only a little later"


def limits(place: Place) -> Iterator[Finding]:
    """Whether it is the kernel or a watch, and why."""
    running = hosting.find(place.socket, place.data_dir)
    told = (running.status or {}).get("limits") if running is not None else None
    if told is not None:
        yield _said(None if told["memory"] == "cgroup" else told["why"], place)
    elif running is not None:
        what = "what keeps limits of memory is told by a daemon that answers"
        yield Finding(NOTE, what, f"this one (pid {running.pid}) does not: {place.restart}")
    elif Host(system=place.system).installed:
        yield Finding(NOTE, "what keeps limits of memory is told once gflowd runs", f"start it with: {place.start}")
    else:
        yield _said(why_unavailable(os.getpid()), place)


def _said(why: str | None, place: Place) -> Finding:
    if why is None:
        return Finding(OK, "limits of memory are kept by the kernel (cgroup v2)")
    could_have = why_no_controller() is None and runs_systemd() and not Host(system=place.system).installed
    install = f"gflowd service install{' --system' if place.system else ''}"
    remedy = f"the kernel keeps them for jobs of a service of systemd: {install}"
    what = f"limits of memory are watched, about once a second: {why}"
    return Finding(NOTE, what, remedy if could_have else _WATCHED)
