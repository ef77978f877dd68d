"""Whether systemd will start the daemon at the next boot: a unit may be there, run, and be switched off."""

from collections.abc import Iterator

from gflow.daemon.finding import NOTE, Finding, Place
from gflow.daemon.units import SERVICE, SOCKET, Host, UnitFailed


def enabled(place: Place) -> Iterator[Finding]:
    """Nothing where there is no unit, or no systemd to ask."""
    host = Host(place.system)
    if not host.installed:
        return
    try:
        how = host.state().get("UnitFileState")
    except UnitFailed:
        return
    verbs = {"disabled": "enable", "masked": "unmask"}
    if how in verbs:
        systemctl = "systemctl" if place.system else "systemctl --user"
        what = f"{SERVICE} is {how}: nothing starts gflowd at the next boot"
        yield Finding(NOTE, what, f"run: {systemctl} {verbs[how]} {SOCKET} {SERVICE}")
