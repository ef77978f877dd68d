"""A job over its memory limit is ended for it, by whichever means this machine has; the daemon and the others live.

Where the daemon may have cgroups these tests are about them, else about the watch; the last one says which it was.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.launch.cpu_sets import usable_cpus
from support.daemon import Daemon
from support.scratch import processes_of
from support.wait import until

OUT = re.compile(r"out of memory: (used \d{3}M of 100M|its limit is 100M)")
HOG = "import sys, time; held = b'x' * (int(sys.argv[1]) << 20); print('holds', flush=True); time.sleep(600)"


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        (daemon.work / "hog").write_text(f"#!{sys.executable}\n{HOG}\n")
        (daemon.work / "hog").chmod(0o700)
        yield daemon


def ended_for_it(daemon: Daemon, job_id: int) -> None:
    job = daemon.wait_job(job_id, 90)
    assert (job["state"], job["exit_code"], job["signal"]) == ("Failed", 137, "SIGKILL")
    assert OUT.fullmatch(job["status_detail"]), job["status_detail"]
    assert job["reason"] == {"SystemError": job["status_detail"]}


def test_over_its_limit_a_job_is_ended_and_the_others_live(daemon: Daemon) -> None:
    within = daemon.submit("./hog 60", memory_limit_mb=100)
    unlimited = daemon.submit("./hog 150")
    over = [
        "./hog 300",
        "./hog 60 & ./hog 60 & wait",  # together
        "(setsid env -i ./hog 300 lonely &) ; sleep 600",  # in another session, nobody's child, and clean
        "trap '' TERM INT; ./hog 300; sleep 600",
    ]
    for job_id in daemon.submit_all([{"command": command} for command in over], memory_limit_mb=100):
        ended_for_it(daemon, job_id)
    assert not [arguments for arguments in processes_of(str(daemon.work)).values() if "lonely" in arguments]
    assert daemon.states(within, unlimited) == ["Running", "Running"]
    assert [daemon.wait_log(job_id) for job_id in (within, unlimited)] == [b"holds\n", b"holds\n"]
    assert daemon.get("/health")["status"] == "ok"
    for job_id in (within, unlimited):
        daemon.http("POST", f"/jobs/{job_id}/fail")
        assert daemon.wait_job(job_id)["state"] == "Failed"


def test_limits_hold_over_a_restart_of_the_daemon(daemon: Daemon) -> None:
    job_id = daemon.submit("until [ -e go ]; do sleep 0.05; done; ./hog 300", memory_limit_mb=100)
    daemon.wait_running(job_id)
    daemon.kill9()
    daemon.start()
    (daemon.work / "go").touch()
    ended_for_it(daemon, job_id)


def test_a_running_job_can_be_given_a_lower_limit(daemon: Daemon) -> None:
    job_id = daemon.submit("./hog 150", memory_limit_mb=900)
    daemon.wait_log(job_id)
    done = daemon.cli("gjob", "update", str(job_id), "--memory", "100M")
    assert (done.returncode, done.stderr) == (0, "")
    ended_for_it(daemon, job_id)


def test_a_job_sees_the_cpus_it_asked_for(daemon: Daemon) -> None:
    done = daemon.cli("gbatch", "--cpus-per-task", "1", "nproc; echo $GFLOW_CPUS")
    assert (done.returncode, done.stderr) == (0, "")
    job = daemon.wait_job(max(daemon.jobs()))
    assert (job["cpus"], daemon.log(job["id"])) == (1, b"1\n1\n")
    all_of_them = daemon.submit("nproc")
    daemon.wait_job(all_of_them)
    assert daemon.log(all_of_them) == f"{len(usable_cpus())}\n".encode()


def test_it_is_said_who_keeps_the_limits(daemon: Daemon) -> None:
    told = daemon.get("/status")["limits"]
    assert daemon.get("/info")["limits"] == told
    by_kernel = told["memory"] == "cgroup"
    assert (told["why"] is None) == by_kernel
    done = daemon.cli("gbatch", "--memory", "1G", "true")
    assert done.stderr.startswith(f"gbatch: the memory limit of 1G is {'kept' if by_kernel else 'watched'} ")
    assert daemon.cli("gbatch", "--memory", "1G", "--parsable", "true").stderr == ""
    line = next(line for line in daemon.cli("gflowd", "status").stdout.splitlines() if line.startswith("Limits: "))
    assert ("cgroup v2)" in line) if by_kernel else (f"({told['why']})" in line)


def test_the_kernel_keeps_them_where_it_may(daemon: Daemon) -> None:
    told = daemon.get("/status")["limits"]
    if told["memory"] != "cgroup":
        pytest.skip(f"no limits by cgroup here: {told['why']}")
    job_id = daemon.submit("cat /proc/self/cgroup; exec sleep 600", memory_limit_mb=100, cpus=1)
    path = daemon.wait_log(job_id).decode().strip().removeprefix("0::/")
    cgroup = Path("/sys/fs/cgroup") / path
    assert cgroup.name.startswith(f"{job_id}.")
    limits = [(cgroup / name).read_text().split()[0] for name in ("memory.max", "cpu.max")]
    assert limits == [str(100 << 20), "100000"]
    daemon.http("POST", f"/jobs/{job_id}/fail")
    daemon.wait_job(job_id)
    until(lambda: not cgroup.exists(), "the end of the job's cgroup")
