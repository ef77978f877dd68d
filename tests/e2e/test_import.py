"""Coming from the older gflow, with the real daemon, commands and tmux: on first start, by command, with live jobs."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.launch.adopted import UNREPORTED
from gflow.store.imports.jobs import LOST
from support.daemon import Daemon
from support.older import SAMPLE_JSON, SAMPLE_MSGPACK, old_job, old_state, packed, span, stamp
from support.older_session import OlderSessions, fake_gcancel, wait_busy

pytestmark = pytest.mark.once


@pytest.fixture
def place() -> Iterator[Daemon]:
    """The scratch directories of a daemon that has not been started yet."""
    nobody = Daemon("--simulated-gpus", "4")
    nobody.data.mkdir(mode=0o755, parents=True)
    try:
        yield nobody
    finally:
        nobody.close()


@pytest.fixture
def sessions(place: Daemon) -> Iterator[OlderSessions]:
    """What stands for the user's tmux server, where gcancel is ours."""
    path = fake_gcancel(place.root / "bin", place.command("gcancel"))
    made = OlderSessions(place.root / "tmux", {**place.surroundings, "PATH": path})
    yield made
    made.close()


def leave(place: Daemon, state: object, name: str = "state.json") -> Path:
    """What the older gflow has left in the data directory."""
    path = place.data / name
    path.write_bytes(state.read_bytes() if isinstance(state, Path) else json.dumps(state).encode())
    return path


