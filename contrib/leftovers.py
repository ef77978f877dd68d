"""Find processes that belong to a scratch directory: its path is in their arguments, environment or working directory.

    leftovers.py DIR [--wait SECS] [--kill]

Prints what is still there after `--wait` seconds and exits 1, or prints nothing and exits 0. `--kill` ends what it
found, so that a failed run leaves no process either. The caller and its ancestors never count.
"""

import argparse
import os
import select
import signal
import sys
import time


def ancestors() -> set[int]:
    """This process and everything that started it."""
    found, pid = set(), os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        with open(f"/proc/{pid}/stat", "rb") as stat:
            pid = int(stat.read().rpartition(b")")[2].split()[1])
    return found


def read(path: str) -> bytes:
    """The file's bytes; nothing if the process has gone or is not ours to look at."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def working_directory(pid: int) -> bytes:
    """The process's working directory; nothing if it has gone."""
    try:
        return os.readlink(f"/proc/{pid}/cwd").encode()
    except OSError:
        return b""


def leftovers(directory: str) -> dict[int, str]:
    """Processes that name `directory`: pid and command line."""
    mark, spared, found = directory.encode(), ancestors(), {}
    for pid in (int(name) for name in os.listdir("/proc") if name.isdigit()):
        if pid in spared:
            continue
        command = read(f"/proc/{pid}/cmdline")
        if mark in command or mark in read(f"/proc/{pid}/environ") or mark in working_directory(pid):
            found[pid] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def wait_until_gone(directory: str, secs: float) -> dict[int, str]:
    """What is left once everything has gone or `secs` are over."""
    deadline = time.monotonic() + secs
    while (found := leftovers(directory)) and time.monotonic() < deadline:
        select.select([], [], [], 0.05)
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL, at once."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> int:
    """See the module's text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECS")
    parser.add_argument("--kill", action="store_true")
    arguments = parser.parse_args()
    found = wait_until_gone(arguments.directory, arguments.wait)
    for pid, command in found.items():
        print(f"still running: {pid} {command}", file=sys.stderr)
    if arguments.kill:
        kill(list(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
