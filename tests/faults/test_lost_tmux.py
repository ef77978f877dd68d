"""The tmux server is killed while jobs run: they end Failed and say so, and the queue goes on with a new server."""

import os
import signal

from support.daemon import Daemon, moment
from support.scratch import lives, processes_of
from support.wait import until

LOST = "The tmux server was lost while the job ran"


def kill_tmux(daemon: Daemon) -> int:
    pid = daemon.tmux_pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: not lives(pid), "the end of the tmux server")
    return pid


def test_running_jobs_fail_with_that_reason_and_queued_ones_run(daemon: Daemon):
    group = {"group_id": "8f14e45f-ceea-467f-a0e6-1b0b1c1d2e3f", "max_concurrent": 3}
    commands = (
        "trap '' HUP INT TERM; setsid sleep 1000 & echo on; wait; sleep 1000",
        "echo on; sleep 1000",
        "echo on; read x",
    )
    ids = daemon.submit_all([{"command": command} for command in commands], **group)
    after = daemon.submit_all([{"command": "echo fine"}] * 3, **group)
    for job_id in ids:
        daemon.wait_log(job_id)
    old = kill_tmux(daemon)
    jobs = daemon.wait_jobs(ids)
    assert [(job["state"], job["status_detail"]) for job in jobs] == [("Failed", LOST)] * 3
    assert [job["reason"] for job in jobs] == [{"SystemError": LOST}] * 3
    assert not [line for line in processes_of(str(daemon.root)).values() if "sleep" in line]
    assert [job["state"] for job in daemon.wait_jobs(after)] == ["Finished"] * 3
    assert daemon.log(after[-1]) == b"fine\n"
    assert daemon.tmux_pid != old
    assert daemon.get("/health")["status"] == "ok"


def test_while_the_daemon_is_down(daemon: Daemon):
    job_id = daemon.submit("echo on; sleep 1000")
    daemon.wait_log(job_id)
    daemon.kill9()
    kill_tmux(daemon)
    daemon.start()
    job = daemon.wait_job(job_id)
    assert (job["state"], job["status_detail"]) == ("Failed", LOST)
    assert daemon.wait_job(daemon.submit("true"))["state"] == "Finished"


def test_a_silent_job_was_there_as_long_as_a_daemon_saw_it(daemon: Daemon):
    job_id = daemon.submit("sleep 1000", time_limit=600)
    started_at = moment(daemon.wait_running(job_id)["started_at"])
    seen = daemon.data / "seen"
    until(lambda: seen.exists() and seen.stat().st_mtime > started_at + 1, "a note that it was seen")
    daemon.kill9()
    before = seen.stat().st_mtime
    kill_tmux(daemon)
    daemon.start()
    job = daemon.wait_job(job_id)
    assert (job["state"], job["status_detail"]) == ("Failed", LOST)
    assert before <= moment(job["finished_at"]) + 0.01 < before + 1


def test_again_and_again(daemon: Daemon):
    for _ in range(3):
        job_id = daemon.submit("echo on; sleep 1000")
        daemon.wait_log(job_id)
        kill_tmux(daemon)
        assert daemon.wait_job(job_id)["status_detail"] == LOST
    assert daemon.wait_job(daemon.submit("exit 3"))["exit_code"] == 3


def test_a_job_killed_from_outside_says_so_and_tmux_stays(daemon: Daemon):
    job_id = daemon.submit("echo on; sleep 1000")
    daemon.wait_log(job_id)
    tmux = daemon.tmux_pid
    for pid, line in processes_of(str(daemon.root)).items():
        if "run.sh" in line:
            os.kill(pid, signal.SIGKILL)
    job = daemon.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Failed", None)
    assert "its shell was killed" in job["status_detail"]
    assert not [line for line in processes_of(str(daemon.root)).values() if "sleep 1000" in line]
    assert daemon.tmux_pid == tmux
