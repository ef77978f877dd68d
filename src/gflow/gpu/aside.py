"""A look at the GPUs in a process of its own: a library of the driver that hangs or crashes takes nobody along."""

import contextlib
import json
import os
import signal as signals
import subprocess
import sys
from dataclasses import dataclass

import gflow
from gflow.core.model import Gpu
from gflow.gpu.base import Probe, ProbeReading, Reading

_END_SECS = 1.0
_LIBRARIES = os.path.dirname(os.path.dirname(gflow.__file__))
_MAIN = """\
import sys
sys.path.insert(0, sys.argv[1])
from gflow.gpu.aside import tell
from gflow.gpu.nvml import Nvml
tell(Nvml())
"""


@dataclass(frozen=True, slots=True)
class Crash(ProbeReading):
    """The look ended in a crash by this `signal`; `trouble` says so."""

    signal: int = 0


def look(deadline_secs: float) -> ProbeReading | None:
    """What the driver says; None if it says nothing within the deadline."""
    asking = subprocess.Popen(
        [sys.executable, "-P", "-c", _MAIN, _LIBRARIES],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        said, _ = asking.communicate(timeout=deadline_secs)
    except subprocess.TimeoutExpired:
        asking.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # what waits for a driver may not even be killed
            asking.communicate(timeout=_END_SECS)
        return None
    if asking.returncode < 0:
        name = signals.Signals(-asking.returncode).name
        return Crash(trouble=f"the library of the NVIDIA driver crashes ({name})", signal=-asking.returncode)
    return _read(said)


def tell(probe: Probe) -> None:
    """In that process: look, and write what is seen as the last line of standard output."""
    seen = probe.read()
    devices = [(one.gpu.index, one.gpu.uuid, one.gpu.name, one.gpu.memory_mb, one.fault) for one in seen.readings]
    sys.stdout.write(f"\n{json.dumps([seen.trouble, devices])}\n")


def _read(said: bytes) -> ProbeReading:
    try:
        trouble, devices = json.loads(said.splitlines()[-1])
        readings = tuple(Reading(Gpu(*about), fault=fault) for *about, fault in devices)
    except (ValueError, IndexError):
        return ProbeReading(trouble="the look at the GPUs ended without a word")
    return ProbeReading(readings, trouble)
