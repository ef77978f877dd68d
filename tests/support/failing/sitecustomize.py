"""A disk that fails, under the real daemon: Python loads this at start if its directory is in PYTHONPATH.

The file named by GFLOW_TEST_DISK says what the disk does just now: nothing (""), fail with an error ("ENOSPC"), or not
answer ("hang").
"""

import errno
import os
import threading
from pathlib import Path

CHANGING = ("create", "open_in_place", "write", "overwrite", "sync", "sync_file", "replace", "make_directory")
PAUSE_SECS = 0.02


def make_faulty(control: Path) -> None:
    from gflow.store.disk import Disk

    def obedient(real):
        def call(*args):
            while (word := control.read_text().strip()) == "hang":
                threading.Event().wait(PAUSE_SECS)
            if word:
                number = getattr(errno, word)
                raise OSError(number, os.strerror(number))
            return real(*args)

        return call

    for name in CHANGING:
        setattr(Disk, name, obedient(getattr(Disk, name)))


if "GFLOW_TEST_DISK" in os.environ:
    make_faulty(Path(os.environ["GFLOW_TEST_DISK"]))
