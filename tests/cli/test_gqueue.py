"""gqueue: what is asked of the daemon, and what is printed of the answer."""

import csv
import io
import json

import pytest

from gflow.cli.gqueue import COMMAND
from support.fake_daemon import reply

DEFAULT = "JOBID,NAME,ST,TIME,NODES,NODELIST(REASON)"


def queue(daemon, *rows, total=None):
    text = "".join("\x1f".join(row) + "\n" for row in rows)
    daemon.on("GET", "/queue", reply(text, headers={"X-Total": str(len(rows) if total is None else total)}))


def asked_of(daemon):
    return daemon.asked[-1].query


def test_the_table_of_the_manual(run, daemon):
    queue(daemon, ["42", "elegant-mountain-1234", "R", "00:15:23", "02:00:00"])
    done = run(COMMAND, "-j", "42", "-f", "JOBID,NAME,ST,TIME,TIMELIMIT")
    assert done.out == (
        " JOBID   NAME                    ST   TIME       TIMELIMIT\n"
        " 42      elegant-mountain-1234   R    00:15:23   02:00:00\n"
    )
    assert (done.status, done.err) == (0, "")
    assert asked_of(daemon) == {"columns": "JOBID,NAME,ST,TIME,TIMELIMIT", "ids": "42", "sort": "id"}


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ([], {"mine": "1"}),
        (["-u", "all"], {}),
        (["-u", "*"], {}),
        (["-u", "ann,bob"], {"users": "ann,bob"}),
        (["-j", "1-3,7"], {"ids": "1-3,7"}),
        (["-j", "7", "--job", "9"], {"ids": "7,9"}),
        (["-j", "7", "-u", "ann"], {"ids": "7", "users": "ann"}),
        (["-a"], {"mine": "1", "states": "all"}),
        (["-c"], {"mine": "1", "states": "Finished,Failed,Cancelled,Timeout"}),
        (["-s", "Running,PD"], {"mine": "1", "states": "Running,Queued"}),
        (["-N", "a b,c"], {"mine": "1", "names": "a b,c"}),
        (["-N", r"lr=1\,2,c"], {"mine": "1", "names": r"lr=1\,2,c"}),
        (["-P", "ml"], {"mine": "1", "project": "ml"}),
        (["-n", "5"], {"mine": "1", "limit": "5"}),
        (["-n", "-5"], {"mine": "1", "limit": "-5"}),
        (["-n", "+5"], {"mine": "1", "limit": "5"}),
        (["-n", "0"], {"mine": "1"}),
        (["-r", "Priority"], {"mine": "1", "sort": "priority"}),
        (["--since", "1800000000"], {"mine": "1", "since": "1800000000"}),
        (["--since", "2026-02-01T08:30:00Z"], {"mine": "1", "since": "1769934600"}),
        (["-T"], {"mine": "1", "terminals": "1"}),
    ],
)
def test_every_filter_reaches_the_daemon(run, daemon, argv, query):
    queue(daemon)
    assert run(COMMAND, *argv).status == ("ids" in query)
    assert daemon.asked[0].query == {"columns": DEFAULT, "sort": "id"} | query


def test_jobs_that_are_named_and_do_not_exist_are_said(run, daemon):
    def answer(asked):
        row = ["2", "b", "R", "-", "0", "-"] if "NAME" in asked.query["columns"] else ["5"]
        return reply("\x1f".join(row) + "\n", headers={"X-Total": "1"})

    daemon.on("GET", "/queue", answer)
    done = run(COMMAND, "-j", "1-2,5,7-9", "-s", "R")
    assert (done.status, len(done.out.splitlines())) == (1, 2)
    assert done.err == "gqueue: Jobs 1,7-9 do not exist\n"
    assert asked_of(daemon) == {"columns": "JOBID", "states": "all", "ids": "1,5,7-9"}
    assert run(COMMAND, "-j", "2").err == ""


@pytest.mark.parametrize("argv", [["-g"], ["--by-state"], ["--group"], ["--group", "-u", "all"], ["--group="]])
def test_group_without_a_name_is_in_parts(run, daemon, argv):
    queue(daemon, ["1", "a", "R", "00:00:01", "0", "-"])
    assert run(COMMAND, *argv).out.startswith("Running (1)\n---")


@pytest.mark.parametrize("argv", [["--group", "lr"], ["--group=lr"], ["-t", "--group", "lr"], ["--group", "lr", "-g"]])
def test_group_with_a_name_is_a_filter(run, daemon, argv):
    queue(daemon)
    assert run(COMMAND, *argv).status == 0
    assert asked_of(daemon)["group"] == "lr"


