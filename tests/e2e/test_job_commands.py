"""What people do with their jobs, with the real programs: watch, signal and cancel them, do them again, tidy up."""

from pathlib import Path

from support.daemon import Daemon
from support.wait import until

TRAIN = """\
trap 'echo got USR1' USR1
printf '\\r 45%%|####  | 45/100 [00:10<00:12,  4.50it/s]'
until [ -e go ]; do sleep 0.05; done
echo 3/4 epoch 3 >"$GFLOW_PROGRESS_FILE"
until [ -e end ]; do sleep 0.05; done
exit 3
"""


def test_a_job_is_watched_signalled_and_done_again_with_what_had_fallen(shared: Daemon, tmp_path: Path):
    (tmp_path / "train.sh").write_text(TRAIN)
    job_id = shared.gbatch("--name", "train-1", "train.sh", cwd=tmp_path)
    after = shared.gbatch("--depends-on", str(job_id), "--name", "test-1", "echo", "tested", cwd=tmp_path)
    shared.wait_log(job_id, b"45%")
    until(lambda: "~00:00:" in shared.cli("gqueue", "-j", str(job_id), "-f", "PROGRESS").stdout, "its bar")
    assert "Progress=45% (about 00:00:" in shared.cli("gjob", "show", str(job_id)).stdout
    (tmp_path / "go").touch()
    until(lambda: shared.get(f"/progress?ids={job_id}")[0]["percent"] == 75, "its file")
    assert "75%" in shared.cli("gqueue", "-j", str(job_id), "-f", "PROGRESS").stdout
    assert ": epoch 3" in shared.cli("gjob", "show", str(job_id)).stdout

    shown = shared.cli("gjob", "top", str(job_id)).stdout
    assert shown.startswith(f"Job {job_id} (train-1): ")
    assert "bash" in shown

    (tmp_path / "end").touch()
    assert shared.cli("gjob", "wait", str(job_id)).returncode == 3
    assert shared.job(after)["reason"] == {"DependencyFailed": job_id}
    done = shared.cli("gjob", "redo", str(job_id), "--cascade", "--command", "true", cwd=tmp_path)
    assert done.returncode == 0, done
    again = shared.job(job_id)["redone_as"]
    assert f"Submitted batch job {again} (train-1)" in done.stdout
    assert f"  Job {after} → Job {again + 1} (test-1)" in done.stdout
    assert shared.cli("gjob", "wait", f"{again},{again + 1}").returncode == 0
    assert shared.log(again + 1) == b"tested\n"
    assert f"  RedoneAs={again}\n" in shared.cli("gjob", "show", str(job_id)).stdout


def test_a_signal_and_a_cancel_by_name_with_a_reason(shared: Daemon):
    command = "trap 'echo got USR1; got=1' USR1; echo up; until [ $got ]; do sleep 0.02; done; echo on; sleep 600"
    job_id = shared.gbatch("--name", "only-1", command)
    other = shared.gbatch("--name", "only-2", "--hold", "true")
    shared.wait_log(job_id, b"up")
    done = shared.cli("gcancel", str(job_id), "--signal", "USR1")
    assert done.stdout.startswith("SIGUSR1 sent to ")
    shared.wait_log(job_id, b"on")
    preview = shared.cli("gcancel", "--name", "only-*", "--dry-run").stdout
    assert preview == f"{job_id}\tRunning\tok\n{other}\tHold\tok\n"
    done = shared.cli("gcancel", "--name", "only-*", "--reason", "wrong data")
    assert (done.returncode, done.stdout) == (0, f"Job {job_id} cancelled.\nJob {other} cancelled.\n")
    ended = shared.wait_job(job_id)
    assert (ended["state"], ended["status_detail"].partition(": ")[2]) == ("Cancelled", "wrong data")
    assert "wrong data" in shared.cli("gjob", "show", str(other)).stdout
    done = shared.cli("gcancel", f"{job_id},99999")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"gcancel: Job {job_id} has ended already: Cancelled\n" in done.stderr


def test_terminals_that_were_kept_are_closed(shared: Daemon):
    job_id = shared.gbatch("--keep-session", "--name", "kept-1", "echo", "hello")
    assert shared.wait_job(job_id)["state"] == "Finished"
    assert job_id in {job["id"] for job in shared.get("/terminals")}
    done = shared.cli("gjob", "close-sessions", "-p", "kept-*")
    summary = "gjob close-sessions: Closed=1 AlreadyClosed=0 Failed=0"
    assert (done.returncode, done.stdout, done.stderr) == (0, f"gjob-{job_id}\n{summary}\n", "")
    assert job_id not in {job["id"] for job in shared.get("/terminals")}


def test_the_output_of_all_attempts(shared: Daemon):
    job_id = shared.gbatch("--max-retries", "1", "echo attempt $GFLOW_RESTART_COUNT; exit 1")
    assert shared.cli("gjob", "wait", str(job_id)).returncode == 1
    again = shared.job(job_id)["retried_as"]
    said = shared.cli("gjob", "log", str(again), "--retries").stdout.splitlines()
    assert said == [
        *(f"==> job {job_id}, attempt 1 <==", "attempt 0"),
        *(f"==> job {again}, attempt 2 <==", "attempt 1"),
    ]
    assert shared.cli("gjob", "log", str(job_id), "-f", "-R").stdout.splitlines() == said
    assert shared.cli("gjob", "log", str(job_id), "--grep", "pt 0").stdout == "attempt 0\n"
    assert shared.cli("gjob", "log", str(job_id), "--grep", "pt 1").returncode == 1
