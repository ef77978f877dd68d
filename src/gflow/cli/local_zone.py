"""What the time zone of this machine is called, for people who are asked whether it is the one they mean.

The C library knows rules, no names: the name is where the rules are from, TZ or the link /etc/localtime.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

from gflow.core.zones import named

LOCALTIME = Path("/etc/localtime")
TIMEZONE = Path("/etc/timezone")
"""Where Debian writes the name down; the rules may be a copy instead of a link."""

_TABLES = "/zoneinfo/"
_VARIANTS = ("posix/", "right/")


def local_zone(environ: Mapping[str, str]) -> str:
    """The IANA name, as `Europe/Berlin`; where nobody knows one, what the clocks show, as `UTC+01:00`."""
    candidate = environ["TZ"].removeprefix(":") or "UTC" if "TZ" in environ else _of_machine()
    name = candidate.partition(_TABLES)[2] or candidate
    for variant in _VARIANTS:
        name = name.removeprefix(variant)
    return name if _is_known(name) else _offset()


def _of_machine() -> str:
    if LOCALTIME.is_symlink():
        return os.path.normpath(LOCALTIME.parent / os.readlink(LOCALTIME))
    if not LOCALTIME.exists():
        return "UTC"
    return TIMEZONE.read_text(errors="replace").strip() if TIMEZONE.is_file() else ""


def _is_known(name: str) -> bool:
    try:
        return bool(named(name).name)
    except ValueError:
        return False


def _offset() -> str:
    shown = time.strftime("%z")
    return f"UTC{shown[:3]}:{shown[3:5]}"
