"""The ways to look at the queue, on real jobs: trees, terminals, progress, narrow screens; and a drained machine."""

import json
import re

import pytest

from support.daemon import Daemon
from support.terminal import Terminal
from support.wait import until


def columns_of(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


def test_a_tree_of_what_waits_and_what_was_tried_again(shared: Daemon):
    first = shared.gbatch("--max-retries", "1", "exit 3")
    shared.wait_job(first)
    again = shared.job(first)["retried_as"]
    shared.wait_job(again)
    held = shared.gbatch("--hold", "true")
    below = shared.gbatch("--depends-on", str(held), "true")
    shown = shared.cli("gqueue", "-j", f"{first},{again},{held},{below}", "-t", "-f", "JOBID,ST").stdout
    assert columns_of(shown) == [[str(first), "F"], [f"`.{again}", "F"], [str(held), "H"], [f"`-{below}", "PD"]]
    shared.cli("gcancel", f"{held}")


def test_jobs_with_a_terminal(shared: Daemon):
    running, kept, gone = (shared.gbatch(*argv) for argv in (("sleep", "600"), ("--keep-session", "true"), ("true",)))
    shared.wait_running(running)
    shared.wait_jobs([kept, gone])
    shown = columns_of(shared.cli("gqueue", "-T", "-j", f"{running},{kept},{gone}", "-f", "JOBID,ST").stdout)
    assert shown == [[str(running), "R"], [str(kept), "CD"]]
    assert [str(kept), "CD"] in columns_of(shared.cli("gqueue", "--tmux", "-f", "JOBID,ST").stdout)
    shared.cli("gcancel", f"{running}")
    shared.wait_job(running)


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_table_fits_the_terminal_and_arrays_have_bars(shared: Daemon, columns: int):
    name = "a-name-that-is-longer-than-some-terminals-are-wide"
    ids = shared.cli(
        "gbatch", "--parsable", "--hold", "--array", "1-3", "--max-concurrent", "1", "--name", name, "true"
    )
    chosen = ",".join(ids.stdout.split())
    with Terminal(shared.command("gqueue", "-j", chosen), shared.surroundings, columns) as terminal:
        assert terminal.end() == 0
    lines = re.sub("\x1b\\[[0-9;]*m", "", terminal.printed).split("\r\n")[:-1]
    assert max(map(len, lines)) <= columns
    assert [line.split()[0] for line in lines[1:4]] == ids.stdout.split()
    assert "0/3" in lines[-1]
    assert ("…" in lines[1]) == (columns < 120)
    (group,) = [one for one in groups(shared) if one["first_job_id"] == int(ids.stdout.split()[0])]
    assert (group["jobs"], group["waiting"], group["name"]) == (3, 3, name)
    shared.cli("gcancel", chosen)


def groups(daemon: Daemon) -> list[dict[str, object]]:
    return json.loads(daemon.cli("gqueue", "--progress", "-o", "json").stdout)["groups"]


def test_a_change_is_seen_as_it_happens(shared: Daemon):
    with Terminal(shared.command("gqueue", "-w", "-f", "JOBID,NAME,ST"), shared.surroundings) as terminal:
        until(lambda: terminal.pictures, "the first picture")
        job_id = shared.gbatch("--name", "seen-at-once", "--hold", "true")
        until(lambda: "seen-at-once" in terminal.picture, "the submission")
        shared.cli("gcancel", str(job_id))
        until(lambda: "seen-at-once" not in terminal.picture, "the end")
        terminal.press("q")
        assert terminal.end() == 0


def test_a_drained_machine_starts_nothing_and_says_so(shared: Daemon):
    running = shared.gbatch("sleep", "600")
    shared.wait_running(running)
    try:
        assert "1 job is running" in shared.cli("gctl", "drain", "--reason", "new disks").stdout
        waiting = shared.gbatch("true")
        shown = shared.cli("gqueue", "-j", str(waiting), "-f", "NODELIST(REASON),REASON").stdout
        assert columns_of(shown) == [["(Drained)", "Drained:", "new", "disks"]]
        assert "gctl resume" in shared.cli("gjob", "why", str(waiting)).stdout
        assert "no start can be told: nothing is started while" in shared.cli("gjob", "eta", str(waiting)).stdout
        assert "Drained since" in shared.cli("ginfo").stdout
        assert "Drained since" in shared.cli("gflowd", "status").stdout
        assert (
            json.loads(shared.cli("gflowd", "status", "-o", "json").stdout)["details"]["drained"]["reason"]
            == "new disks"
        )
        shared.cli("gcancel", str(running))
        assert shared.cli("gctl", "drain", "--wait").stdout.endswith("Nothing runs any more.\n")
        assert shared.states(waiting) == ["Queued"]
    finally:
        assert shared.cli("gctl", "resume").stdout == "Jobs are started again.\n"
    assert shared.wait_job(waiting)["state"] == "Finished"
    assert next(row for row in figures(shared) if row["user"] == shared.job(waiting)["submitted_by"])["total_jobs"] >= 2


def figures(daemon: Daemon) -> list[dict[str, object]]:
    return json.loads(daemon.cli("gstats", "--by", "user", "-o", "json").stdout)["rows"]
