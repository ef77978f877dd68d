"""A wall clock for a daemon that a test can set: a library to preload, and the file that says how far it is ahead."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_SOURCE = Path(__file__).with_name("clockstep.c")


def build_library(directory: Path) -> Path:
    """Build the library to preload; skips the test where there is no compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a steppable clock with")
    built = directory / "clockstep.so"
    flags = ("-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
    subprocess.run([compiler, *flags, "-o", built, _SOURCE, "-ldl"], check=True)
    return built


class Clock:
    """The wall clock of the daemon under test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, ahead_secs: int) -> None:
        """Let it be so far ahead of the machine's."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(ahead_secs.to_bytes(8, sys.byteorder, signed=True))

    def environment(self, library: Path) -> dict[str, str]:
        """What a process that goes by it has to have."""
        return {"LD_PRELOAD": os.fspath(library), "CLOCKSTEP_FILE": os.fspath(self.path)}
