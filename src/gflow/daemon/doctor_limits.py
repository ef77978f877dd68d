"""What keeps jobs to their memory here: a daemon that runs says so, otherwise what it would find is looked up."""

import os
from collections.abc import Iterator

from gflow.daemon import hosting
from gflow.daemon.finding import NOTE, OK, Finding, Place
from gflow.daemon.limits import NO_CGROUPS
from gflow.daemon.units import Host, runs_systemd
from gflow.launch.cgroups import why_unavailable


def limits(place: Place) -> Iterator[Finding]:
    """Whether it is the kernel or a watch, and why."""
    running = hosting.find(place.socket, place.data_dir)
    told = (running.status or {}).get("limits") if running is not None else None
    if running is not None and running.health is None:
        return  # it hangs, which is told elsewhere; nothing that starts one would help
    if told is not None:
        yield _said(None if told["memory"] == "cgroup" else told["why"], place)
    elif place.system:
        yield _said(NO_CGROUPS, place)
    elif Host().installed:
        yield Finding(NOTE, "what keeps limits of memory is told once gflowd runs", f"start it with: {place.start}")
    else:
        yield _said(why_unavailable(os.getpid()), place)


def _said(why: str | None, place: Place) -> Finding:
    if why is None:
        return Finding(OK, "limits of memory are kept by the kernel (cgroup v2)")
    could_have = runs_systemd() and not place.system and not Host().installed
    remedy = "the kernel keeps them for jobs of a service of systemd: gflowd service install"
    what = f"limits of memory are watched, about once a second: {why}"
    return Finding(NOTE, what, remedy if could_have else "see docs/limits.md")
