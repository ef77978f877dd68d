"""gjob redo."""

import json

import pytest

from gflow.cli.gjob import COMMAND
from support.fake_daemon import reply


@pytest.fixture
def failed(daemon, monkeypatch):
    """Job 7, which has failed and can be done again."""
    monkeypatch.setenv("SOME", "thing")
    daemon.on("GET", "/jobs", reply([{"id": 7, "state": "Failed", "run_dir": "/w"}]))
    daemon.on("POST", "/jobs/7/redo", reply({"id": 9, "run_name": "calm-lynx", "cascade": [], "dropped_env": []}, 201))
    return daemon


def sent(daemon):
    """The body of the last request, without the environment."""
    return {name: value for name, value in daemon.asked[-1].json.items() if name != "environment"}


def test_as_it_was(run, failed):
    done = run(COMMAND, "redo", "7")
    assert (done.status, done.out) == (
        0,
        "Resubmitting job 7 as it was.\nSubmitted batch job 9 (calm-lynx)\n",
    )
    assert sent(failed) == {}
    assert failed.asked[-1].json["environment"]["SOME"] == "thing"


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        (["-p", "3", "-t", "+1:00"], {"priority": 3, "time_limit_delta": 60}),
        (["-g", "2", "-m", "1G", "-e", "torch"], {"gpus": 2, "memory_limit_mb": 1024, "conda_env": "torch"}),
        (["--clear-deps", "--hold"], {"depends_on_ids": [], "hold": True}),
        (["-d", "5"], {"depends_on_ids": [5], "dependency_mode": "All"}),
        (["--param", "lr=1", "--cascade"], {"parameter_changes": {"lr": "1"}, "cascade": True}),
    ],
)
def test_with_changes(run, failed, argv, changes):
    assert run(COMMAND, "redo", "7", *argv).status == 0
    assert sent(failed) == changes


def test_what_was_changed_and_what_goes_along_is_told(run, failed):
    along = [{"id": 10, "run_name": "b", "redone_from": 8}, {"id": 12, "run_name": "c", "redone_from": 11}]
    failed.on("POST", "/jobs/7/redo", reply({"id": 9, "run_name": "a", "cascade": along, "dropped_env": ["KEY"]}, 201))
    done = run(COMMAND, "redo", "7", "--cascade", "--priority", "3", "--clear-deps")
    assert done.out.splitlines() == [
        "Resubmitting job 7 with parameters:",
        "  priority=3",
        "  depends_on_ids=none",
        "Submitted batch job 9 (a)",
        "Cascading to 2 dependent job(s)...",
        "  Job 8 \u2192 Job 10 (b)",
        "  Job 11 \u2192 Job 12 (c)",
    ]
    assert done.err == "gjob redo: left out of the environment: KEY\n"


def test_changes_are_said_in_the_words_of_a_user(run, failed):
    failed.on("GET", "/jobs/7", reply({"id": 7, "notifications": None}))
    failed.on("POST", "/jobs/7/redo", reply({"id": 9, "run_name": "a"}, 201))
    argv = ["--param", "x=1", "--param", "y=a b", "--signal", "B:USR1@60", "--notify-email", "a@b.de"]
    assert run(COMMAND, "redo", "7", *argv).out.splitlines()[1:-1] == [
        "  early_signal=USR1@60",
        "  param x=1",
        "  param y=a b",
        "  notify_emails=a@b.de",
        "  notify_events=none",
    ]
    cleared = run(COMMAND, "redo", "7", "--clear-params", "--clear-notify").out.splitlines()[1:-1]
    assert cleared == ["  notifications=none", "  parameters=none"]


def test_the_text_of_a_new_script_goes_along(run, failed, tmp_path):
    (tmp_path / "x.sh").write_text("echo hello")
    assert run(COMMAND, "redo", "7", "--script", str(tmp_path / "x.sh")).status == 0
    assert sent(failed) == {"script": str(tmp_path / "x.sh"), "script_text": "echo hello"}
    done = run(COMMAND, "redo", "7", "--script", str(tmp_path / "none.sh"))
    assert (done.status, done.out) == (1, "")
    assert "cannot read script" in done.err


def test_no_environment_is_sent_where_none_is_wanted(run, failed):
    run(COMMAND, "redo", "7", "--export", "NONE")
    assert failed.asked[-1].json["environment"] is None


def test_it_goes_on_after_a_refusal(run, failed):
    failed.on(
        "POST", "/jobs/6/redo", reply({"error": "Job 6 has not ended: it is Running", "code": "wrong_state"}, 409)
    )
    done = run(COMMAND, "redo", "6,7")
    assert (done.status, done.err) == (1, "gjob redo: Job 6 has not ended: it is Running\n")
    assert "Submitted batch job 9" in done.out


