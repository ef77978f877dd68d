"""`/state/compact` and `/state/prune`."""

import errno
import time
from dataclasses import replace
from unittest.mock import patch

import pytest
import trio

from gflow.api import state as module
from gflow.core.model import JobId
from gflow.store.history import History
from gflow.store.load import load
from gflow.store.snapshot import NAME, read_snapshot
from support.desk import eventually
from support.faulty_disk import FaultyDisk
from support.house import House
from support.jobs import spec

SOMEBODY = 4711


async def ended(house, *, ago=0.0, **fields):
    """A job that has run, with a log, and ended so many seconds ago; its id."""
    job_id = await house.start(**fields)
    house.write_log(job_id, b"x\n")
    await house.end(job_id)
    age(house, job_id, ago)
    return job_id


def age(house, job_id, secs):
    """As if the job had ended so much earlier."""
    job = house.engine.jobs[JobId(job_id)]
    house.engine.jobs[job.id] = replace(job, finished_at=job.finished_at - secs)


async def prune(house, *, ago=3600.0, **wanted):
    """The numbers it answers with: of jobs, from the state, from the history, kept, logs."""
    before = time.time() - ago
    answer = await house.ask("POST", "/state/prune", {"before": before, **wanted})
    assert (answer.pop("before"), answer.pop("dry_run")) == (before, wanted.get("dry_run", False))
    assert list(answer) == ["jobs", "from_state", "from_history", "kept", "logs"]
    return list(answer.values())


def logs(house):
    return sorted(int(path.stem) for path in (house.data_dir / "logs").iterdir())


# -- compact -----------------------------------------------------------------------------------------------------------


async def test_compact_answers_when_a_snapshot_of_everything_is_on_disk(house):
    for _ in range(3):
        await ended(house)
    answer = await house.ask("POST", "/state/compact")
    snapshot = read_snapshot(house.data_dir / NAME)
    assert (len(snapshot.state.jobs), snapshot.seq) == (3, house.runtime.last_seq)
    assert answer["jobs"] == 3
    assert 0 < (house.data_dir / NAME).stat().st_size < answer["bytes_after"]
    assert answer["bytes_before"] > 0
    assert load(house.data_dir).jobs == house.engine.jobs


async def test_compact_one_after_the_other_and_at_the_same_time(house):
    await ended(house)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(house.ask, "POST", "/state/compact")
        nursery.start_soon(house.submit)
    assert (await house.ask("POST", "/state/compact"))["jobs"] == 2
    assert load(house.data_dir).jobs == house.engine.jobs


async def test_compact_before_anything_has_happened(house):
    assert (await house.ask("POST", "/state/compact"))["jobs"] == 0
    assert await house.submit() == 1


