"""gctl set-gpus, gpu-process and quota; gjob eta and why; the expected starts in gqueue."""

import json
import time

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from gflow.cli.gjob import COMMAND as GJOB
from gflow.cli.gqueue import COMMAND as GQUEUE
from gflow.cli.render.times import ahead, iso, stamp
from support.fake_daemon import reply

# -- set-gpus ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "sent", "answer", "says"),
    [
        ("0,2-3", [0, 2, 3], [0, 2, 3], "New jobs may have GPUs 0,2-3; running jobs keep theirs."),
        ("1", [1], [1], "New jobs may have GPU 1; running jobs keep theirs."),
        ("all", None, None, "New jobs may have all GPUs; running jobs keep theirs."),
        ("ALL", None, [0, 2], "New jobs may have GPUs 0,2; running jobs keep theirs."),
    ],
)
def test_which_gpus_are_given_out(run, daemon, spec, sent, answer, says):
    daemon.on("POST", "/gpus", reply({"allowed_gpu_indices": answer}))
    done = run(GCTL, "set-gpus", spec)
    assert (done.status, done.out) == (0, says + "\n")
    assert daemon.asked[0].json == {"allowed_indices": sent}


@pytest.mark.parametrize("argv", [[], [""], ["some"], ["3-1"], ["0", "1"]])
def test_what_is_no_list_of_gpus(run, daemon, argv):
    done = run(GCTL, "set-gpus", *argv)
    assert done.status == 2
    assert done.err.count("\n") == 1
    assert daemon.asked == []


def test_a_refusal_is_one_line(run, daemon):
    daemon.on("POST", "/gpus", reply({"error": "Invalid GPU indices [9] (only 4 GPUs detected)", "code": "x"}, 422))
    done = run(GCTL, "set-gpus", "9")
    assert (done.status, done.out) == (1, "")
    assert done.err == "gctl set-gpus: Invalid GPU indices [9] (only 4 GPUs detected)\n"


# -- gpu-process -------------------------------------------------------------------------------------------------------


def test_ignoring_a_process(run, daemon):
    answer = {"gpu_index": 1, "pid": 77, "inserted": True, "available": True}
    daemon.on("POST", "/gpu-processes/ignore", reply(answer))
    done = run(GCTL, "gpu-process", "ignore", "--gpu", "1", "--pid", "77")
    assert (done.status, done.out) == (0, "Process 77 on GPU 1 is ignored; the GPU is available.\n")
    assert (
        done.err
        == "gctl gpu-process ignore: warning: jobs on GPU 1 share its memory with that process and may run out of it\n"
    )
    assert daemon.asked[0].json == {"gpu_index": 1, "pid": 77}
    daemon.on("POST", "/gpu-processes/ignore", reply(answer | {"inserted": False, "available": False}))
    done = run(GCTL, "gpu-process", "ignore", "--gpu", "1", "--pid", "77")
    assert done.out == (
        "Process 77 on GPU 1 is ignored already; the GPU is not available for other reasons: see ginfo.\n"
    )


def test_letting_it_count_again(run, daemon):
    answer = {"gpu_index": 1, "pid": 77, "removed": True, "available": False}
    daemon.on("POST", "/gpu-processes/unignore", reply(answer))
    done = run(GCTL, "gpu-process", "unignore", "--pid", "77", "--gpu", "1")
    assert (done.status, done.err) == (0, "")
    assert done.out == "Process 77 on GPU 1 counts again; while it computes there the GPU is not given out.\n"
    assert daemon.asked[0].json == {"gpu_index": 1, "pid": 77}


def test_what_is_ignored(run, daemon):
    daemon.on("GET", "/gpu-processes", reply([{"gpu_index": 1, "pid": 77}, {"gpu_index": 2, "pid": 78}]))
    assert run(GCTL, "gpu-process", "list").out == "gpu=1\tpid=77\ngpu=2\tpid=78\n"
    daemon.on("GET", "/gpu-processes", reply([]))
    assert run(GCTL, "gpu-process", "list").out == "No ignored GPU processes\n"