def test_shorthands_are_resolved(run, daemon):
    daemon.on("GET", "/jobs/resolve-dependency", reply({"job_id": 12}))
    queue(daemon)
    run(COMMAND, "-j", "@,3-4")
    assert daemon.asked[1].query["ids"] == "12,3-4"


def test_an_empty_queue_says_so(run, daemon):
    queue(daemon)
    done = run(COMMAND)
    assert (done.status, done.out) == (0, "No jobs found.\n")


@pytest.mark.parametrize(("limit", "which"), [("1", "first"), ("-1", "last")])
def test_a_cut_list_says_so(run, daemon, limit, which):
    queue(daemon, ["1", "a", "R", "-", "0", "-"], total=3)
    assert run(COMMAND, "-n", limit).out.splitlines()[-1] == f"Showing {which} 1 of 3 jobs (use -n 0 to show all)"


def test_piped_output_is_plain_and_names_cannot_steer(run, daemon):
    queue(daemon, ["1", "a\x1b[31m\x07", "R", "00:00:01", "0", "-"])
    out = run(COMMAND).out
    assert "\x1b" not in out
    assert "\x07" not in out
    assert "○" not in out


def test_colours_and_symbols_when_asked_for(run, daemon):
    queue(daemon, ["1", "a", "R", "00:00:01", "0", "-", "-"], ["2", "b", "PD", "-", "0", "-", "-"])
    first, second = run(COMMAND, "--color", "always").out.splitlines()[1:]
    assert "a ○" in first
    assert "\x1b[32mR\x1b[0m" in first
    assert "○" not in second
    queue(daemon, ["1", "a", "R", "00:00:01", "0", "-"])
    assert "\x1b" not in run(COMMAND, "--color", "never").out


def test_symbols_need_no_state_column(run, daemon):
    queue(daemon, ["a", "R", "-"])
    assert run(COMMAND, "--color", "always", "-f", "NAME").out == " NAME\n a ○\n"
    assert asked_of(daemon)["columns"] == "NAME,ST,GROUPID"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["-f", "JOBID,NOPE"], "unknown column 'NOPE'; there are JOBID"),
        (["-s", "nope"], "unknown state 'nope'; there are Queued"),
        (["-r", "nope"], "not one of id, state"),
        (["-j", "1-"], "Invalid job ID or range"),
        (["-o", "xml"], "not one of table, json"),
        (["-n", "x"], "whole number"),
        (["stray"], "unexpected extra argument"),
    ],
)
def test_wrong_words_are_refused_naming_the_right_ones(run, daemon, argv, complaint):
    done = run(COMMAND, *argv)
    assert (done.status, done.out) == (2, "")
    assert complaint in done.err
    assert daemon.asked == []


JOB = {
    "id": 7,
    "run_name": "a,b",
    "state": "Queued",
    "gpus": 2,
    "gpu_ids": None,
    "submitted_by": "ann",
    "project": None,
    "submitted_at": {"secs_since_epoch": 1770208245, "nanos_since_epoch": 0},
    "time_limit": {"secs": 90000, "nanos": 0},
    "memory_limit_mb": 2048,
    "priority": 10,
    "exit_code": None,
}
RUNNING = JOB | {"id": 9, "state": "Running", "gpu_ids": [0, 1], "run_name": "yes", "project": "ml"}


@pytest.fixture
def two_jobs(daemon):
    """The daemon lists job 9 before job 7."""
    queue(daemon, ["9", "00:00:05", "0,1"], ["7", "-", "(Resources)"])
    daemon.on("GET", "/jobs", reply([JOB, RUNNING]))
    daemon.on("GET", "/progress", reply([{"id": 9, "percent": 45.5, "left_secs": 90.0}]))
    return daemon


def test_json_in_the_order_and_with_the_fields_of_the_manual(run, two_jobs):
    document = json.loads(run(COMMAND, "-u", "all", "-r", "state", "-o", "json").out)
    first, second = document["jobs"]
    assert (document["total"], first["id"], second["id"]) == (2, 9, 7)
    assert first | {"name": "yes", "gpus": [0, 1], "time": "00:00:05", "project": "ml"} == first
    assert second["submitted_at"] == "2026-02-04T12:30:45Z"
    assert (second["reason"], second["memory_mb"], second["time_limit"]) == ("Resources", 2048, "1-01:00:00")
    assert (second["gpus"], second["user"], second["exit_code"]) == ([], "ann", None)
    assert (first["progress_percent"], first["progress_left_secs"]) == (45.5, 90.0)
    assert (second["progress_percent"], second["progress_left_secs"]) == (None, None)
    assert two_jobs.asked[-1].query == {"ids": "9"}
    assert "project" not in second
    assert "reason" not in first
    assert two_jobs.asked[0].query["sort"] == "state"
    assert two_jobs.asked[1].query == {"ids": "7,9"}


