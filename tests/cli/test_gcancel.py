"""gcancel."""

import pytest

from gflow.cli.gcancel import COMMAND
from support.fake_daemon import reply


def many(daemon, *jobs, dependents=(), failed=()):
    """The daemon's answer to a list, jobs as (id, state)."""
    body = {"jobs": [{"id": job_id, "state": state} for job_id, state in jobs], "dependents": list(dependents)}
    daemon.on("POST", "/jobs/cancel", reply(body | {"failed": list(failed)}))


def test_lists_and_ranges_are_cancelled_in_one_request_and_failures_do_not_stop_it(run, daemon):
    gone = {"id": 2, "error": "Job 2 is Finished", "code": "wrong_state"}
    missing = {"id": 99999, "error": "Job 99999 does not exist", "code": "not_found"}
    many(daemon, (1, "Queued"), (3, "Running"), failed=[gone, missing])
    done = run(COMMAND, "1-3", "99999")
    assert done.status == 1
    assert done.out == "Job 1 cancelled.\nJob 3 cancelled.\n"
    assert done.err == "gcancel: Job 2 is Finished\ngcancel: Job 99999 does not exist\n"
    (asked,) = daemon.asked
    assert asked.json == {"ids": [1, 2, 3, 99999], "reason": None, "dry_run": False}


def test_a_single_job(run, daemon):
    daemon.on("GET", "/jobs/resolve-dependency", reply({"job_id": 9}))
    daemon.on("POST", "/jobs/9/cancel", reply(None))
    assert run(COMMAND, "@").out == "Job 9 cancelled.\n"
    assert daemon.asked[0].query == {"shorthand": "@"}
    daemon.on("POST", "/jobs/8/cancel", reply({"error": "Job 8 does not exist", "code": "not_found"}, 404))
    done = run(COMMAND, "8")
    assert (done.status, done.out, done.err) == (1, "", "gcancel: Job 8 does not exist\n")


def test_a_reason_is_sent_along(run, daemon):
    daemon.on("POST", "/jobs/9/cancel", reply(None))
    assert run(COMMAND, "9", "--reason", "wrong data & more").status == 0
    assert daemon.asked[0].query == {"reason": "wrong data & more"}
    many(daemon, (1, "Queued"), (2, "Queued"))
    run(COMMAND, "1,2", "--reason", "why not")
    assert daemon.asked[-1].json["reason"] == "why not"


@pytest.mark.parametrize("option", ["--cancel", "--kill"])
def test_words_of_older_scripts_change_nothing(run, daemon, option):
    daemon.on("POST", "/jobs/1/cancel", reply(None))
    assert run(COMMAND, option, "1").out == "Job 1 cancelled.\n"


def test_a_dry_run_shows_all_that_would_be_cancelled_and_cancels_nothing(run, daemon):
    dependents = [{"id": 5, "state": "Queued", "blocked_by": 1}, {"id": 6, "state": "Hold", "blocked_by": 5}]
    gone = {"id": 2, "error": "Job 2 has ended already: Finished", "code": "wrong_state"}
    many(daemon, (1, "Running"), dependents=dependents, failed=[gone])
    done = run(COMMAND, "--dry-run", "1,2")
    assert done.out == "1\tRunning\tok\n5\tQueued\tblocked\t1\n6\tHold\tblocked\t5\n"
    assert (done.status, done.err) == (1, f"gcancel: {gone['error']}\n")
    assert [asked.json["dry_run"] for asked in daemon.asked] == [True]


@pytest.mark.parametrize(
    ("argv", "asked"),
    [
        (["--name", "a,b"], {"names": "a,b", "mine": "1"}),
        (["-u", "ann,ben"], {"users": "ann,ben"}),
        (["-u", "all"], {}),
        (["-P", "ml", "--state", "PD,hold"], {"project": "ml", "states": "Queued,Hold", "mine": "1"}),
        (["--group", "g 1"], {"group": "g 1", "mine": "1"}),
        (["3-5", "7", "--state", "R"], {"ids": "3-5,7", "states": "Running"}),
        (["--name", "train-*"], {"mine": "1"}),
    ],
)
def test_conditions_choose_among_the_jobs_that_have_not_ended(run, daemon, argv, asked):
    daemon.on("GET", "/queue", reply("3\x1ftrain-1\n4\x1ftrain-2\n5\x1ftest\n7\x1ftrain-3\n"))
    many(daemon, (3, "Queued"))
    done = run(COMMAND, *argv)
    assert (done.status, done.out) == (0, "Job 3 cancelled.\n")
    assert daemon.asked[0].query == {"columns": "JOBID,NAME", "states": "PD,H,R"} | asked
    ids = [3, 4, 7] if "train-*" in argv else [3, 4, 5, 7]
    assert daemon.asked[-1].json["ids"] == ids


def test_ids_that_no_job_has_are_told_of_also_among_conditions(run, daemon):
    daemon.on("GET", "/queue", lambda asked: reply("3\x1fx\n" if "NAME" in asked.query["columns"] else "4\n"))
    daemon.on("POST", "/jobs/3/cancel", reply(None))
    done = run(COMMAND, "3-5", "--state", "PD")
    assert (done.status, done.out, done.err) == (1, "Job 3 cancelled.\n", "gcancel: Job 5 does not exist\n")


@pytest.mark.parametrize(("argv", "whose"), [(["--name", "x"], "no job of yours"), (["-u", "all"], "no job")])
def test_conditions_that_no_job_meets(run, daemon, argv, whose):
    daemon.on("GET", "/queue", reply(""))
    done = run(COMMAND, *argv)
    said = f"gcancel: {whose} that waits or runs is meant by these conditions\n"
    assert (done.status, done.out, done.err) == (1, "", said)
    assert len(daemon.asked) == 1
    assert run(COMMAND, *argv, "--dry-run", "-o", "json").out == '{\n  "jobs": []\n}\n'


def test_a_signal_is_sent_and_nothing_cancelled(run, daemon):
    daemon.on("POST", "/jobs/7/signal", reply({"id": 7, "signal": "SIGUSR1", "processes": 1}))
    daemon.on("POST", "/jobs/8/signal", reply({"error": "Job 8 is Queued, not Running", "code": "wrong_state"}, 409))
    daemon.on("POST", "/jobs/9/signal", reply({"id": 9, "signal": "SIGUSR1", "processes": 3}))
    done = run(COMMAND, "7-9", "--signal", "USR1")
    assert done.out == "SIGUSR1 sent to 1 process of job 7.\nSIGUSR1 sent to 3 processes of job 9.\n"
    assert (done.status, done.err) == (1, "gcancel: Job 8 is Queued, not Running\n")
    assert {asked.json["signal"] for asked in daemon.asked} == {10}


@pytest.mark.parametrize("verb", ["finish", "fail"])
def test_jobs_of_an_older_gflow_can_report_their_end(run, daemon, verb):
    daemon.on("POST", f"/jobs/7/{verb}", reply(None))
    assert run(COMMAND, f"--{verb}", "7").status == 0
    assert [asked.path for asked in daemon.asked] == [f"/jobs/7/{verb}"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["x"],
        ["--nosuch", "1"],
        ["3-1"],
        ["--state", "Foo"],
        ["--state", "CD"],
        ["1", "--signal", "NOSUCH"],
        ["1", "--signal", "USR1", "--dry-run"],
        ["1", "--signal", "USR1", "--reason", "x"],
        ["1", "--reason", " "],
        ["1", "--reason", "a\nb"],
    ],
)
def test_wrong_usage_cancels_nothing(run, daemon, argv):
    assert run(COMMAND, *argv).status == 2
    assert daemon.asked == []
