"""The contract for scripts: -o on every command that shows something, its fields as docs/scripts.md lists them."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from gflow.cli import gbatch, gcancel, gctl, ginfo, gjob, gqueue, gstats
from gflow.cli.command import Command
from gflow.cli.progress import _fitting
from support.fake_daemon import reply

DOCUMENT = Path(__file__).parents[2] / "docs" / "scripts.md"
MOMENT = {"secs_since_epoch": 1770208245, "nanos_since_epoch": 0}
JOB = {
    "id": 7,
    "run_name": "train",
    "state": "Running",
    "command": "python train.py",
    "gpus": 1,
    "gpu_ids": [1],
    "submitted_by": "ann",
    "submitted_at": MOMENT,
    "started_at": MOMENT,
    "finished_at": None,
    "time_limit": {"secs": 7200, "nanos": 0},
    "depends_on_ids": [3],
    "reason": None,
}
WHY = {
    "id": 7,
    "state": "Queued",
    "reasons": [{"reason": "WaitingForGpu", "text": "It needs a GPU.", "help": ""}],
    "expected_start": 1770208245.5,
    "expected_start_unknown": None,
}
RESERVATION = {
    "id": 3,
    "user": "ann",
    "gpu_spec": {"count": 2},
    "start_time": MOMENT,
    "duration": {"secs": 3600, "nanos": 0},
    "status": "Pending",
    "created_at": MOMENT,
    "created_by": "root",
    "cancelled_at": None,
}
QUOTA = {"scope": "user", "name": "ann", "limits": {"max_running_jobs": 2}}
QUOTA |= {"running_jobs": 1, "running_gpus": 0, "queued_jobs": 4}
GROUP = {"group_id": "g", "first_job_id": 3, "name": "sweep", "user": "ann", "project": None, "max_concurrent": 2}
GROUP |= {"jobs": 10, "counts": {"Finished": 4, "Failed": 1, "Running": 2, "Queued": 3}}

PROCESS = {"pid": 5, "parent": 1, "state": "R", "threads": 2, "command": "x", "cpu_secs": 1.0, "memory_bytes": 4096}
PROCESSES = {"id": 7, "name": "train", "cpus": 8, "measured_at": 1770208255.5, "gpus": []}
PROCESSES |= {"processes": [PROCESS | {"started_at": 1770208245.5}]}
CANCELLED = {"jobs": [{"id": 7, "state": "Running"}], "dependents": [], "failed": []}


@pytest.fixture
def answering(daemon):
    daemon.on("GET", "/queue", reply("7\x1f00:00:05\x1f1\n"))
    daemon.on("GET", "/jobs", reply([JOB]))
    daemon.on("GET", "/progress", reply([{"id": 7, "percent": 45.5, "left_secs": None}]))
    daemon.on("GET", "/jobs/7/why", reply(WHY))
    daemon.on("GET", "/jobs/7/wait", reply(JOB | {"state": "Failed", "exit_code": 3, "status_detail": "x"}))
    daemon.on("POST", "/jobs/cancel", reply(CANCELLED))
    for verb in ("cancel", "hold", "release"):
        daemon.on("POST", f"/jobs/7/{verb}", reply(None))
    daemon.on("POST", "/jobs/7/redo", reply({"id": 9, "run_name": "x", "cascade": [], "dropped_env": []}, 201))
    daemon.on("PATCH", "/jobs/7", reply({"job": JOB, "updated_fields": ["priority"]}))
    daemon.on("POST", "/jobs/7/signal", reply({"id": 7, "signal": "SIGUSR1", "processes": 2}))
    daemon.on("GET", "/terminals", reply([{"id": 7, "name": "x", "state": "Failed", "session": "gjob-7"}]))
    daemon.on("DELETE", "/jobs/7/terminal", reply({"id": 7, "session": "gjob-7", "closed": True}))
    limit = {"group_id": "g", "max_concurrent": 3, "updated_jobs": 2}
    daemon.on("POST", "/groups/g/max-concurrency", reply(limit))
    drained = {"since": 1770208245.5, "by": "root", "reason": None}
    for verb in ("drain", "resume"):
        daemon.on("POST", f"/{verb}", reply({"changed": True, "drained": drained, "running_jobs": 0}))
    process = {"gpu_index": 1, "pid": 42, "inserted": True, "removed": True, "available": True}
    for verb in ("ignore", "unignore"):
        daemon.on("POST", f"/gpu-processes/{verb}", reply(process))
    daemon.on("POST", "/gpus", reply({"allowed_gpu_indices": [0]}))
    daemon.on("PUT", "/quotas", reply({"overrides": {}}))
    daemon.on("DELETE", "/quotas", reply({"removed": True}))
    daemon.on("GET", "/groups", reply([GROUP]))
    daemon.on("GET", "/quotas", reply({"quotas": [QUOTA]}))
    daemon.on("GET", "/gpu-processes", reply([{"gpu_index": 1, "pid": 42}]))
    daemon.on("GET", "/info", reply({"gpus": [{"index": 0, "uuid": "GPU-0", "available": True}]}))
    daemon.on("GET", "/reservations", reply([RESERVATION]))
    daemon.on("GET", "/reservations/3", reply(RESERVATION))
    daemon.on("DELETE", "/reservations/3", reply(None, 204))
    daemon.on("POST", "/jobs", reply({"id": 9, "run_name": "x", "dropped_env": []}, 201))
    daemon.on("GET", "/jobs/7/processes", reply(PROCESSES))
    daemon.on("POST", "/reservations", reply({"reservation_id": 3}))
    daemon.on("POST", "/notifications/test", reply({"results": [{"target": "t", "error": None, "secs": 0.1}]}))
    daemon.on("POST", "/state/compact", reply({"jobs": 1, "bytes_before": 2, "bytes_after": 1}))
    daemon.on("POST", "/state/prune", reply({"jobs": 1, "from_state": 1, "from_history": 0, "kept": 0, "logs": 0}))
    return daemon


def documented():
    """{command: (name of the list, its fields)} as the tables of the document have them."""
    rows = re.findall(r"^\| `([^`]+)` \| ?`?(\w*)`? ?\| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    return {command: (name, set(re.findall(r"`(\w+)`", fields))) for command, name, fields in rows}


CREATE = "reserve create --user ann --gpus 1 --start 2031-01-28T14:00Z --duration 2h"
LISTS = [
    (gbatch, "gbatch", "true"),
    (gqueue, "gqueue", ""),
    (gqueue, "gqueue --progress", ""),
    (gjob, "gjob show", "7"),
    (gjob, "gjob why", "7"),
    (gjob, "gjob eta", "7"),
    (gjob, "gjob top", "7"),
    (gjob, "gjob wait", "7"),
    (gcancel, "gcancel --dry-run", "7"),
    (gcancel, "gcancel", "7"),
    (gjob, "gjob redo", "7"),
    (gjob, "gjob update", "--priority 3 7"),
    (gjob, "gjob hold", "7"),
    (gjob, "gjob release", "7"),
    (gjob, "gjob close-sessions", "7"),
    (gctl, "gctl set-limit", "g 3"),
    (gctl, "gctl show-gpus", ""),
    (gctl, "gctl quota list", ""),
    (gctl, "gctl gpu-process list", ""),
    (gctl, "gctl reserve list", ""),
    (gctl, "gctl reserve get", "3"),
    (gctl, "gctl reserve cancel", "3"),
    (gctl, "gctl notify test", ""),
]


@pytest.mark.parametrize(("module", "command", "ids"), LISTS, ids=[command for _, command, _ in LISTS])
def test_a_list_has_the_documented_fields(run, answering, module, command, ids):
    words = command.split()[1:]

    def told(kind):
        return run(module.COMMAND, *words, "-o", kind, *ids.split()).out

    document = json.loads(told("json"))
    name, fields = documented()[command]
    (record,) = document[name]
    assert fields == record.keys() | ({"project", "reason", "memory_mb", "time_limit"} & fields)
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(told("yaml"))[name] is not None
    if "csv" in run(module.COMMAND, *words, "--help").out.partition("--output")[2][:80]:
        head, row = csv.reader(io.StringIO(told("csv")))
        assert set(head) <= fields
        assert len(head) == len(row)


ONE_DOCUMENT = [
    ("gctl reserve create", CREATE),
    ("gctl drain", "drain"),
    ("gctl resume", "resume"),
    ("gctl set-gpus", "set-gpus all"),
    ("gctl quota set", "quota set --user ann --max-queued-jobs 3"),
    ("gctl quota remove", "quota remove --user ann"),
    ("gctl gpu-process ignore", "gpu-process ignore --gpu 1 --pid 42"),
    ("gctl gpu-process unignore", "gpu-process unignore --gpu 1 --pid 42"),
    ("gctl state compact", "state compact"),
    ("gctl state prune", "state prune --before 30d"),
]


@pytest.mark.parametrize(("command", "argv"), ONE_DOCUMENT, ids=[command for command, _ in ONE_DOCUMENT])
def test_what_is_no_list_has_the_documented_fields(run, answering, command, argv):
    document = json.loads(run(gctl.COMMAND, *argv.split(), "-o", "json").out)
    assert documented()[command][1] == set(document)


def test_what_fails_is_on_stderr_and_the_rest_is_still_data(run, answering):
    done = run(gjob.COMMAND, "show", "7,8", "-o", "json")
    assert (done.status, done.err) == (1, "gjob show: Job 8 does not exist\n")
    assert [job["id"] for job in json.loads(done.out)["jobs"]] == [7]


def test_waiting_ends_as_the_job_did(run, answering):
    done = run(gjob.COMMAND, "wait", "7", "-o", "json")
    assert done.status == 3
    assert json.loads(done.out)["jobs"][0]["exit_code"] == 3


def test_of_each_job_it_is_told_whether_it_was_cancelled_in_the_order_asked_for(run, answering):
    refusal = {"id": 8, "error": "Job 8 does not exist", "code": "not_found"}
    answering.on("POST", "/jobs/cancel", reply(CANCELLED | {"failed": [refusal]}))
    done = run(gcancel.COMMAND, "8,7", "-o", "json")
    assert (done.status, done.err) == (1, "gcancel: Job 8 does not exist\n")
    assert json.loads(done.out)["jobs"] == [
        {"id": 8, "ok": False, "error": "Job 8 does not exist", "code": "not_found"},
        {"id": 7, "ok": True, "error": None, "code": None},
    ]


def test_csv_has_the_columns_that_are_asked_for(run, answering):
    answering.on("GET", "/queue", reply("3\x1f(Resources)\x1f7\n"))
    done = run(gqueue.COMMAND, "-f", "EXIT,NODELIST(REASON)", "-o", "csv")
    assert done.out == "exit,nodelist(reason)\n3,(Resources)\n"
    assert answering.asked[-1].query["columns"] == "EXIT,NODELIST(REASON),JOBID"


def test_a_signal_is_told_as_data(run, answering):
    (job,) = json.loads(run(gcancel.COMMAND, "7", "--signal", "USR1", "-o", "json").out)["jobs"]
    assert job == {"id": 7, "ok": True, "error": None, "code": None, "signal": "SIGUSR1", "processes": 2}


@pytest.mark.parametrize("verb", ["show", "wait"])
def test_what_is_asked_for_by_id_is_told_in_that_order_each_once(run, answering, verb):
    answering.on("GET", "/jobs", reply([JOB | {"id": 3}, JOB]))
    answering.on("GET", "/jobs/3/wait", reply(JOB | {"id": 3, "state": "Finished"}))
    jobs = json.loads(run(gjob.COMMAND, verb, "7", "3", "7", "-o", "json").out)["jobs"]
    assert [job["id"] for job in jobs] == [7, 3]


def test_of_a_job_all_is_told(run, answering):
    (job,) = json.loads(run(gjob.COMMAND, "show", "7", "-o", "json").out)["jobs"]
    assert (job["command"], job["depends_on"], job["gpus"], job["gpus_requested"]) == ("python train.py", [3], [1], 1)
    assert (job["time_limit"], job["time_limit_secs"]) == ("02:00:00", 7200.0)
    assert job["elapsed_secs"] > 0


def test_groups_say_how_far_they_are(run, answering):
    (group,) = json.loads(run(gqueue.COMMAND, "--progress", "-o", "json").out)["groups"]
    numbers = {name: group[name] for name in ("ended", "running", "waiting", "failed", "cancelled", "progress")}
    assert numbers == {"ended": 5, "running": 2, "waiting": 3, "failed": 1, "cancelled": 0, "progress": 0.5}
    assert run(gqueue.COMMAND, "--progress").out == (
        " JOBID   NAME    USER   JOBS   ENDED   RUNNING   WAITING   FAILED   CANCELLED   PROGRESS\n"
        " 3       sweep   ann    10     5       2         3         1        0           50%\n"
    )
    for most in (40, 50, 60, 80):
        text = _fitting([{**group, "name": "a-long-name"}], most, symbols=True)
        assert max(map(len, text.splitlines())) <= most
        assert " 50%" in text
    assert "█████░░░░░ 50%" in run(gqueue.COMMAND, "--progress", "--color", "always").out
    assert answering.asked[-1].query == {"mine": "1"}


def test_below_a_queue_on_a_terminal_there_are_bars(run, daemon, monkeypatch):
    row = ["4", "sweep", "PD", "-", "1", "(Resources)", "g"]
    daemon.on("GET", "/queue", reply("\x1f".join(row) + "\n"))
    daemon.on("GET", "/groups", reply([GROUP, GROUP | {"group_id": "other"}]))
    out = re.sub("\x1b\\[[0-9;]*m", "", run(gqueue.COMMAND, "--color", "always").out)
    assert out.splitlines()[2:] == [
        "",
        " sweep                 ██████████░░░░░░░░░░  5/10  2 running, 3 waiting, 1 failed",
    ]
    daemon.on("GET", "/queue", reply("\x1f".join(row[:-1]) + "\n"))
    assert len(run(gqueue.COMMAND).out.splitlines()) == 2, "not in a pipe"


def test_processes_are_told_with_their_shares(run, answering):
    (job,) = json.loads(run(gjob.COMMAND, "top", "7", "-o", "json").out)["jobs"]
    assert (job["measured_at"], job["memory_bytes"]) == ("2026-02-04T12:30:55Z", 4096)
    assert job["processes"][0]["started_at"] == "2026-02-04T12:30:45Z"
    assert run(gjob.COMMAND, "top", "7", "-w", "-o", "json").status == 2


SHOWING = {("gjob", name) for name in ("show", "why", "eta", "wait", "top")} | {
    ("gctl", name) for name in ("show-gpus", "webhooks")
}


def test_every_command_that_shows_something_has_the_option():
    for program, name in SHOWING:
        command = {"gjob": gjob, "gctl": gctl}[program].COMMAND.load(name)
        assert isinstance(command, Command)
        assert "--output" in {word for option in command.options for word in option.names}
    for module in (gbatch, gqueue, ginfo, gstats, gcancel):
        assert "-o" in {word for option in module.COMMAND.options for word in option.names}
