"""Whether this process may have cgroups whose memory is limited; if not, tests that need some say why they are skipped.

On a machine without them, `contrib/cgroups` runs these tests under a kernel of their own.
"""

import os
import tempfile
from pathlib import Path

import pytest

from gflow.launch.cgroups import Cgroups, Unavailable


def _why_not() -> str | None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            made = Cgroups.open(Path(directory), os.getpid())
        except Unavailable as trouble:
            return str(trouble)
    made.directory.rmdir()
    return None


WHY_NOT = _why_not()

needs_memory_controller = pytest.mark.skipif(WHY_NOT is not None, reason=f"no limits by cgroup: {WHY_NOT}")
