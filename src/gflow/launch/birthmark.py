"""A mark of its launch that every process of a job is born with, and keeps whatever it does to become a daemon.

Sessions are left, parents die, and environments are cleared by whoever wants to run in the background properly. Limits
(setrlimit(2)) are inherited through all of that, and the kernel takes no notice of one of them: that of file locks
(RLIMIT_LOCKS) was for Linux before 2.4.25. So the wrapper lowers it to a number that stands for the launch. Anybody may
lower it further, and raise it again as root only.
"""

import re
from hashlib import blake2b

_BYTES = 7
"""Of the number: shells read it as one of 63 bits."""

_LIMIT = re.compile(rb"^Max file locks +(\d+) ", re.MULTILINE)


def mark_of(run_id: str) -> int:
    """The number that stands for a launch."""
    return int.from_bytes(blake2b(run_id.encode(errors="surrogateescape"), digest_size=_BYTES).digest())


def mark_in(limits: bytes) -> int | None:
    """The number in what /proc/PID/limits has, None if there is none."""
    found = _LIMIT.search(limits)
    return int(found[1]) if found else None


def shell_line(run_id: str) -> str:
    """What the wrapper does: dash and busybox call the limit -w, bash calls it -x."""
    mark = mark_of(run_id)
    return f"command ulimit -w {mark} || command ulimit -x {mark}\n"
