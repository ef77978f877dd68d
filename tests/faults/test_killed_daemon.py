"""kill -9 of the daemon loses nothing and repeats nothing; what ended meanwhile is accounted to the moment."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

from support import wait
from support.daemon import Daemon, moment
from support.effort import examples
from support.gate import Gate
from support.scratch import end_processes_of, processes_of

PROMPT_SECS = 0.5


def test_a_running_job_goes_on_and_ends_as_it_would_have(daemon: Daemon):
    with Gate(daemon.work) as gate:
        job_id = daemon.submit(f"echo before; {gate.pass_}; echo after; exit 9")
        gate.wait_for(1)
        daemon.kill9()
        daemon.start()
        before = daemon.job(job_id)
        assert before["state"] == "Running"
        gate.open()
        job = daemon.wait_job(job_id)
    assert (job["state"], job["exit_code"], job["signal"]) == ("Failed", 9, None)
    assert job["started_at"] == before["started_at"]
    assert daemon.log(job_id) == b"before\nafter\n"


def test_a_job_that_ends_meanwhile_is_accounted_exactly(daemon: Daemon):
    with Gate(daemon.work) as gate:
        done = daemon.work / "done"
        commands = {
            "exit 0": ("Finished", 0, None),
            "exit 41": ("Failed", 41, None),
            "kill -9 $$": ("Failed", 137, "SIGKILL"),
            "kill -SEGV $$": ("Failed", 139, "SIGSEGV"),
        }
        ids = {daemon.submit(f"{gate.pass_}; date +%s.%N >>{done}; {end}"): how for end, how in commands.items()}
        gate.wait_for(len(ids))
        daemon.kill9()
        gate.open()
        wait.until(lambda: done.exists() and len(done.read_text().split()) == len(ids), "the jobs' ends")
        wait.until(lambda: not [p for p in processes_of(str(daemon.root)).values() if "run.sh" in p], "their wrappers")
        over = time.time()
        daemon.start()
        jobs = {job_id: daemon.wait_job(job_id, 5) for job_id in ids}
    assert {job_id: (job["state"], job["exit_code"], job["signal"]) for job_id, job in jobs.items()} == ids
    first, last = min(map(float, done.read_text().split())), max(map(float, done.read_text().split()))
    for job in jobs.values():
        assert first - 0.1 <= moment(job["finished_at"]) <= min(last + 1, over)


def test_a_restart_changes_nothing(daemon: Daemon):
    group = "8f14e45f-ceea-467f-a0e6-1b0b1c1d2e3f"
    failed = daemon.submit("exit 3", max_retries=1)
    assert daemon.get(f"/jobs/{failed}/wait?retries=1")["id"] == failed + 1
    held = daemon.submit("true", hold=True, project="p", parameters={"a": "1"}, priority=77)
    daemon.submit("true", depends_on_ids=[held], dependency_mode="Any", time_limit=90)
    daemon.submit("true", scheduled_at=time.time() + 3600, environment={"A": "x"}, umask=0o022)
    daemon.submit("sleep 1000", early_signal={"signal": 10, "secs_before": 5}, time_limit=3600)
    daemon.submit_all([{"argv": ["true", "\udcff"]}] * 2, group_id=group, max_concurrent=1, hold=True)
    script = daemon.work / "kept.sh"
    script.write_text("echo kept\n")
    kept = daemon.gbatch("--hold", "kept.sh")
    daemon.wait_running(held + 3)
    wait.until(lambda: daemon.get(f"/jobs/{held + 3}/why")["reasons"][0]["text"].startswith("It has been"), "its start")
    before = daemon.jobs()
    assert len(before) == 9
    daemon.restart()
    assert daemon.jobs() == before
    daemon.kill9()
    script.unlink()
    daemon.start()
    assert daemon.jobs() == before
    assert daemon.http("POST", f"/jobs/{kept}/release").status == 200
    daemon.wait_job(kept)
    assert daemon.log(kept) == b"kept\n"
    assert daemon.submit("true") == kept + 1


def test_every_acknowledged_job_survives_and_no_id_is_used_twice(daemon: Daemon):
    seen: list[int] = []
    for _ in range(3):
        seen += [daemon.submit("true", hold=True) for _ in range(20)]
        daemon.kill9()
        daemon.start()
    assert seen == list(range(1, 61))
    assert daemon.get("/status")["jobs"]["Hold"] == 60


def test_a_hundred_running_and_a_thousand_queued_each_run_exactly_once(daemon: Daemon):
    ran = daemon.work / "ran"
    with Gate(daemon.work) as gate:
        command = f"{gate.pass_}; echo $GFLOW_JOB_ID >>{ran}; exit $((GFLOW_JOB_ID % 5))"
        group = {"group_id": "8f14e45f-ceea-467f-a0e6-1b0b1c1d2e3f", "max_concurrent": 100}
        queued = examples(1000)
        half = (100 + queued) // 2
        ids = [job_id for _ in range(2) for job_id in daemon.submit_all([{"command": command}] * half, **group)]
        gate.wait_for(60)
        daemon.kill9()  # in the middle of launches
        daemon.start()
        gate.wait_for(100)
        assert daemon.get("/status")["jobs"]["Running"] == 100
        assert daemon.get("/status")["jobs"]["Queued"] == queued
        daemon.kill9()
        gate.open()
        wait.until(lambda: lines(ran) >= 100, "the ends of those that ran")
        daemon.start()
        wait.until(lambda: lines(ran) >= half, "half of the jobs", 60)
        daemon.kill9()  # in the middle of everything
        daemon.start()
        jobs = daemon.wait_jobs(ids, 120)
    assert Counter(map(int, ran.read_text().split())) == Counter(ids)
    assert [job["exit_code"] for job in jobs] == [job_id % 5 for job_id in ids]
    assert {job["state"] for job in jobs if job["exit_code"]} == {"Failed"}
    assert daemon.get("/status")["jobs"]["Finished"] == sum(job_id % 5 == 0 for job_id in ids)
    wait.until(lambda: not list((daemon.data / "runs").glob("*.*")), "the end of all run directories")


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


STAMPS = """\
stamp() { date +%s.%N >"$1.new"; mv "$1.new" "$1"; }
trap 'stamp interrupted; exit 130' INT
stamp started
while :; do sleep 0.02; done
"""


def test_a_limit_holds_over_a_restart(daemon: Daemon):
    job_id = daemon.submit(STAMPS, time_limit=4)
    started = float(wait.file(daemon.work / "started"))
    daemon.kill9()
    daemon.start()
    back_after = time.time() - started  # on a busy machine the limit may be over by then
    job = daemon.wait_job(job_id)
    interrupted_after = float(wait.file(daemon.work / "interrupted")) - started
    assert 3.8 <= interrupted_after < max(4, back_after) + PROMPT_SECS
    assert (job["state"], job["exit_code"]) == ("Timeout", 130)


def test_a_limit_that_passes_meanwhile_strikes_at_once(daemon: Daemon):
    job_id = daemon.submit(STAMPS, time_limit=0.5)
    started = wait.file(daemon.work / "started")
    daemon.kill9()
    wait.until(lambda: time.time() > float(started) + 1, "the limit")
    daemon.start()
    job = daemon.wait_job(job_id, 5)
    assert job["state"] == "Timeout"


def test_a_limit_that_passes_meanwhile_is_none_of_what_was_over_before(daemon: Daemon):
    short, failing = {"command": "sleep 0.1"}, {"command": "sleep 0.1; exit 3", "max_retries": 1}
    ids = daemon.submit_all([short, failing], time_limit=1)
    after = daemon.submit("true", depends_on_ids=[ids[0]], auto_cancel_on_dependency_failure=True)
    started = [moment(daemon.wait_running(job_id)["started_at"]) for job_id in ids]
    daemon.kill9()
    wait.until(lambda: time.time() > max(started) + 1.2, "the limit")
    daemon.start()
    jobs = daemon.wait_jobs([*ids, after])
    assert [(job["state"], job["exit_code"]) for job in jobs] == [("Finished", 0), ("Failed", 3), ("Finished", 0)]
    assert all(moment(job["finished_at"]) - moment(job["started_at"]) < 1 for job in jobs)
    assert jobs[1]["retried_as"] is not None


def test_a_limit_that_passes_while_it_hangs_is_none_of_what_was_over_before(daemon: Daemon):
    ids = daemon.submit_all([{"command": "sleep 0.1"}, {"command": "sleep 0.1; exit 3"}], time_limit=1)
    started = [moment(daemon.wait_running(job_id)["started_at"]) for job_id in ids]
    os.kill(daemon.pid, signal.SIGSTOP)
    wait.until(lambda: time.time() > max(started) + 1.2, "the limit")
    os.kill(daemon.pid, signal.SIGCONT)
    jobs = daemon.wait_jobs(ids)
    assert [(job["state"], job["exit_code"]) for job in jobs] == [("Finished", 0), ("Failed", 3)]


def test_a_stop_under_way_is_carried_on(daemon: Daemon):
    job_id = daemon.submit("trap '' INT; echo on; while :; do sleep 0.1; done")
    daemon.wait_log(job_id)
    assert daemon.http("POST", f"/jobs/{job_id}/cancel").status == 200
    daemon.kill9()
    daemon.start()
    job = daemon.wait_job(job_id)
    assert (job["state"], job["status_detail"].startswith("cancelled by")) == ("Cancelled", True)
    assert not [line for line in processes_of(str(daemon.root)).values() if "trap" in line]


def test_the_lock_and_the_socket_of_a_killed_daemon_are_in_nobodys_way(daemon: Daemon):
    daemon.kill9()
    assert daemon.socket.exists()
    refused = daemon.cli("gqueue")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
    daemon.start()
    assert daemon.cli("gqueue").returncode == 0


def test_a_second_daemon_on_the_same_data_is_refused(daemon: Daemon):
    job_id = daemon.submit("sleep 1000")
    daemon.wait_running(job_id)
    other = str(daemon.root / "other.sock")
    for words in ((), ("--socket", other)):
        refused = daemon.cli("gflowd", "run", *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.count("\n") == 1
        assert str(daemon.pid) in refused.stderr
    assert not os.path.exists(other)
    assert daemon.get("/health")["pid"] == daemon.pid
    assert daemon.states(job_id) == ["Running"]


def test_a_daemon_with_other_data_does_not_take_the_socket_over(daemon: Daemon):
    refused = daemon.cli("gflowd", "run", XDG_DATA_HOME=str(daemon.root / "elsewhere"))
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == f"gflowd: pid {daemon.pid} already listens on {daemon.socket}"
    assert daemon.get("/health")["pid"] == daemon.pid


def test_a_launch_that_was_cut_short_is_made_anew(daemon: Daemon):
    """Killed between making the run directory and filling it: nothing started, so the job starts now, once."""
    with Gate(daemon.work) as gate:
        first = daemon.submit("true")
        daemon.wait_job(first)
        job_id = daemon.submit(f"{gate.pass_}; echo ran")
        gate.wait_for(1)
        daemon.kill9()
        end_processes_of(str(daemon.root))
        run_directory = next((daemon.data / "runs").glob(f"{job_id}.*"))
        for file in ("record", "started", "run.sh"):
            (run_directory / file).unlink()
        daemon.start()
        gate.wait_for(2)
        gate.open()
        job = daemon.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    assert daemon.log(job_id) == b"ran\n"
