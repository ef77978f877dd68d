"""The environment a process was started with, as far as one may wait for it.

A process can show what it likes for its environment, as large as it likes, and can keep whoever reads it waiting. So it
is read only of processes of our own user, in a thread that is left behind when it takes too long, and not to the end.
"""

import contextlib
import os
import threading
from collections.abc import Collection

from gflow.launch.processes import real_user_of

_MOST_BYTES = 6 << 20
"""execve(2) takes no more, arguments included."""

_SECS = 5.0


def variables_of(pid: int, names: Collection[str]) -> dict[str, str]:
    """Those of the variables the process `pid` was started with; none if it cannot be told in time. Blocks."""
    if real_user_of(pid) != os.getuid():
        return {}
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(_environ(pid)), daemon=True)
    thread.start()
    thread.join(_SECS)
    return {name: value for name in names for value in _values(b"".join(read), name)[:1]}


def _values(environ: bytes, name: str) -> list[str]:
    start = b"\0%s=" % os.fsencode(name)
    _, found, rest = (b"\0" + environ).partition(start)
    return [os.fsdecode(rest.partition(b"\0")[0])] if found else []


def _environ(pid: int) -> bytes:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
        return file.read(_MOST_BYTES)
    return b""
