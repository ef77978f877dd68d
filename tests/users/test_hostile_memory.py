"""Whatever a user does to the memory of a process of his, nobody waits for it: no job, no limit, no list, no daemon."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import hostile_memory
from support.several_users import SystemDaemon, User, interpreter
from support.wait import until

pytestmark = pytest.mark.once

PROGRAM = [interpreter() or "python3", "-I", hostile_memory.__file__]
SOON_SECS = 10.0
MISERLY = 32 << 20
"""What a look at 64 MiB that somebody claims may take at most."""


def started(user: User, *words: str) -> "subprocess.Popen[bytes]":
    return user.start(*PROGRAM, *words, stdout=subprocess.PIPE, start_new_session=True)


def said(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


@contextlib.contextmanager
def ending(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def fuse(system: SystemDaemon, ben: User) -> Iterator[list[str]]:
    """What makes a process of ben's get stuck. On most machines everybody may open the device."""
    device, place = system.root / "fuse", system.root / "place"
    try:
        os.mknod(device, 0o600 | 0o020000, os.makedev(10, 229))
        os.close(os.open(device, os.O_RDWR))
    except OSError as error:
        pytest.skip(f"no file systems of users (FUSE) here: {error.strerror}")
    device.chmod(0o666)
    place.mkdir()
    os.chown(place, ben.uid, ben.gid)
    yield ["stuck", str(device), str(place)]
    device.unlink()
    until(lambda: _removed(place), "the end of the file system")


def _removed(place: Path) -> bool:
    with contextlib.suppress(OSError):
        place.rmdir()
    return not place.exists()


def wait_stuck(pid: int) -> None:
    def hangs() -> bool:
        with subprocess.Popen(["cat", f"/proc/{pid}/cmdline"], stdout=subprocess.DEVNULL) as reader:
            try:
                reader.wait(0.5)
            except subprocess.TimeoutExpired:
                reader.kill()
                return True
        return False

    try:
        until(hangs, "a memory map that is stuck", 10)
    except AssertionError:
        pytest.skip("this kernel does not let a memory map get stuck in this way")


def timed(act: Callable[[], Any]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def status(pid: int, field: str) -> int:
    """In bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:"))


def test_an_environment_is_not_read_however_large(system: SystemDaemon, ana: User, ben: User) -> None:
    system.wait_job(system.submit_as(ana, "true"))
    with ending(started(ben, "environment", "64")) as giant:
        assert said(giant) == b"claimed\n"
        Path(f"/proc/{system.pid}/clear_refs").write_text("5")  # the highest is the present one again
        before = status(system.pid, "VmRSS")
        assert system.wait_job(system.submit_as(ana, "true"))["state"] == "Finished"
        assert status(system.pid, "VmHWM") < before + MISERLY


def test_another_user_s_stuck_process_keeps_no_job_from_its_end(
    system: SystemDaemon, ana: User, ben: User, fuse: list[str]
) -> None:
    with ending(started(ben, *fuse)) as program:
        wait_stuck(int(said(program)))
        assert timed(lambda: system.wait_job(system.submit_as(ana, "true"))) < SOON_SECS
        limited = system.submit_as(ana, "exec sleep 1000", time_limit=1)
        assert timed(lambda: system.wait_job(limited)) < SOON_SECS
        assert system.job(limited)["state"] == "Timeout"


def test_a_job_with_a_stuck_process_is_a_matter_of_its_user_s(
    system: SystemDaemon, ana: User, ben: User, fuse: list[str]
) -> None:
    job_id = system.submit_as(ben, " ".join(["exec", *PROGRAM, *fuse]), memory_limit_mb=150)
    system.wait_log(job_id)
    wait_stuck(int(system.log(job_id)))
    hog = system.submit_as(ana, f"exec {PROGRAM[0]} -c 'x = bytearray(99 << 20); input()'", memory_limit_mb=50)
    assert timed(lambda: system.wait_job(hog)) < SOON_SECS
    assert "out of memory" in system.job(hog)["status_detail"]
    for _ in range(3):
        shown = system.ask(ben, "GET", f"/jobs/{job_id}/processes").body["processes"]
        assert len(shown) == 3
        assert any(process["command"].startswith("[") for process in shown)
    assert system.job(job_id)["state"] == "Running"
    assert timed(system.stop) < SOON_SECS
    system.start()
    system.ask(ben, "POST", f"/jobs/{job_id}/cancel")
    assert timed(lambda: system.wait_job(job_id)) < SOON_SECS


def test_the_mark_of_another_s_job_keeps_it_from_nothing(system: SystemDaemon, ana: User, ben: User) -> None:
    job_id = system.submit_as(ana, "echo on; exec sleep 1000")
    system.wait_log(job_id)
    members = [process["pid"] for process in system.ask(ana, "GET", f"/jobs/{job_id}/processes").body["processes"]]
    limits = Path(f"/proc/{members[0]}/limits").read_text().splitlines()
    mark = next(line for line in limits if line.startswith("Max file locks")).split()[3]
    with ending(ben.start("bash", "-c", f"ulimit -x {mark} && exec sleep 1000", start_new_session=True)) as liar:
        until(lambda: mark in Path(f"/proc/{liar.pid}/limits").read_text(), "the mark")
        system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
        assert timed(lambda: system.wait_job(job_id)) < SOON_SECS
        assert liar.poll() is None
