"""gcancel."""

import pytest

from gflow.cli.gcancel import COMMAND
from support.fake_daemon import reply


def test_lists_and_ranges_are_cancelled_and_failures_do_not_stop_it(run, daemon):
    for job_id in (1, 3, 4):
        daemon.on("POST", f"/jobs/{job_id}/cancel", reply(None))
    daemon.on("POST", "/jobs/2/cancel", reply({"error": "Job 2 is Finished", "code": "wrong_state"}, 409))
    done = run(COMMAND, "1-3", "4")
    assert done.status == 1
    assert done.out == "Job 1 cancelled.\nJob 3 cancelled.\nJob 4 cancelled.\n"
    assert done.err == "gcancel: Job 2 is Finished\n"


def test_the_latest_job(run, daemon):
    daemon.on("GET", "/jobs/resolve-dependency", reply({"job_id": 9}))
    daemon.on("POST", "/jobs/9/cancel", reply(None))
    assert run(COMMAND, "@").out == "Job 9 cancelled.\n"
    assert daemon.asked[0].query == {"shorthand": "@"}


@pytest.mark.parametrize("option", ["--cancel", "--kill"])
def test_words_of_older_scripts_change_nothing(run, daemon, option):
    daemon.on("POST", "/jobs/1/cancel", reply(None))
    assert run(COMMAND, option, "1").out == "Job 1 cancelled.\n"


def test_a_dry_run_shows_all_that_would_be_cancelled_and_cancels_nothing(run, daemon):
    dependents = [{"id": 5, "state": "Queued", "blocked_by": 1}, {"id": 6, "state": "Hold", "blocked_by": 5}]
    daemon.on("POST", "/jobs/1/cancel", reply({"id": 1, "state": "Running", "dependents": dependents}))
    daemon.on("POST", "/jobs/2/cancel", reply({"id": 2, "state": "Finished", "dependents": []}))
    done = run(COMMAND, "--dry-run", "1,2")
    assert done.out == "1\tRunning\tok\n5\tQueued\tblocked\t1\n6\tHold\tblocked\t5\n2\tFinished\tinvalid\n"
    assert all(asked.query == {"dry_run": "1"} for asked in daemon.asked)


@pytest.mark.parametrize("verb", ["finish", "fail"])
def test_jobs_of_an_older_gflow_can_report_their_end(run, daemon, verb):
    daemon.on("POST", f"/jobs/7/{verb}", reply(None))
    assert run(COMMAND, f"--{verb}", "7").status == 0
    assert [asked.path for asked in daemon.asked] == [f"/jobs/7/{verb}"]


@pytest.mark.parametrize("argv", [[], ["x"], ["--nosuch", "1"], ["3-1"]])
def test_wrong_usage_cancels_nothing(run, daemon, argv):
    assert run(COMMAND, *argv).status == 2
    assert daemon.asked == []
