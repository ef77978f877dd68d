"""Which time zone times are read and shown in: `--timezone`, else `timezone` of the configuration file, else local."""

from __future__ import annotations

import os

from gflow.cli.command import Failure
from gflow.client.settings import timezone
from gflow.core.zones import Zone, hint, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

LOCAL = "local"
"""What --timezone calls the zone of this process."""

_LOCALTIME = "/etc/localtime"


def chosen(values: Values) -> Zone:
    """The zone for the options --timezone and --config. Raises Failure for a bad setting."""
    flag = values["timezone"]
    if flag is not None:
        return local() if flag == LOCAL else named(flag)
    path, name = timezone(values["config"])
    if name is None:
        return local()
    try:
        return known(name)
    except ValueError as error:
        raise Failure(f"{path}: timezone: {error}") from None


def known(name: str) -> Zone:
    """The zone with this name. Raises ValueError, which says what was probably meant."""
    try:
        return named(name)
    except ValueError as error:
        said = hint(name)
        raise ValueError(f"{error} ({said})" if said is not None else str(error)) from None


def local() -> Zone:
    """The zone of this process, with its name if the system tells."""
    setting = os.environ.get("TZ")
    if setting is not None:
        name = setting.removeprefix(":")
        # anything else may be a rule of its own, such as CET-1CEST,M3.5.0/2,M10.5.0/3
        return Zone(name if "/" in name and "," not in name and name[0] != "/" else None)
    try:
        target = os.readlink(_LOCALTIME)
    except OSError:
        return Zone()
    return Zone(target.partition("zoneinfo/")[2] or None)
