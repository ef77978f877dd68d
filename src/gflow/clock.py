"""The one place that reads the clocks."""

import time
from pathlib import Path

from gflow.core.model import Now


def read() -> Now:
    """The wall clock and CLOCK_BOOTTIME, both in seconds."""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def boot_id() -> str:
    """A name for the time since this machine was last started; CLOCK_BOOTTIME means nothing across two of them."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
