"""Keeps the search for unused cycles short, however many jobs are in memory.

Python now and then looks through everything for cycles that nobody uses any more, and stops everything meanwhile:
170 ms with 100,000 jobs. Jobs have no cycles and stay for long, so what such a search has found in use is not looked at
again (`gc.freeze`, which sets aside what is there, and right after a search that is what is in use). What of it becomes
an unused cycle later would never be found, so once in a while everything is looked at again.
"""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping

EVERYTHING_SECS = 3600.0
"""Between two searches through everything, at least."""

_OLDEST = 2
"""The generation with which everything that is not set aside is searched."""


@contextlib.contextmanager
def short_searches(clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Inside, each search leaves out what an earlier one has found in use, for `EVERYTHING_SECS`."""
    gc.collect()
    gc.freeze()
    everything_at = clock() + EVERYTHING_SECS

    def around(phase: str, search: Mapping[str, int]) -> None:
        nonlocal everything_at
        if search["generation"] != _OLDEST:
            return
        if phase == "stop":
            gc.freeze()
        elif clock() >= everything_at:
            everything_at = clock() + EVERYTHING_SECS
            gc.unfreeze()

    gc.callbacks.append(around)
    try:
        yield
    finally:
        gc.callbacks.remove(around)
        gc.unfreeze()
