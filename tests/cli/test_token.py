"""gctl token."""

import json
import time

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from gflow.cli.kinds import lifetime
from support.fake_daemon import reply

MOMENT = 1795312506.5
TEXT = "gflow_3_secret"


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def token(**fields):
    return {
        "id": 3,
        "user": "alice",
        "name": None,
        "read_only": False,
        "admin": False,
        "created_at": MOMENT,
        "created_by": "root",
        "expires_at": None,
        "expired": False,
    } | fields


def made(daemon, **fields):
    daemon.on("POST", "/tokens", reply({"token": TEXT, "user_is_known": True, **token(**fields)}, 201))


def test_stdout_has_the_token_and_nothing_else(run, daemon):
    made(daemon, expires_at=MOMENT + 86400, read_only=True)
    done = run(GCTL, "token", "create", "--user", "alice", "--expires", "1d", "--read-only", "--name", "laptop")
    assert (done.status, done.out) == (0, f"{TEXT}\n")
    assert done.err == (
        "gctl token create: Token 3 for alice (read-only), good until 2026-11-23 01:55; it is not shown again\n"
    )
    (asked,) = daemon.asked
    assert asked.json == {
        "user": "alice",
        "name": "laptop",
        "expires_secs": 86400.0,
        "read_only": True,
        "admin": False,
    }


def test_without_a_user_it_is_ones_own_and_without_an_end_it_has_none(run, daemon):
    made(daemon, admin=True)
    done = run(GCTL, "token", "create", "--admin")
    assert done.err == "gctl token create: Token 3 for alice (admin), good until it is revoked; it is not shown again\n"
    assert (daemon.asked[0].json["user"], daemon.asked[0].json["expires_secs"]) == (None, None)


def test_a_name_the_machine_does_not_know_is_said(run, daemon):
    made(daemon, user="alcie", user_is_known=False)
    done = run(GCTL, "token", "create", "--user", "alcie")
    assert done.err.splitlines()[0] == "gctl token create: this machine has no user alcie"


def test_a_new_one_as_data(run, daemon):
    made(daemon)
    done = run(GCTL, "token", "create", "-o", "json")
    assert done.err == ""
    told = json.loads(done.out)
    assert (told["token"], told["id"], told["created_at"], told["expires_at"]) == (
        TEXT,
        3,
        "2026-11-22T01:55:06Z",
        None,
    )


def test_a_list_has_a_line_for_each(run, daemon):
    others = [token(id=4, name="ci\x1b[2J", read_only=True, expires_at=MOMENT, expired=True), token(id=5, admin=True)]
    daemon.on("GET", "/tokens", reply([token(), *others]))
    done = run(GCTL, "token", "list")
    assert done.out.splitlines() == [
        " ID   USER    NAME     RIGHTS      CREATED            BY     EXPIRES",
        " 3    alice   -        user        2026-11-22 01:55   root   never",
        " 4    alice   ci?[2J   read-only   2026-11-22 01:55   root   2026-11-22 01:55 (expired)",
        " 5    alice   -        admin       2026-11-22 01:55   root   never",
    ]


def test_a_list_as_data_also_when_it_is_empty(run, daemon):
    daemon.on("GET", "/tokens", reply([token(read_only=True)]))
    (told,) = json.loads(run(GCTL, "token", "list", "-o", "json").out)["tokens"]
    assert (told["id"], told["read_only"], told["expired"]) == (3, True, False)
    daemon.on("GET", "/tokens", reply([]))
    assert json.loads(run(GCTL, "token", "list", "-o", "json").out)["tokens"] == []
    assert run(GCTL, "token", "list").out == "No tokens found.\n"


def test_several_are_revoked_and_one_that_is_not_is_said(run, daemon):
    daemon.on("DELETE", "/tokens/3", reply(token()))
    daemon.on("DELETE", "/tokens/4", reply({"error": "There is no token 4", "code": "not_found"}, 404))
    done = run(GCTL, "token", "revoke", "3", "4")
    assert (done.status, done.out) == (1, "Token 3 of alice is revoked\n")
    assert done.err == "gctl token revoke: There is no token 4\n"


@pytest.mark.parametrize(
    ("text", "secs"), [("90s", 90), ("45m", 2700), ("12h", 43200), ("30d", 2592000), ("4w", 2419200)]
)
def test_how_long_one_is_good(text, secs):
    assert lifetime(text) == secs


@pytest.mark.parametrize("text", ["", "d", "30", "-1d", "0d", "1.5d", "1y", "٣d", "99999w", "9999999999d"])
def test_what_is_no_such_time(run, daemon, text):
    done = run(GCTL, "token", "create", "--expires", text)
    assert (done.status, daemon.asked) == (2, [])


@pytest.mark.parametrize(
    "argv", [["create", "--read-only", "--admin"], ["create", "alice"], ["revoke"], ["revoke", "x"]]
)
def test_what_makes_no_sense_is_a_usage_error(run, daemon, argv):
    assert run(GCTL, "token", *argv).status == 2
    assert daemon.asked == []
