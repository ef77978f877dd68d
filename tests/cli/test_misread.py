"""What a server answers that is none of gflow's: one line, whatever it is."""

import subprocess
import sys

import pytest

from gflow.cli import gctl, gjob, gstats
from gflow.cli.command import Command
from gflow.cli.entry import start
from support.fake_daemon import FakeRemote, reply


@pytest.fixture(scope="module")
def remote():
    with FakeRemote() as fake:
        yield fake


TABLES = {"gjob": gjob.COMMAND, "gctl": gctl.COMMAND, "gstats": gstats.COMMAND}


@pytest.mark.parametrize(
    ("words", "method", "route", "body"),
    [
        (("gjob", "show", "7"), "GET", "/jobs", [{}]),
        (("gjob", "show", "7"), "GET", "/jobs", [{"id": [1], "state": {}, "run_name": 3}]),
        (("gjob", "wait", "7"), "GET", "/jobs/7/wait", {"state": 7}),
        (("gjob", "why", "7"), "GET", "/jobs/7/why", {"reasons": 5}),
        (("gstats",), "GET", "/stats", {"jobs": "many"}),
        (("gctl", "webhooks"), "GET", "/notifications", {"targets": [[]]}),
        (("gctl", "reserve", "list"), "GET", "/reservations", [{"id": None}]),
        (("gctl", "quota", "list"), "GET", "/quotas", {"quotas": [{"scope": 3}]}),
    ],
)
def test_a_record_that_has_not_what_it_is_to_have_is_one_line(remote, run, words, method, route, body):
    remote.on(method, route, reply(body))
    done = run(TABLES[words[0]], *words[1:], "--url", remote.url())
    assert done.status == 1
    assert f": the daemon at {remote.url()} answered with something else (" in done.err
    assert done.err.endswith("): is it gflow?\n")
    assert done.err.count("\n") == 1


def test_an_error_of_ours_is_none_of_a_server(monkeypatch):
    from gflow.client import unix

    def fails(_values):
        raise KeyError("ours")

    monkeypatch.setattr(unix, "answered", [])
    with pytest.raises(KeyError):
        start(Command("gx", "Fails.", fails), [])


def test_who_looks_for_an_error_sees_all_of_it(remote):
    remote.on("GET", "/jobs", reply([{}]))
    argv = [sys.executable, "-X", "dev", "-m", "gflow", "job", "show", "7", "--url", remote.url()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
