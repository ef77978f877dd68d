"""What is somebody's own stays so: files of the daemon are for its user, environments are in no list and no log."""

import os
import stat
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.events import Events
from support.wait import until

pytestmark = pytest.mark.once

SECRET = "s3cr3t-t0k3n-of-somebody"


def test_every_file_is_for_its_user_alone(daemon: Daemon, tmp_path: Path):
    (tmp_path / "script.sh").write_text("umask; sleep 60\n")
    job_id = daemon.gbatch("script.sh", cwd=tmp_path)
    ended = daemon.gbatch("true")
    daemon.wait_job(ended)
    daemon.wait_log(job_id)
    daemon.restart()
    seen = []
    for top in (daemon.data, daemon.runtime):
        for directory, _, files in os.walk(top):
            for path in (Path(directory), *(Path(directory, name) for name in files)):
                mode = path.lstat().st_mode
                seen.append(path.name)
                assert not mode & 0o077, path
                wanted = 0o700 if stat.S_ISDIR(mode) else 0o600
                assert stat.S_ISSOCK(mode) or stat.S_IMODE(mode) == wanted, path
    for name in ("gflowd.sock", "gflowd.lock", f"{job_id}.log", "run.sh", "started", "record", "env", "script"):
        assert name in seen
    assert {name for name in seen if name.startswith(("wal-", "tmux-"))}


def test_an_environment_is_in_no_argument_and_no_state(daemon: Daemon):
    with Events(daemon) as events:
        job_id = daemon.gbatch("sleep", "60", MY_TOKEN=SECRET)
        heard = events.until("job_started", job_id)
        daemon.wait_running(job_id)
        until(lambda: any(SECRET in text for text in contents("environ")), "the job's environment")
        assert not any(SECRET in text for text in contents("cmdline"))
    holders = [path for path in daemon.data.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert [path.parent for path in holders] == [daemon.data / "spool" / "env"]
    told = [daemon.http("GET", path).body for path in ("/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/why", "/status")]
    assert SECRET not in str([heard, told, daemon.said()])


def contents(name: str) -> list[str]:
    """The same file of every process in /proc but this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(pid) != os.getpid():
                found.append(Path("/proc", pid, name).read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return found


def test_an_environment_goes_when_no_job_needs_it_any_more(daemon: Daemon):
    spooled = daemon.data / "spool" / "env"
    first, second = daemon.gbatch("--hold", "true", TOKEN=SECRET), daemon.gbatch("--hold", "true", TOKEN=SECRET)
    other = daemon.gbatch("--hold", "true")
    assert len(list(spooled.iterdir())) == 2
    assert daemon.cli("gcancel", str(first)).returncode == 0
    assert daemon.cli("gjob", "release", str(second)).returncode == 0
    daemon.wait_job(second)
    until(lambda: len(list(spooled.iterdir())) == 1, "the end of the environment nobody needs", 15)
    assert SECRET.encode() not in next(spooled.iterdir()).read_bytes()
    assert daemon.states(other) == ["Hold"]


def test_the_environment_is_the_submitters_and_some_of_it_is_left_out(shared: Daemon):
    value = "two words\n'quoted' \"and\" $HOME `x` \\"
    done = shared.cli("gbatch", "--parsable", "printenv MINE GFLOW_TOKEN LANG", MINE=value, GFLOW_TOKEN=SECRET)
    assert (done.returncode, done.stderr) == (0, "gbatch: left out of the job's environment: GFLOW_TOKEN\n")
    assert shared.wait_job(int(done.stdout))["exit_code"] == 1
    assert shared.log(int(done.stdout)).decode() == f"{value}\nC.UTF-8\n"


def test_export_chooses_what_goes_along(shared: Daemon):
    one = shared.gbatch("--export", "FIRST", "printenv FIRST; printenv SECOND", FIRST="1", SECOND="2")
    none = shared.gbatch("--export", "NONE", "printenv FIRST; printenv HOME PATH >/dev/null", FIRST="1")
    jobs = shared.wait_jobs([one, none])
    assert [job["exit_code"] for job in jobs] == [1, 0]
    assert [shared.log(job_id) for job_id in (one, none)] == [b"1\n", b""]


def test_the_umask_is_the_submitters(shared: Daemon):
    job_id = shared.submit("umask", umask=0o027)
    shared.wait_job(job_id)
    assert shared.log(job_id) == b"0027\n"


def test_jobs_are_told_who_they_are(shared: Daemon):
    names = "GFLOW_JOB_ID GFLOW_JOB_NAME GFLOW_ARRAY_TASK_ID GFLOW_RESTART_COUNT GFLOW_PARAM_LR"
    job_id = shared.submit(f"printenv {names}; echo {{lr}}", run_name="me", parameters={"lr": "0.1 $x"})
    shared.wait_job(job_id)
    assert shared.log(job_id).decode() == f"{job_id}\nme\n0\n0\n0.1 $x\n0.1 $x\n"


def test_the_owner_is_who_the_kernel_says(shared: Daemon):
    job_id = shared.gbatch("true", USER="somebody-else", LOGNAME="somebody-else")
    assert shared.job(job_id)["submitted_by"] != "somebody-else"