RECEIPT = {"dropped_env": [], "cascade": []}


@pytest.fixture
def chain(daemon):
    """Jobs 3 (failed), 5 (which waited for it), 4 (which waited for that): a cascade of 3 makes 13, 15 and 14."""
    waits = {3: [], 4: [5], 5: [3]}
    daemon.on("GET", "/jobs", reply([{"id": job_id, "depends_on_ids": others} for job_id, others in waits.items()]))
    along = [{"id": 10 + job_id, "run_name": "x", "redone_from": job_id} for job_id in (5, 4)]
    daemon.on("POST", "/jobs/3/redo", reply({**RECEIPT, "id": 13, "run_name": "x", "cascade": along}, 201))
    for job_id in (4, 5):
        daemon.on("POST", f"/jobs/{job_id}/redo", reply({**RECEIPT, "id": 10 + job_id, "run_name": "x"}, 201))
    return daemon


def done_again(daemon):
    return [asked.path.split("/")[2] for asked in daemon.asked if asked.method == "POST"]


def test_each_is_done_once_though_a_cascade_has_it_too(run, chain):
    done = run(COMMAND, "redo", "5,4,3", "--cascade", "--parsable")
    assert (done.status, done.out, done_again(chain)) == (0, "13\n15\n14\n", ["3"])
    assert "alike" not in chain.asked[-1].json
    run(COMMAND, "redo", "5,4,3", "--cascade", "--priority", "3")
    assert chain.asked[-1].json["alike"] == [5, 4, 3]


@pytest.fixture
def retried(daemon):
    """Job 3 failed, so did 4 and 6, which were tried in its place; nobody names 4."""
    found = [{"id": 3}, {"id": 6, "retried_from": 4}, {"id": 8}]
    daemon.on("GET", "/jobs", reply(found))
    daemon.on("GET", "/jobs/4", reply({"id": 4, "retried_from": 3}))
    for job_id in (3, 6, 8):
        along = [{"id": 19, "run_name": "x", "redone_from": 9}] if job_id != 8 else []
        receipt = {**RECEIPT, "id": 10 + job_id, "run_name": "x", "cascade": along}
        daemon.on("POST", f"/jobs/{job_id}/redo", reply(receipt, 201))
    return daemon


@pytest.mark.parametrize("named", ["3,6,8", "6,8,3"])
def test_a_job_and_its_later_attempt_are_done_once(run, retried, named):
    done = run(COMMAND, "redo", named, "--cascade")
    assert (done.status, sorted(done_again(retried))) == (0, ["3", "8"])
    assert "Job 6 was a later attempt of job 3, which is done again.\n" in done.out
    assert done.out.count("Job 9 \u2192 Job 19") == 1
    parsable = run(COMMAND, "redo", named, "--parsable", "--cascade").out.split()
    assert sorted(parsable) == ["13", "18", "19"]


def test_a_later_attempt_alone_is_done(run, retried):
    retried.on("GET", "/jobs", reply([{"id": 6, "retried_from": 4}, {"id": 8, "retried_from": 5}]))
    retried.on("GET", "/jobs/5", reply({"error": "Job 5 does not exist", "code": "not_found"}, 404))
    done = run(COMMAND, "redo", "6,8", "--cascade")
    assert (done.status, done.err, done_again(retried)) == (0, "", ["6", "8"])


def test_what_others_of_the_list_wait_for_is_done_first(run, chain):
    chain.on("POST", "/jobs/3/redo", reply({**RECEIPT, "id": 13, "run_name": "x"}, 201))
    run(COMMAND, "redo", "4,5,3")
    assert done_again(chain) == ["3", "5", "4"]


def test_programs_are_told_what_was_made_of_each(run, chain):
    chain.on("POST", "/jobs/9/redo", reply({"error": "Job 9 does not exist", "code": "not_found"}, 404))
    done = run(COMMAND, "redo", "3-4,9", "--cascade", "-o", "json")
    jobs = json.loads(done.out)["jobs"]
    assert (done.status, done.err) == (1, "gjob redo: Job 9 does not exist\n")
    assert [(job["id"], job["ok"], job["redone_as"], job["code"]) for job in jobs] == [
        (3, True, 13, None),
        (4, True, 14, None),
        (9, False, None, "not_found"),
    ]
    assert [job["redone_as"] for job in jobs[0]["cascade"]] == [15, 14]


@pytest.mark.parametrize("argv", [[], ["7", "--clear-deps", "-d", "1"], ["7", "--param", "x"], ["7", "--nosuch"]])
def test_wrong_usage_does_nothing(run, daemon, argv):
    assert run(COMMAND, "redo", *argv).status == 2
    assert daemon.asked == []
