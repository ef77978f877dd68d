"""What people and programs see: tables on paper, data for programs, and one line for every mistake."""

import csv
import io
import json
import os
import pty
import subprocess

import pytest

from support.daemon import Daemon
from support.wait import until


@pytest.fixture(scope="module")
def ended(shared: Daemon) -> dict[str, int]:
    """One job of each end."""
    held = shared.gbatch("--hold", "true")
    ids = {
        "CD": shared.gbatch("--name", "good", "true"),
        "F": shared.gbatch("exit 3"),
        "TO": shared.gbatch("--time", "0:01", "sleep", "60"),
        "CA": held,
    }
    shared.cli("gcancel", str(held))
    shared.wait_jobs(list(ids.values()))
    return ids


def test_a_finished_job_is_shown_by_its_id(shared: Daemon, ended: dict[str, int]):
    shown = shared.cli("gqueue", "-j", str(ended["CD"]))
    assert (shown.returncode, shown.stderr) == (0, "")
    head, line = shown.stdout.splitlines()
    assert head.split() == ["JOBID", "NAME", "ST", "TIME", "NODES", "NODELIST(REASON)"]
    assert line.split() == [str(ended["CD"]), "good", "CD", "00:00:00", "0", "-"]


def test_every_end_has_its_code(shared: Daemon, ended: dict[str, int]):
    ids = ",".join(map(str, ended.values()))
    shown = shared.cli("gqueue", "-j", ids, "-f", "JOBID,ST,EXIT").stdout.splitlines()[1:]
    assert {line.split()[1]: (int(line.split()[0]), line.split()[2]) for line in shown} == {
        "CD": (ended["CD"], "0"),
        "F": (ended["F"], "3"),
        "TO": (ended["TO"], "130:SIGINT"),
        "CA": (ended["CA"], "-"),
    }


@pytest.mark.parametrize(
    "program", [("gqueue", "-a"), ("gqueue",), ("ginfo",), ("gjob", "show", "ID"), ("gstats",), ("gjob", "log", "ID")]
)
def test_in_a_pipe_all_is_plain_text(shared: Daemon, ended: dict[str, int], program: tuple[str, ...]):
    words = [str(ended["CD"]) if word == "ID" else word for word in program]
    piped = subprocess.run(
        ["bash", "-c", '"$@" | cat; exit "${PIPESTATUS[0]}"', "bash", *shared.command(*words)],
        env=shared.surroundings,
        capture_output=True,
        timeout=20,
        check=True,
    )
    assert piped.stderr == b""
    assert b"\x1b" not in piped.stdout
    assert piped.stdout.isascii()


def test_on_a_terminal_there_is_colour_unless_it_is_not_wanted(shared: Daemon, ended: dict[str, int]):
    assert b"\x1b[" in on_a_terminal(shared, {})
    assert b"\x1b[" not in on_a_terminal(shared, {"NO_COLOR": "1"})


def on_a_terminal(daemon: Daemon, more: dict[str, str]) -> bytes:
    """What `gqueue -a` prints to a terminal."""
    ours, theirs = pty.openpty()
    try:
        environment = {**daemon.surroundings, "TERM": "xterm-256color", **more}
        command = daemon.command("gqueue", "-a")
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as shown:
            os.close(theirs)
            printed = b""
            try:
                while piece := os.read(ours, 65536):
                    printed += piece
            except OSError:
                pass  # the other end is closed
            assert shown.wait(20) == 0
        return printed
    finally:
        os.close(ours)


def test_a_reader_that_has_seen_enough_ends_it_quietly(daemon: Daemon):
    daemon.submit_all([{"command": "true", "hold": True, "run_name": "x" * 100}] * 1000)
    listing = ["bash", "-c", '"$@" | head -n 1; echo "${PIPESTATUS[0]}"', "bash", *daemon.command("gqueue")]
    piped = subprocess.run(listing, env=daemon.surroundings, capture_output=True, timeout=20, check=True)
    head, status = piped.stdout.splitlines()
    assert (head.split()[0], status, piped.stderr) == (b"JOBID", b"141", b"")


def test_data_is_only_data(shared: Daemon, ended: dict[str, int]):
    asked = ("gqueue", "-j", f"{ended['CD']},{ended['F']}", "-o")
    listing = json.loads(shared.cli(*asked, "json").stdout)
    assert [job["id"] for job in listing["jobs"]] == [ended["CD"], ended["F"]]
    rows = list(csv.DictReader(io.StringIO(shared.cli(*asked, "csv").stdout)))
    assert [row["state"] for row in rows] == ["Finished", "Failed"]


def test_data_of_nothing_is_still_data(shared: Daemon):
    asked = ("gqueue", "-N", "no-such-name", "-o")
    assert json.loads(shared.cli(*asked, "json").stdout)["jobs"] == []
    assert list(csv.DictReader(io.StringIO(shared.cli(*asked, "csv").stdout))) == []


def test_missing_jobs_are_an_error_and_the_others_are_done(shared: Daemon):
    first, second = shared.gbatch("--hold", "true"), shared.gbatch("--hold", "true")
    done = shared.cli("gcancel", f"{first},999999,{second}")
    assert done.returncode == 1
    assert done.stdout == f"Job {first} cancelled.\nJob {second} cancelled.\n"
    assert "999999" in done.stderr
    assert shared.states(first, second) == ["Cancelled", "Cancelled"]


def test_a_final_job_cannot_be_cancelled(shared: Daemon, ended: dict[str, int]):
    refused = shared.cli("gcancel", str(ended["CD"]))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith(f"Job {ended['CD']} has ended already: Finished\n")


def test_waiting_gives_the_exit_code(shared: Daemon):
    assert shared.cli("gbatch", "--wait", "exit 7").returncode == 7
    ids = [shared.gbatch(f"exit {code}") for code in (0, 4, 2)]
    assert shared.cli("gjob", "wait", ",".join(map(str, ids))).returncode == 4


def test_attach_gives_the_terminal_of_the_job(shared: Daemon):
    job_id = shared.gbatch("read -r word; echo got $word")
    way = until(lambda: (found := shared.http("GET", f"/jobs/{job_id}/attach")).status == 200 and found, "a terminal")
    argv = way.body["argv"]
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env={"TERM": "xterm"}) as viewer:
        os.close(theirs)
        until(lambda: b"\x1b" in os.read(ours, 65536), "the terminal's picture")
        os.write(ours, b"hello\n")
        job = shared.wait_job(job_id)
        os.close(ours)
        viewer.wait(20)
    assert job["exit_code"] == 0
    assert shared.log(job_id) == b"hello\ngot hello\n"


def test_without_a_daemon_one_line_says_so_within_a_second(shared: Daemon):
    nowhere = str(shared.root / "nowhere.sock")
    for program in (("gqueue",), ("gbatch", "true"), ("ginfo",), ("gcancel", "1"), ("gjob", "show", "1")):
        done = shared.cli(*program, timeout_secs=5, GFLOW_DAEMON_SOCKET=nowhere)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert nowhere in done.stderr
        assert "gflowd up" in done.stderr