@pytest.mark.parametrize("verb", ["ignore", "unignore"])
@pytest.mark.parametrize("argv", [[], ["--gpu", "1"], ["--pid", "1"], ["--gpu", "1", "--pid", "0"], ["--gpu", "x"]])
def test_a_process_is_named_by_both(run, daemon, verb, argv):
    done = run(GCTL, "gpu-process", verb, *argv)
    assert (done.status, done.out) == (2, "")
    assert daemon.asked == []


# -- quota -------------------------------------------------------------------------------------------------------------


def test_quotas_are_a_table_of_used_and_limit(run, daemon):
    used = {"running_jobs": 2, "running_gpus": 3, "queued_jobs": 1}
    none = dict.fromkeys(used, 0)
    rows = [
        {"scope": "user", "name": "al\x1bice", "limits": {"max_running_gpus": 4}, **used},
        {"scope": "project", "name": "p", "limits": {}, **none},
        {"scope": "default_user", "name": "", "limits": {"max_running_jobs": 5, "max_queued_jobs": 0}, **none},
        {"scope": "default_project", "name": "", "limits": {}, **none},
    ]
    daemon.on("GET", "/quotas", reply({"overrides": {}, "configured": {}, "quotas": rows}))
    assert run(GCTL, "quota", "list").out == (
        " SCOPE             NAME     JOBS   GPUS   QUEUED\n"
        " user              al?ice   2/-    3/4    1/-\n"
        " project           p        0/-    0/-    0/-\n"
        " default_user      -        5      -      0\n"
        " default_project   -        -      -      -\n"
    )


@pytest.mark.parametrize(
    ("argv", "scope", "name", "says"),
    [
        (["--user", "alice"], "user", "alice", "user alice"),
        (["--project", "p"], "project", "p", "project p"),
        (["--default-user"], "default_user", None, "every other user"),
        (["--default-project"], "default_project", None, "every other project"),
    ],
)
def test_whose_quota(run, daemon, argv, scope, name, says):
    daemon.on("PUT", "/quotas", reply({"scope": scope, "name": name or "", "overrides": {}}))
    daemon.on("DELETE", "/quotas", reply({"scope": scope, "name": name or "", "removed": True, "overrides": {}}))
    done = run(GCTL, "quota", "set", *argv, "--max-running-gpus", "2", "--max-queued-jobs", "0")
    assert (done.status, done.out) == (0, f"Quota of {says}: max_running_gpus=2, max_queued_jobs=0\n")
    limits = {"max_running_gpus": 2, "max_queued_jobs": 0}
    assert daemon.asked[-1].json == {"scope": scope, "name": name, "limits": limits}
    done = run(GCTL, "quota", "remove", *argv)
    assert (done.status, done.out) == (0, f"Quota of {says}: as configured\n")
    assert daemon.asked[-1].query == {"scope": scope} | ({"name": name} if name else {})


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["set", "--user", "a"], "say how much: --max-running-jobs, --max-running-gpus, --max-queued-jobs"),
        (["set", "--max-running-jobs", "1"], "say whose: --user NAME, --project CODE, --default-user or"),
        (["remove"], "say whose: --user NAME"),
        (["remove", "--user", "a", "--default-user"], "--user and --default-user cannot be used together"),
        (["set", "--user", "a", "--max-running-jobs", "-1"], "'-1' is not a whole number"),
        (["set", "--user", " ", "--max-running-jobs", "1"], "it must not be empty"),
    ],
)
def test_what_no_quota_can_be_made_of(run, daemon, argv, says):
    done = run(GCTL, "quota", *argv)
    assert (done.status, says in done.err, done.err.count("\n")) == (2, True, 1)
    assert daemon.asked == []


# -- eta and why -------------------------------------------------------------------------------------------------------