def test_csv_is_csv(run, two_jobs):
    rows = list(csv.reader(io.StringIO(run(COMMAND, "-o", "csv").out)))
    assert rows == [
        ["id", "name", "state", "time", "gpus", "user", "submitted_at", "reason"],
        ["9", "yes", "Running", "00:00:05", "[0,1]", "ann", "2026-02-04T12:30:45Z", "-"],
        ["7", "a,b", "Queued", "-", "[]", "ann", "2026-02-04T12:30:45Z", "Resources"],
    ]


def test_yaml_says_the_same_as_json(run, two_jobs):
    yaml = pytest.importorskip("yaml")
    read = yaml.safe_load(run(COMMAND, "-o", "yaml").out)
    assert read["jobs"] == json.loads(run(COMMAND, "-o", "json").out)["jobs"]


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("json", '"jobs": []'),
        ("csv", "id,name,state,time,gpus,user,submitted_at,reason\n"),
        ("yaml", "jobs: []\ntotal: 0\n"),
    ],
)
def test_no_jobs_are_still_data(run, daemon, output, text):
    queue(daemon)
    done = run(COMMAND, "-o", output)
    assert done.status == 0
    assert text in done.out
    assert "No jobs found" not in done.out
    if output == "json":
        assert json.loads(done.out)["total"] == 0


def test_many_jobs_are_asked_for_in_short_requests(run, daemon):
    rows = [[str(job_id), "-", "-"] for job_id in range(1, 2001, 2)]
    queue(daemon, *rows)

    def some(asked):
        return reply([JOB | {"id": int(job_id)} for job_id in asked.query["ids"].split(",")])

    daemon.on("GET", "/jobs", some)
    assert len(json.loads(run(COMMAND, "-o", "json").out)["jobs"]) == 1000
    assert max(len(asked.query.get("ids", "")) for asked in daemon.asked) < 4000


def test_very_many_jobs_are_more_than_one_request(run, daemon):
    queue(daemon, *([str(job_id), "-", "-"] for job_id in range(1, 25_001)))
    daemon.on("GET", "/jobs", reply([]))
    assert run(COMMAND, "-o", "csv").status == 0
    assert [asked.query["ids"] for asked in daemon.asked[1:]] == ["1-10000", "10001-20000", "20001-25000"]


def test_a_job_that_goes_away_in_between_is_left_out(run, two_jobs):
    two_jobs.on("GET", "/jobs", reply([JOB]))
    assert [job["id"] for job in json.loads(run(COMMAND, "-o", "json").out)["jobs"]] == [7]


def test_a_refusal_of_the_daemon_is_one_line(run, daemon):
    daemon.on("GET", "/queue", reply({"error": "no such user 'x'", "code": "malformed"}, 400))
    done = run(COMMAND, "-u", "x")
    assert (done.status, done.out, done.err) == (1, "", "gqueue: no such user 'x'\n")


def test_jobs_that_cannot_be_read_any_more_are_said_to_be_left_out(run, daemon):
    daemon.on("GET", "/queue", reply("7\n", headers={"X-Total": "1", "X-Unreadable": "2"}))
    done = run(COMMAND, "-a", "-f", "JOBID")
    assert done.out == " JOBID\n 7\n"
    assert done.err == "gqueue: left out 2 ended jobs whose record cannot be read any more: see gctl state check\n"
    assert done.status == 1


def test_bars_of_arrays_are_for_eyes(run, daemon):
    group = {"group_id": "g", "first_job_id": 1, "name": "lr", "user": "ana", "counts": {"Queued": 4}}
    daemon.on("GET", "/groups", reply([group]))
    queue(daemon, ["1", "g"])
    assert run(COMMAND, "-f", "JOBID,GROUPID").out.splitlines()[1:] == [" 1       g"]
    queue(daemon, ["1", "g", "PD"])
    assert "0/4" in run(COMMAND, "-f", "JOBID,GROUPID", "--color", "always").out