def shown(place: Daemon, job_id: int) -> dict[str, str]:
    """What gjob show says of a job."""
    done = place.cli("gjob", "show", str(job_id))
    assert (done.returncode, done.stderr) == (0, ""), done
    return dict(line.strip().split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def listed(place: Daemon) -> dict[str, list[str]]:
    """What gqueue -a lists, by id."""
    done = place.cli("gqueue", "-a", "-u", "all", "-f", "JOBID,NAME,ST,NODELIST(REASON)")
    assert (done.returncode, done.stderr) == (0, ""), done
    return {row.split()[0]: row.split()[1:] for row in done.stdout.splitlines()[1:]}


def test_the_first_start_takes_over_the_packed_state(place: Daemon):
    leave(place, SAMPLE_MSGPACK, "state.msgpack")
    (place.data / "state.journal.jsonl").touch()
    place.start()
    rows = listed(place)
    assert len(rows) == 16
    assert rows["1"][:2] == ["gjob-1-prep", "CD"]
    assert rows["10"][:2] == ["gjob-10-slow", "TO"]
    assert rows["12"][:3] == ["gjob-12-later", "PD", "(BeginTime)"]
    assert rows["15"][:3] == ["gjob-15", "PD", "(Dependency)"]
    assert rows["14"][:3] == ["gjob-14-held", "H", "(JobHeldUser)"]
    assert shown(place, 4)["TaskID"] == "2"
    shared = shown(place, 11)
    assert (shared["GPUSharing"], shared["GPUMemoryLimit"]) == ("shared", "20G (declared)")
    assert shown(place, 15)["DependsOn"] == "2,7"
    assert shown(place, 16)["MaxRetries"] == "1"
    assert place.job(16)["redone_from"] == 9
    assert place.job(12)["scheduled_at"] == {"secs_since_epoch": 1801468800, "nanos_since_epoch": 0}
    assert place.job(7)["max_concurrent"] == 1
    [backup] = place.data.glob("state.msgpack.backup.*")
    assert backup.read_bytes() == SAMPLE_MSGPACK.read_bytes()
    assert "imported 16 jobs" in place.said()
    assert place.submit("true") == 17

    place.restart()
    assert place.said().count("imported 16 jobs") == 1
    assert len(place.jobs()) == 17
    assert place.submit("true") == 18


def test_the_first_start_takes_over_the_json_state_and_its_jobs_run(place: Daemon):
    state = json.loads(SAMPLE_JSON.read_bytes())
    for job in state["jobs"].values():
        job["run_dir"] = str(place.work)
    state["jobs"]["8"]["command"] = "echo lr is '{lr}', gpus are $CUDA_VISIBLE_DEVICES"
    script = place.work / "x.sh"
    script.write_text("#!/bin/bash\necho from the script\n")
    state["jobs"]["11"] |= {"command": None, "script": str(script)}
    path = leave(place, state)
    before = path.read_bytes()
    place.start()
    script.write_text("#!/bin/bash\necho changed since\n")
    assert path.read_bytes() == before
    assert place.wait_job(8)["exit_code"] == 0
    assert place.log(8) == b"lr is 0.2, gpus are 0,1,2,3\n"
    assert place.wait_job(11)["exit_code"] == 0
    assert place.log(11) == b"from the script\n"
    lost = shown(place, 1)
    assert lost["State"] == "Failed (F)"
    assert LOST in place.job(1)["reason"]["SystemError"]
    assert place.job(2)["reason"] == {"DependencyFailed": 1}
    assert place.cli("gjob", "release", "10").returncode == 0
    ended = place.wait_job(10)
    assert ended["state"] == "Timeout"
    assert place.submit("true") == 13


def test_reservations_come_along_and_keep_others_out(place: Daemon):
    begins = int(time.time()) // 1800 * 1800
    later = begins + 5 * 86400
    common = {"duration": span(7200), "created_at": stamp(begins - 60), "cancelled_at": None}
    first = {"id": 3, "user": "alice", "gpu_spec": {"count": 4}}
    second = {"id": 5, "user": "bob", "gpu_spec": {"indices": [0]}}
    reservations = [
        {**first, **common, "start_time": stamp(begins), "status": "Active"},
        {**second, **common, "start_time": stamp(later), "status": "Pending"},
    ]
    leave(place, old_state(version=4, reservations=reservations, next_reservation_id=6))
    place.start()
    assert "not acted on" not in place.said()
    assert [(one["id"], one["user"], one["status"]) for one in place.get("/reservations")] == [
        (3, "alice", "Active"),
        (5, "bob", "Pending"),
    ]
    waiting = place.submit("true", gpus=1, time_limit=60)
    assert "for alice (reservation 3)" in place.cli("gjob", "why", str(waiting)).stdout
    assert place.cli("gctl", "reserve", "cancel", "3").returncode == 0
    assert place.wait_job(waiting)["state"] == "Finished"
    wanted = {"user": "eve", "gpu_count": 1, "start_time": later, "duration_secs": 3600}
    assert place.http("POST", "/reservations", wanted).body == {"reservation_id": 6}


def test_the_command_shows_what_would_come_and_then_takes_it_over_once(place: Daemon):
    shutil.rmtree(place.data)
    path = place.work / "old.json"
    shutil.copy(SAMPLE_JSON, path)

    dry = place.cli("gflowd", "import", str(path), "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    lines = dry.stdout.splitlines()
    assert lines[0] == (
        f"{path}: gflow state version 2, JSON, 12 jobs (4 Queued, 1 Hold, 3 Finished, 2 Failed, 2 Cancelled)"
    )
    assert lines[2].split() == ["JOBID", "ST", "NAME", "CHANGES"]
    assert lines[3].split(maxsplit=3) == ["1", "F", "prep", "was running and its tmux session is gone: Failed"]
    assert lines[-1] == f"Nothing was written. To import it: gflowd import {path}"
    assert not place.data.exists()

    done = place.cli("gflowd", "import", str(path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Imported 12 jobs (4 Queued,")
    assert "Note: job 1 was running and its tmux session is gone: Failed" in done.stdout
    again = place.cli("gflowd", "import", str(path))
    assert (again.returncode, again.stdout) == (0, f"{path} was imported before: nothing to do.\n")

    place.start()
    assert len(listed(place)) == 12
    busy = place.cli("gflowd", "import", str(path), "--dry-run")
    assert (busy.returncode, busy.stdout) == (1, "")
    assert busy.stderr.startswith(f"gflowd: {place.data} is in use by gflowd, process {place.pid}")
    in_use = place.cli("gflowd", "import", str(path))
    assert (in_use.returncode, f"process {place.pid}" in in_use.stderr) == (1, True)
    place.submit("true")
    assert place.stop() == 0

    known = place.cli("gflowd", "import", str(path))
    assert (known.returncode, known.stdout) == (0, f"{path} was imported before: nothing to do.\n")
    other = place.cli("gflowd", "import", str(SAMPLE_MSGPACK))
    assert other.returncode == 1
    assert "it has job 1, and ids up to 13 have been given here already" in other.stderr
    place.start()
    assert len(listed(place)) == 13


def test_a_state_that_cannot_be_read_is_named_in_one_line(place: Daemon):
    path = place.work / "old.json"
    path.write_text('{"version": 7, "jobs": []}')
    done = place.cli("gflowd", "import", str(path))
    newer = "it was written by a newer gflow (state version 7; 0 to 4 can be imported)"
    assert (done.returncode, done.stderr) == (1, f"gflowd: {path}: cannot be imported: {newer}\n")
    left = leave(place, {"version": 7, "jobs": []})
    place.begin()
    assert place.process is not None
    assert place.process.wait(20) == 1
    assert f"gflowd: {left}: cannot be imported: {newer}" in place.said()
    assert [path.name for path in place.data.glob("state*")] == ["state.json"]


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (SAMPLE_MSGPACK.read_bytes()[:5000], "it is neither JSON nor MessagePack, or was cut short"),
        (packed({"version": 5, "job_specs": []}), "it was written by a newer gflow (state version 5;"),
    ],
    ids=["cut short", "a later version"],
)
def test_a_packed_state_that_cannot_be_read_is_served_around_and_left_alone(place: Daemon, state: bytes, why: str):
    path = place.data / "state.msgpack"
    path.write_bytes(state)
    place.start()
    assert place.get("/health")["status"] == "recovery"
    assert f"{path}: cannot be imported: {why}" in place.said()
    assert place.wait_job(place.submit("true"))["state"] == "Finished"
    assert place.stop() == 0
    assert path.read_bytes() == state


def live_state(sessions: OlderSessions, place: Daemon, **commands: str) -> None:
    """Running jobs in sessions of their own, by name, and the state the older gflow has left of them."""
    jobs = []
    for job_id, (name, command) in enumerate(commands.items(), 1):
        started = sessions.start(name, job_id, command, place.data / "logs" / f"{job_id}.log")
        where = {"run_dir": str(place.work), "gpus": 1, "gpu_ids": [job_id - 1]}
        jobs.append(old_job(job_id, state="Running", run_name=name, started_at=stamp(started), **where))
    leave(place, old_state(*jobs, version=3))


def test_a_live_job_goes_on_and_is_over_when_it_says_so(place: Daemon, sessions: OlderSessions):
    gate = place.work / "gate"
    live_state(sessions, place, train=f"until test -e {gate}; do sleep 0.05; done; echo done")
    wait_busy(sessions, "train")
    place.start()
    job = place.job(1)
    assert (job["state"], job["gpu_ids"], job["session"]) == ("Running", [0], "train")
    assert shown(place, 1)["TmuxSession"] == "train"
    waiting = place.submit("true", depends_on=1)
    other = place.gbatch("-g", "4", "true")
    place.restart()
    assert place.states(1, waiting, other) == ["Running", "Queued", "Queued"]
    attached = place.get("/jobs/1/attach")["argv"]
    assert (attached[:2], attached[3]) == (["tmux", "-S"], "attach-session")

    gate.touch()
    ended = place.wait_job(1)
    assert (ended["state"], ended["exit_code"], ended["reason"]) == ("Finished", 0, None)
    assert place.wait_job(waiting)["state"] == "Finished"
    assert place.wait_job(other)["state"] == "Finished"
    assert b"done" in place.log(1)
    assert sessions.names() == ["train"]


def test_live_jobs_that_fail_vanish_or_say_nothing(place: Daemon, sessions: OlderSessions):
    gate = place.work / "gate"
    opened = f"until test -e {gate}; do sleep 0.05; done"
    live_state(sessions, place, fails=f"{opened}; false", quiet=f"{opened}; exit 0", closed="sleep 600")
    for name in ("fails", "quiet", "closed"):
        wait_busy(sessions, name)
    place.start()
    assert place.states(1, 2, 3) == ["Running", "Running", "Running"]
    gate.touch()
    sessions.tmux("kill-session", "-t", "=closed")
    fails, quiet, closed = place.wait_jobs([1, 2, 3])
    assert (fails["state"], fails["reason"]) == ("Failed", None)
    assert (quiet["state"], quiet["reason"]) == ("Failed", {"SystemError": UNREPORTED})
    assert closed["state"] == "Failed"
    assert "closed" in closed["reason"]["SystemError"]


def test_live_jobs_are_cancelled_and_timed_out_like_others(place: Daemon, sessions: OlderSessions):
    live_state(
        sessions, place, gentle="sleep 600", stubborn="trap '' INT TERM; sleep 600; sleep 600", limited="sleep 600"
    )
    state = json.loads((place.data / "state.json").read_bytes())
    state["jobs"][2]["time_limit"] = span(3)
    leave(place, state)
    for name in ("gentle", "stubborn", "limited"):
        wait_busy(sessions, name)
    place.start()
    assert place.cli("gcancel", "1,2").returncode == 0
    gentle, stubborn, limited = place.wait_jobs([1, 2, 3])
    assert [job["state"] for job in (gentle, stubborn, limited)] == ["Cancelled", "Cancelled", "Timeout"]
    assert limited["status_detail"] == "time limit of 00:00:03 reached"
    assert not [gpu for gpu in place.get("/info")["gpus"] if not gpu["available"]]
    assert sorted(sessions.names()) == ["gentle", "limited", "stubborn"]


def test_a_job_whose_session_has_only_a_longer_name_is_lost(place: Daemon, sessions: OlderSessions):
    started = sessions.start("gjob-10", 10, "sleep 600")
    leave(place, old_state(old_job(1, state="Running", run_name="gjob-1", started_at=stamp(started), gpu_ids=[])))
    place.start()
    job = place.job(1)
    assert (job["state"], job["reason"]) == ("Failed", {"SystemError": LOST})
    assert sessions.names() == ["gjob-10"]