def why(daemon, job_id, state="Queued", start=None, unknown=None):
    reasons = [{"reason": None, "text": "It has been running for 00:10:00.", "help": ""}]
    answer = {"id": job_id, "state": state, "reasons": reasons, "expected_start": start}
    daemon.on("GET", f"/jobs/{job_id}/why", reply(answer | {"expected_start_unknown": unknown}))


def test_when_jobs_are_expected_to_start(run, daemon):
    start = time.time() + 2 * 3600 + 5 * 60 + 30
    why(daemon, 7, start=start)
    why(daemon, 8, unknown="job 3 has no time limit")
    why(daemon, 9, state="Running")
    done = run(GJOB, "eta", "7-9,11")
    assert done.out.splitlines() == [
        f"Job 7 is expected to start at {stamp(start)}, in 2h 05m.",
        "Job 8: no start can be told: job 3 has no time limit.",
        "Job 9 is Running: It has been running for 00:10:00.",
    ]
    assert (done.status, done.err) == (1, "gjob eta: no route GET /jobs/11/why\n")


def test_why_tells_the_expected_start_or_why_there_is_none(run, daemon):
    start = time.time() + 90
    why(daemon, 7, start=start)
    why(daemon, 8, unknown="it is on hold")
    assert run(GJOB, "why", "7").out.splitlines()[-1] == f"  Expected to start at {stamp(start)}, in 1m."
    assert run(GJOB, "why", "8").out.splitlines()[-1] == "  No start can be told: it is on hold."


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (-5, "at any moment"),
        (0.9, "at any moment"),
        (1, "in 1s"),
        (59.9, "in 59s"),
        (60, "in 1m"),
        (3599, "in 59m"),
        (3600, "in 1h 00m"),
        (7500, "in 2h 05m"),
        (86399, "in 23h 59m"),
        (86400, "in 1d 0h"),
        (3 * 86400 + 4 * 3600, "in 3d 4h"),
    ],
)
def test_how_long_something_is_away(secs, text):
    assert ahead(secs) == text


# -- gqueue ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def queue(daemon):
    daemon.on("GET", "/queue", reply("7\x1f-\x1f(Resources)\n8\x1f-\x1f(Resources)\n", headers={"X-Total": "2"}))
    daemon.on("GET", "/jobs", reply([{"id": job_id, "state": "Queued", "run_name": "x"} for job_id in (7, 8)]))
    daemon.on("GET", "/forecast", reply([{"id": 7, "expected_start": 1_800_000_000.5}]))
    return daemon


def test_expected_starts_as_data(run, queue):
    jobs = json.loads(run(GQUEUE, "-f", "JOBID,START", "-o", "json").out)["jobs"]
    assert [job["expected_start"] for job in jobs] == [iso(1_800_000_000), None]


def test_a_begin_time_is_the_expected_start_of_a_job_that_waits_for_nothing_else(run, queue):
    rows = "7\x1f-\x1f(BeginTime)\n8\x1f-\x1f(Dependency)\n9\x1f-\x1f(JobHeldUser)\n"
    queue.on("GET", "/queue", reply(rows, headers={"X-Total": "3"}))
    begins = {"secs_since_epoch": 1_800_000_060, "nanos_since_epoch": 0}
    jobs = [{"id": job_id, "state": "Queued", "run_name": "x", "scheduled_at": begins} for job_id in (7, 8)]
    held = {"id": 9, "state": "Hold", "run_name": "x", "scheduled_at": begins}
    queue.on("GET", "/jobs", reply([*jobs, held]))
    queue.on("GET", "/forecast", reply([]))
    jobs = json.loads(run(GQUEUE, "-f", "START", "-o", "json").out)["jobs"]
    assert [job["expected_start"] for job in jobs] == [iso(1_800_000_060), None, None]


def test_they_are_not_asked_for_otherwise(run, queue):
    (first, _) = json.loads(run(GQUEUE, "-o", "json").out)["jobs"]
    assert "expected_start" not in first
    assert "/forecast" not in [asked.path for asked in queue.asked]
