"""Times are shown in the zone of whoever asks, whatever that of the daemon: TZ, else that of the machine."""

import os
import subprocess
import sys
import time

import pytest

from gflow.cli.gjob import COMMAND as GJOB
from gflow.cli.gqueue import COMMAND as GQUEUE
from gflow.core.moments import parse_since
from support.fake_daemon import reply

SUMMER, WINTER = 1_782_907_200, 1_795_879_222  # 2026-07-01 12:00:00 and 2026-11-28 15:20:22 UTC


@pytest.fixture(autouse=True)
def new_york(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def queue(daemon):
    """Answers with these rows, and has the moments in them."""

    def rows(*found):
        text = "".join("\x1f".join(row) + "\n" for row in found)
        daemon.on("GET", "/queue", reply(text, headers={"X-Total": str(len(found))}))
        return daemon

    return rows


def shown(done):
    return [line.split() for line in done.out.splitlines()[1:]]


def test_each_moment_has_the_clocks_of_its_day(run, queue):
    daemon = queue([f"@{SUMMER}", f"~@{WINTER}", "-"])
    assert shown(run(GQUEUE, "-f", "SUBMIT,START,END")) == [["2026-07-01T08:00:00", "~2026-11-28T10:20:22", "-"]]
    assert daemon.asked[-1].query["epoch"] == "1"


def test_what_is_shown_means_the_same_moment_to_an_option(run, queue):
    queue([f"@{SUMMER}", f"@{WINTER}"])
    (cells,) = shown(run(GQUEUE, "-f", "SUBMIT,END"))
    assert [parse_since(cell, WINTER) for cell in cells] == [SUMMER, WINTER]


def test_a_begin_time_among_the_reasons(run, queue):
    others = ["On hold", "ana@100 ran it", "Not before @noon", "@", "Not before @9999999999999", "~@\u0663"]
    queue([f"Not before @{WINTER}"], *([text] for text in others))
    lines = [line.strip() for line in run(GQUEUE, "-f", "REASON").out.splitlines()[1:]]
    assert lines == ["Not before 2026-11-28T10:20:22", *others]


def test_a_name_is_no_moment(run, queue):
    daemon = queue([f"@{WINTER}"])
    assert shown(run(GQUEUE, "-f", "NAME")) == [[f"@{WINTER}"]]
    assert "epoch" not in daemon.asked[-1].query


def test_columns_as_csv(run, queue):
    queue([f"@{SUMMER}", "7"])
    assert run(GQUEUE, "-f", "SUBMIT", "-o", "csv").out == "submit\n2026-07-01T08:00:00\n"


@pytest.mark.parametrize(("zone", "clock"), [("Asia/Kathmandu", "21:05:22"), ("UTC", "15:20:22"), ("XYZ3", "12:20:22")])
def test_a_process_of_its_own_goes_by_its_own_zone(queue, zone, clock):
    queue([f"@{WINTER}"])
    command = [sys.executable, "-m", "gflow", "gqueue", "-f", "END"]
    done = subprocess.run(command, env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["END", f"2026-11-28T{clock}"]


def test_reasons_have_the_times_that_stand_beside_them(run, daemon):
    texts = ["It is not to start before 2026-11-28 15:20:22 UTC, in 1h.", "Drained: until 2026-99-99 00:00:00 UTC."]
    answer = {"id": 7, "state": "Queued", "reasons": [{"reason": None, "text": text, "help": ""} for text in texts]}
    daemon.on("GET", "/jobs/7/why", reply(answer | {"expected_start": WINTER, "expected_start_unknown": None}))
    lines = run(GJOB, "why", "7").out.splitlines()
    assert lines[1:3] == ["  It is not to start before 2026-11-28 10:20:22, in 1h.", f"  {texts[1]}"]
    assert lines[3].startswith("  Expected to start at 11/28-10:20:22, ")
    assert "15:20:22 UTC" in run(GJOB, "why", "7", "-o", "json").out
