"""Nothing that others named, or that a server says, steers the terminal of who reads it; programs get it exactly."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli import gbatch, gcancel, gctl, gjob, gqueue
from gflow.client import ssh
from gflow.client.plain import CONTROLS, TURNING, harmless
from gflow.client.voice import say
from support.fake_daemon import reply

EVIL = "\x1b]0;x\x07\x1b[2J\x9b31m\u202e\u2066\u200f\u061c\u2028"
STEERING = frozenset(map(chr, (*CONTROLS, *TURNING))) - {"\n", "\t"}
REASON = {"reason": "WaitingForGpu", "text": f"a{EVIL}", "help": f"b{EVIL}"}
WHY = {"id": 7, "state": f"Queued{EVIL}", "reasons": [REASON], "expected_start": None}
WHY |= {"expected_start_unknown": EVIL}
QUOTA = {"scope": f"user{EVIL}", "name": f"ana{EVIL}", "limits": {}}
QUOTA |= {"running_jobs": 1, "running_gpus": 0, "queued_jobs": 4}
ENDED = {"id": 7, "state": "Failed", "exit_code": 1, "signal": EVIL, "status_detail": EVIL, "run_name": EVIL}
SHOWN = ENDED | {"run_dir": EVIL, "parameters": {EVIL: EVIL}, "command": EVIL, "gpus": 0, "submitted_by": EVIL}
CANCELLED = {"jobs": [{"id": 7, "state": EVIL}], "dependents": [], "failed": [{"id": 8, "error": EVIL, "code": "x"}]}


def assert_harmless(done):
    assert not STEERING & set(done.out + done.err), done
    assert "?" in done.out + done.err


@pytest.mark.parametrize(
    ("table", "line", "route", "body"),
    [
        (gjob, "why 7", "GET /jobs/7/why", WHY),
        (gjob, "eta 7", "GET /jobs/7/why", WHY),
        (gjob, "show 7", "GET /jobs", [SHOWN]),
        (gjob, "wait 7", "GET /jobs/7/wait", ENDED),
        (gjob, "redo 7", "POST /jobs/7/redo", {"id": 8, "run_name": EVIL, "redone_from": 7, "dropped_env": [EVIL]}),
        (gjob, "update 7 --priority 9", "PATCH /jobs/7", {"updated_fields": [EVIL]}),
        (gctl, "quota list", "GET /quotas", {"quotas": [QUOTA]}),
        (gcancel, "7 --dry-run", "POST /jobs/cancel", CANCELLED),
        (gcancel, "7,8", "POST /jobs/cancel", CANCELLED),
        (gbatch, "true", "POST /jobs", {"id": 7, "run_name": EVIL, "warning": EVIL, "dropped_env": [EVIL]}),
    ],
)
def test_what_is_told_to_people_steers_nothing(run, daemon, table, line, route, body):
    method, path = route.split()
    daemon.on("GET", "/jobs", reply([]))
    daemon.on(method, path, reply(body))
    assert_harmless(run(table.COMMAND, *line.split()))


@pytest.mark.parametrize(
    ("table", "line", "route"),
    [
        (gqueue, "", "GET /queue"),
        (gbatch, "true", "POST /jobs"),
        (gcancel, "7", "POST /jobs/7/cancel"),
        (gjob, "show 7", "GET /jobs"),
        (gjob, "hold 7", "POST /jobs/7/hold"),
    ],
)
def test_no_refusal_does(run, daemon, table, line, route):
    daemon.on(*route.split(), reply({"error": f"no: {EVIL}", "code": EVIL}, 409))
    done = run(table.COMMAND, *line.split())
    assert done.status == 1
    assert_harmless(done)


def test_programs_are_told_exactly(run, daemon):
    daemon.on("GET", "/jobs/7/why", reply(WHY))
    daemon.on("GET", "/quotas", reply({"quotas": [QUOTA]}))
    told = json.loads(run(gjob.COMMAND, "why", "7", "-o", "json").out)
    assert told["jobs"][0]["reasons"] == [REASON]
    quotas = run(gctl.COMMAND, "quota", "list", "-o", "json").out
    assert json.loads(quotas)["quotas"][0]["scope"] == QUOTA["scope"]
    assert QUOTA["name"] in run(gctl.COMMAND, "quota", "list", "-o", "csv").out


@given(st.text(max_size=30))
def test_only_what_steers_is_taken_away(text):
    shown = harmless(text)
    assert len(shown) == len(text)
    steering = STEERING | {"\n", "\t"}
    assert all(new == ("?" if old in steering else old) for old, new in zip(text, shown, strict=True))


def test_a_complaint_is_one_line_whatever_it_is_about(capsys):
    say(f"a\nb\u2028c{EVIL}d")
    err = capsys.readouterr().err
    assert ": a b c?" in err
    assert err.count("\n") == 1
    assert not STEERING & set(err)


@pytest.mark.parametrize("endpoint", ["unix:/run/s", "unix:/far away/s", "unix:/$(touch x)'`"])
def test_the_line_for_a_terminal_far_away_is_that_command(endpoint):
    argv = ssh.attach("https://gpu.example:1", endpoint, 7)
    assert shlex.split(ssh.line(argv)) == argv
    assert shlex.split(argv[-1]) == [endpoint]
