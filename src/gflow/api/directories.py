"""Whether working directories are there: on the machine that the daemon, and with it the job, is on."""

import math
import os
import stat
from collections.abc import Iterable
from functools import partial

import trio

from gflow.api.services import Services
from gflow.core.errors import Impossible

KNOWN_SECS = 10.0
"""How long a directory that was there is taken to be there; the launch looks again in any case."""

MOST_KNOWN = 1000
LOOK_SECS = 10.0


async def check(services: Services, wanted: Iterable[str]) -> None:
    """Raise Impossible for a working directory that is not there.

    Where jobs run as their submitters the launch looks, as him: root must not tell who may not look himself.
    """
    if services.submitters is not None:
        return
    now, seen = trio.current_time(), services.seen_directories
    unknown = {path for path in wanted if seen.get(path, -math.inf) < now - KNOWN_SECS}
    if not unknown:
        return
    try:
        missing = await services.patience.within(LOOK_SECS, None, partial(_first_missing, unknown))
    except TimeoutError:
        return  # on a disk that hangs: for the launch to find out
    if missing is not None:
        raise Impossible(f"The working directory '{missing}' does not exist, or is not a directory")
    if len(seen) >= MOST_KNOWN:
        seen.clear()
    seen.update(dict.fromkeys(unknown, now))


def _first_missing(directories: set[str]) -> str | None:
    for path in directories:
        try:
            if path.startswith("/") and not stat.S_ISDIR(os.stat(path).st_mode):
                return path
        except (FileNotFoundError, NotADirectoryError):
            return path
        except (OSError, ValueError):
            continue  # what may not be looked at is for the launch to find out
    return None
