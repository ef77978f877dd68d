"""A disk that fails: nothing is acknowledged that is not on it, everybody is told, and it is used again when it works.

The kernel refuses (RLIMIT_FSIZE, a full tmpfs), or a layer under the store says whatever a disk can say.
"""

import errno
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemon import SOURCES, Daemon
from support.wait import until

pytestmark = pytest.mark.once

FAILING = Path(__file__).parent.parent / "support" / "failing"
TOLD_SECS = 20.0


class FaultyDaemon(Daemon):
    """A daemon whose disk does as it is told."""

    def __init__(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix="gfdisk")
        os.close(descriptor)
        self.control = Path(name)
        path = f"{FAILING}{os.pathsep}{SOURCES}"
        super().__init__(environment={"PYTHONPATH": path, "GFLOW_TEST_DISK": name})

    def disk(self, word: str) -> None:
        """An error name, "hang", or "" for a disk that works."""
        new = self.control.with_suffix(".new")
        new.write_text(word)
        new.replace(self.control)

    def close(self) -> None:
        self.disk("")
        try:
            super().close()
        finally:
            self.control.unlink()


@pytest.fixture
def faulty() -> Iterator[FaultyDaemon]:
    with FaultyDaemon() as daemon:
        yield daemon


def hold(daemon: Daemon, command: str = "true"):
    """Try to submit a job that stays in the queue; the answer."""
    return daemon.http("POST", "/jobs", {"command": command, "run_dir": str(daemon.work), "hold": True})


def assert_read_only(daemon: Daemon, why: str, known: set[int]) -> None:
    """The next submission, and with it every change, is refused; looking is not."""
    refused = hold(daemon)
    assert (refused.status, refused.body["code"]) == (503, "unavailable"), refused
    assert why in refused.body["error"]
    health = daemon.http("GET", "/health")
    assert (health.status, health.body["status"], health.body["pid"]) == (503, "read_only", daemon.pid)
    assert why in health.body["detail"]
    started = time.monotonic()
    for method, path in (("POST", f"/jobs/{min(known)}/release"), ("POST", f"/jobs/{min(known)}/cancel")):
        assert daemon.http(method, path).status == 503
    assert time.monotonic() - started < 2, "once it is known that nothing can be written nobody waits any more"
    assert daemon.get(f"/jobs/{min(known)}")["state"] == "Hold"
    assert known <= set(daemon.jobs())


def assert_well_again(daemon: Daemon, known: set[int]) -> None:
    """Without a restart; the job that was refused may have come into being, but no other."""
    until(lambda: daemon.http("GET", "/health").status == 200, "a daemon that is well again", TOLD_SECS)
    made = hold(daemon)
    assert made.status == 201
    assert made.body["id"] not in known
    known.add(made.body["id"])
    assert known <= set(daemon.jobs())


def assert_survives(daemon: Daemon, known: set[int]) -> None:
    """kill -9: everything acknowledged is there."""
    seen = daemon.jobs()
    daemon.kill9()
    daemon.start()
    assert daemon.get("/health")["status"] == "ok"
    assert daemon.jobs() == seen
    assert known <= set(seen)


def test_a_disk_that_refuses(faulty: FaultyDaemon):
    known = {hold(faulty).body["id"] for _ in range(3)}
    for word in ("ENOSPC", "EIO", "EROFS", "EDQUOT", "EFBIG"):
        faulty.disk(word)
        assert_read_only(faulty, os.strerror(getattr(errno, word)), known)
        faulty.disk("")
        assert_well_again(faulty, known)
    assert_survives(faulty, known)


def test_a_disk_that_does_not_answer(faulty: FaultyDaemon):
    known = {hold(faulty).body["id"] for _ in range(3)}
    faulty.disk("hang")
    assert_read_only(faulty, "the disk does not answer", known)
    faulty.disk("")
    assert_well_again(faulty, known)
    assert_survives(faulty, known)


def test_a_daemon_can_be_stopped_while_its_disk_does_not_answer(faulty: FaultyDaemon):
    known = {hold(faulty).body["id"] for _ in range(3)}
    faulty.disk("hang")
    assert hold(faulty).status == 503
    assert faulty.stop(30) == 0
    assert "stopping; changes that could not be written: 1" in faulty.said()
    faulty.disk("")
    faulty.start()
    assert known <= set(faulty.jobs())
    assert hold(faulty).body["id"] not in known


def test_a_job_that_ends_while_nothing_can_be_written_is_accounted_later(faulty: FaultyDaemon):
    mark = faulty.work / "go"
    job_id = faulty.submit(f"until test -e {mark}; do sleep 0.05; done; exit 9")
    faulty.wait_running(job_id)
    known = {hold(faulty).body["id"]}
    faulty.disk("EIO")
    assert_read_only(faulty, "Input/output error", known)
    mark.touch()
    faulty.disk("")
    assert faulty.wait_job(job_id)["exit_code"] == 9


def test_a_limit_on_the_size_of_files(daemon: Daemon):
    """RLIMIT_FSIZE makes the kernel itself cut a write short and then refuse it."""
    known = {hold(daemon, "#" * 100_000).body["id"] for _ in range(3)}  # longer than the daemon's own log will be
    size = max(path.stat().st_size for path in daemon.data.glob("wal-*.log"))
    unlimited = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size + 50, unlimited[1]))
    assert_read_only(daemon, "File too large", known)
    resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, unlimited)
    assert_well_again(daemon, known)
    assert_survives(daemon, known)


@pytest.fixture
def cramped() -> Iterator[Daemon]:
    """A daemon whose data directory is on a tmpfs of one megabyte."""
    daemon = Daemon()
    place = daemon.root / "data"
    place.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "gflow-test", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if mounted is None or mounted.returncode != 0:
        daemon.close()
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip() if mounted else 'there is no mount'}")
    try:
        with daemon:
            yield daemon
            daemon.kill9()
            subprocess.run(["umount", "-l", str(place)], check=True)
    finally:
        if os.path.ismount(place):
            subprocess.run(["umount", "-l", str(place)], check=False)


def fill(path: Path) -> None:
    """Take all the room there is."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue


def test_a_full_disk(cramped: Daemon):
    known = {hold(cramped).body["id"] for _ in range(3)}
    filler = cramped.data / "filler"
    fill(filler)
    refused = until(lambda: (answer := hold(cramped, "#" * 5000)).status == 503 and answer, "a refusal", TOLD_SECS)
    assert "No space left on device" in refused.body["error"]
    known |= {job_id for job_id, job in cramped.jobs().items() if job_id <= 3}
    assert_read_only(cramped, "No space left on device", known)
    filler.unlink()
    assert_well_again(cramped, known)
    assert_survives(cramped, known)
