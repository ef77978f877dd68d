"""No answer to a change leaves before the change is on disk: with the sync held up there is none, for as long as it is.

Once in the test's own process, where the sync hangs on an event, and once from outside: strace sees the system calls
of a real daemon in the order they were made.
"""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import trio

from support.daemon import Daemon
from support.desk import eventually
from support.faulty_disk import FaultyDisk
from support.house import House


@pytest.fixture
async def disk():
    disk = FaultyDisk()
    yield disk
    disk.release_syncs()


async def changes(house: House) -> dict[str, tuple[str, str, object]]:
    """Every kind of request that changes something, and what it needs: method, path, body."""
    held = await house.submit(hold=True)
    waiting = await house.submit(depends_on_ids=[held])
    return {
        "submit": ("POST", "/jobs", house.request()),
        "batch": ("POST", "/jobs/batch", {"defaults": {"run_dir": str(house.root)}, "jobs": [{"command": "true"}] * 2}),
        "update": ("PATCH", f"/jobs/{held}", {"priority": 99}),
        "release": ("POST", f"/jobs/{held}/release", {}),
        "hold": ("POST", f"/jobs/{waiting}/hold", {}),
        "cancel": ("POST", f"/jobs/{waiting}/cancel", {}),
    }


@pytest.mark.parametrize("kind", ["submit", "batch", "update", "release", "hold", "cancel"])
async def test_the_answer_waits_for_the_sync(tmp_path: Path, disk: FaultyDisk, kind: str):
    async with House(tmp_path, disk=disk) as house:
        method, path, body = (await changes(house))[kind]
        await house.runtime.on_disk(house.runtime.last_seq)
        answers: list[httpx.Response] = []
        syncs = disk.calls.count("sync")

        async def ask() -> None:
            answers.append(await house.client.request(method, path, json=body))

        disk.hold_syncs()
        house.nursery.start_soon(ask)
        await eventually(lambda: disk.syncing.is_set() or answers, "the sync")
        assert (await house.get("/health"))["status"], "reading goes on"
        await trio.testing.wait_all_tasks_blocked()
        assert answers == []
        assert disk.calls.count("sync") == syncs
        disk.release_syncs()
        await eventually(lambda: answers, "the answer")
        assert answers[0].status_code in (200, 201), answers[0].text
        assert disk.calls.count("sync") > syncs


SUBMISSIONS = 5


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_seen_from_outside_each_201_follows_an_fdatasync_of_the_log(tmp_path: Path):
    trace = tmp_path / "trace"
    with Daemon() as daemon:
        daemon.submit("true", hold=True)
        watched = "trace=write,writev,send,sendto,sendmsg,fdatasync"
        tracer = subprocess.Popen(
            ["strace", "-f", "-y", "-s", "16", "-e", watched, "-o", trace, "-p", str(daemon.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "attached" in tracer.stderr.readline()
        for _ in range(SUBMISSIONS):
            daemon.submit("true", hold=True)
        tracer.terminate()
        tracer.wait(20)
        tracer.stderr.close()
    calls = [told for line in trace.read_text().splitlines() if (told := told_of(line))]
    assert calls.count("answer") == SUBMISSIONS
    assert " ".join(calls) == " ".join(["write sync answer"] * SUBMISSIONS)


def told_of(line: str) -> str | None:
    """What a line of strace is about, of what matters: the end of a sync, the beginning of everything else."""
    if re.search(r"fdatasync(\(\d+<[^>]*wal-[^>]*>\)| resumed>.*) *= 0", line):
        return "sync"
    if re.search(r"write\(\d+<[^>]*/wal-[^>]*>", line):
        return "write"
    return "answer" if '"HTTP/1.1 201' in line else None