async def test_compact_that_cannot_be_written_is_told_of_and_harms_nothing(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        await house.submit(hold=True)
        disk.failing["replace"] = errno.EROFS
        says = await house.refused("POST", "/state/compact", status=503, code="unavailable")
        assert "Read-only file system" in says
        disk.failing.clear()
        assert (await house.ask("POST", "/state/compact"))["jobs"] == 1


async def test_compact_while_the_daemon_stops_is_told_of(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        await house.submit(hold=True)
        answers = []

        async def ask():
            answers.append(await house.client.post("/state/compact"))

        disk.hold_syncs()
        house.nursery.start_soon(ask)
        await eventually(disk.syncing.is_set, "a sync")
        house.runtime.stopping = True
        house.nursery.start_soon(house.persistence.close)
        await eventually(lambda: house.persistence._closing, "the end")
        disk.release_syncs()
        await eventually(lambda: answers, "an answer")
        assert answers[0].status_code in (200, 503)


# -- prune -------------------------------------------------------------------------------------------------------------


async def test_prune_removes_what_ended_before(house):
    for ago in (7200, 7000, 10):
        await ended(house, ago=ago)
    await ended(house, ago=9000)
    await house.retire(4)
    assert await prune(house) == [3, 2, 1, 0, 0]
    assert [job["id"] for job in await house.get("/jobs")] == [3]
    await house.refused("GET", "/jobs/1", status=404, code="not_found")
    await house.refused("GET", "/jobs/4", status=404, code="not_found")
    assert logs(house) == [1, 2, 3, 4]
    assert list(load(house.data_dir).jobs) == [3]
    assert await house.submit(hold=True) == 5


async def test_prune_dry_run_changes_nothing(house):
    await ended(house, ago=7200)
    await ended(house, ago=7200)
    await house.retire(2)
    seq = house.runtime.last_seq
    assert await prune(house, dry_run=True, logs=True) == [2, 1, 1, 0, 2]
    assert (house.runtime.last_seq, len(await house.get("/jobs")), logs(house)) == (seq, 2, [1, 2])
    assert await prune(house, logs=True) == [2, 1, 1, 0, 2]
    assert (await house.get("/jobs"), logs(house)) == ([], [])


async def test_prune_keeps_what_a_waiting_job_depends_on(house):
    await ended(house, ago=7200)
    await ended(house, ago=7200)
    await house.submit(hold=True, depends_on_ids=[1])
    assert await prune(house, logs=True) == [1, 1, 0, 1, 1]
    assert ([job["id"] for job in await house.get("/jobs")], logs(house)) == ([1, 3], [1])


async def test_prune_keeps_what_somebody_comes_to_depend_on_meanwhile(house):
    """The jobs leave in two steps; between them there is a job that waits for one of the second."""
    for _ in range(3):
        await ended(house, ago=7200)
    durable = house.runtime.durable

    async def durable_and_depended_on(seq):
        await durable(seq)
        if len(house.engine.jobs) == 1:
            _, outcome = house.engine.submit([spec(depends_on=(3,))], house.runtime.clock(), hold=frozenset({0}))
            house.runtime.commit(outcome)

    with patch.object(module, "AT_ONCE", 2), patch.object(house.runtime, "durable", durable_and_depended_on):
        assert (await prune(house, logs=True))[:3] == [2, 2, 0]
    assert ([job["id"] for job in await house.get("/jobs")], logs(house)) == ([3, 4], [3])


async def test_prune_and_the_historian_take_turns(house):
    """What is on its way from the state to the history is pruned from there, and does not turn up again."""
    await ended(house, ago=7200)
    async with house.daemon._turn:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prune, house)
            await eventually(lambda: house.daemon._turn.statistics().tasks_waiting, "its turn")
            assert await trio.to_thread.run_sync(house.history.count) == 0
            await house.retire(1)
            assert await trio.to_thread.run_sync(house.history.count) == 1
            house.daemon._turn.release()
        await house.daemon._turn.acquire()
    assert (await house.get("/jobs"), house.history.count()) == ([], 0)


async def test_prune_says_when_the_history_cannot_be_used(house):
    await ended(house, ago=7200)
    (house.data_dir / "history.sqlite").write_bytes(b"not a database" * 100)
    says = await house.refused("POST", "/state/prune", {"before": 1.0}, status=503, code="unavailable")
    assert says.startswith("The history of ended jobs cannot be used: ")
    assert len(house.engine.jobs) == 1


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "before"),
        ({"before": "yesterday"}, "before"),
        ({"before": 1, "dry": True}, "dry"),
        ({"before": 4e9}, "it is in the future"),
    ],
)
async def test_what_is_malformed(house, body, says):
    assert says in await house.refused("POST", "/state/prune", body, status=400, code="malformed")


# -- who, and when -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "body"), [("/state/compact", ...), ("/state/prune", {"before": 1.0})])
async def test_only_administrators(house, path, body):
    await house.come_as(SOMEBODY)
    says = await house.refused("POST", path, body, status=403, code="forbidden")
    assert says.startswith("Only an administrator may ")
    await house.come_as(0)
    await house.ask("POST", path, body)


@pytest.mark.parametrize(("path", "body"), [("/state/compact", ...), ("/state/prune", {"before": 1.0})])
async def test_nothing_of_the_kind_in_a_recovery(tmp_path, path, body):
    async with House(tmp_path) as house:
        await ended(house)
        await house.ask("POST", "/state/compact")
        launcher = house.launcher
    state = tmp_path / "data" / NAME
    state.write_bytes(state.read_bytes()[:-3])
    async with House(tmp_path, launcher) as house:
        assert (await house.get("/health"))["status"] == "recovery"
        says = await house.refused("POST", path, body, status=409, code="wrong_state")
        assert says.startswith("The state is in recovery: ")
        assert (await house.get("/jobs/1"))["state"] == "Finished"


async def test_pruned_jobs_do_not_come_back_after_a_restart(tmp_path):
    async with House(tmp_path) as house:
        for _ in range(4):
            await ended(house, ago=7200)
        await house.retire(1)
        assert (await prune(house))[0] == 4
        launcher = house.launcher
    async with House(tmp_path, launcher) as house:
        assert await house.get("/jobs") == []
        assert await house.submit(hold=True) == 5
    history = History(tmp_path / "data")
    assert history.count() == 0
    history.close()
