"""What machine the numbers come from."""

import datetime
import os
import pathlib
import platform
import subprocess
import time


def output(*command: str) -> str:
    """What a command prints, stripped; empty if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def processor() -> str:
    """The processor's name as the kernel gives it."""
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.machine()


def syncs_per_sec(scratch: pathlib.Path, count: int = 200) -> float:
    """How many times a second 600 bytes can be appended to a file and synced: the bound of one durable client."""
    path = scratch / "sync"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    begun = time.perf_counter()
    for _ in range(count):
        os.write(file, bytes(600))
        os.fdatasync(file)
    secs = time.perf_counter() - begun
    os.close(file)
    path.unlink()
    return count / secs


def facts(scratch: pathlib.Path) -> list[str]:
    """Lines for the head of the report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = output("git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--dirty")
    return [
        f"Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}" + (f", commit {commit}" if commit else ""),
        f"Machine: {os.cpu_count()} cores ({processor()}), {memory:.0f} GiB, {platform.system()} {platform.release()}",
        f"Software: Python {platform.python_version()}, {output('tmux', '-V')}",
        f"Disk: {syncs_per_sec(scratch):.0f} appends of 600 bytes with fdatasync each second, one after another",
    ]
