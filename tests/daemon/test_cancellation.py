"""Cancelled at whatever moment, nothing is half-done: the engine is what the log says, and the next daemon goes on.

The services are cancelled after 0, 1, 2, … steps of the event loop. Between two checkpoints of any task there is
nowhere else to be cancelled at, so with enough steps every checkpoint has had its turn.
"""

import json
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from gflow.api.callers import Caller
from gflow.api.submissions import _submit
from gflow.core.invariants import check
from gflow.core.model import StopCause
from gflow.daemon import scheduler, timeouts
from gflow.daemon.scheduler import Scheduler
from gflow.daemon.timeouts import TimeoutEnforcer
from gflow.daemon.watcher import Watcher
from gflow.store.load import Loaded, load
from gflow.wire.requests import JobRequest
from support.desk import Desk, eventually
from support.fake_alarm import FakeAlarm
from support.fake_launcher import FakeLauncher
from support.faulty_disk import FaultyDisk
from support.house import House
from support.jobs import spec

idle = trio.testing.wait_all_tasks_blocked
NO_LOG = Path("/dev/null")


class CountingLauncher(FakeLauncher):
    """Counts the launches that came about, and lets jobs end by themselves."""

    def __init__(self, clock):
        super().__init__(clock)
        self.came_about = Counter()

    async def launch(self, job):
        start = await super().launch(job)
        self.came_about[job.id] += 1
        self.finish(job.id, job.id % 2)
        return start


class Life:
    """One daemon's services over a list for a log; `before` is the daemon whose log and launcher it takes over."""

    def __init__(self, before=None):
        self.desk = Desk(at_once=False)
        self.launcher = before.launcher if before else CountingLauncher(lambda: self.desk.now)
        self.watcher = Watcher(self.desk.runtime, self.launcher, lambda job_id: NO_LOG)
        self.desk.runtime.perform = self.watcher.perform
        self.found = before.stored() if before else Loaded()
        if before:
            found = self.found
            self.desk.engine.restore(found.jobs.values(), found.groups.values(), found.next_job_id, self.desk.now)
            self.desk.runtime.run_ids = before.desk.runtime.run_ids

    async def run(self):
        async with trio.open_nursery() as nursery:
            for service in (
                self.watcher,
                Scheduler(self.desk.runtime),
                TimeoutEnforcer(self.desk.runtime, self.launcher.is_over),
            ):
                await nursery.start(service.run)
            nursery.start_soon(self._write)

    def stored(self):
        """What a start from the log finds."""
        stored = replace(self.found, jobs=dict(self.found.jobs), events=deque())
        for transaction in self.desk.log.written:
            stored.apply(transaction)
        return stored

    def assert_consistent(self):
        desk = self.desk
        check(desk.engine)
        desk.log.write()  # what a daemon does on its way out, however it ends
        assert self.stored().jobs == desk.engine.jobs
        numbers = [number for transaction in desk.log.written for number, _ in transaction.numbered_events]
        assert numbers == list(range(1, len(numbers) + 1))
        assert desk.runtime.bus.last_id == len(numbers)

    async def _write(self):
        """The disk: some steps later."""
        while True:
            await trio.lowlevel.checkpoint()
            if self.desk.log.waiting:
                self.desk.log.write(1)


async def live_for(life, steps):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(life.run)
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("steps", range(40))
async def test_whenever_a_daemon_is_cancelled_the_next_one_ends_all_jobs_and_each_ran_once(steps, monkeypatch):
    for module in (scheduler, timeouts):
        monkeypatch.setattr(module, "Alarm", FakeAlarm)
    first = Life()
    ids = first.desk.submit_all([spec(max_retries=1), spec(), spec()])
    ids += first.desk.submit_all([spec(depends_on=(2,)), spec(depends_on=(3,))])
    await live_for(first, steps)
    first.assert_consistent()
    second = Life(first)
    await live_for(second, 200)
    second.assert_consistent()
    states = [second.desk.engine.job(job_id).state.value for job_id in ids]
    assert states == ["Failed", "Finished", "Failed", "Finished", "Cancelled"]
    assert second.desk.engine.job(6).spec.retried_from == 1
    assert second.launcher.came_about == {1: 1, 2: 1, 3: 1, 4: 1, 6: 1}
    assert second.launcher.running() == set()


@pytest.mark.parametrize("steps", range(30))
async def test_whenever_a_daemon_is_cancelled_a_cancel_of_a_job_is_not_forgotten(steps, monkeypatch):
    for module in (scheduler, timeouts):
        monkeypatch.setattr(module, "Alarm", FakeAlarm)
    first = Life()
    first.launcher = first.watcher._launcher = FakeLauncher(lambda: first.desk.now)
    first.desk.submit()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.run)
        for step in range(steps):
            if step == 8:
                first.desk.runtime.commit(first.desk.engine.stop(1, StopCause.CANCEL, first.desk.now))
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    first.assert_consistent()
    if steps <= 8:
        first.desk.runtime.commit(first.desk.engine.stop(1, StopCause.CANCEL, first.desk.now))
    first.assert_consistent()
    second = Life(first)
    second.desk.now = second.desk.now._replace(boot=second.desk.now.boot + 60)
    await live_for(second, 100)
    assert second.desk.engine.job(1).state == "Cancelled"
    assert second.launcher.running() == set()


# -- submissions -----------------------------------------------------------------------------------------------------


def batch(root):
    script = root / "train.sh"
    script.write_text("#!/bin/sh\ntrue\n")
    common = {"run_dir": str(root), "hold": True}
    return [
        JobRequest(script=str(script), environment={"A": "1"}, **common),
        JobRequest(command="true", environment={"B": "2"}, **common),
        JobRequest(script_text="echo another", **common),
    ]


async def in_steps(sync_function, *args, **_options):
    """A thread that takes two steps of the event loop, and like a real one is not cancelled once it has begun."""
    await trio.lowlevel.checkpoint_if_cancelled()
    await trio.lowlevel.cancel_shielded_checkpoint()
    result = sync_function(*args)
    await trio.lowlevel.cancel_shielded_checkpoint()
    return result


async def test_whenever_a_submission_is_cancelled_all_of_it_is_queued_or_nothing(tmp_path, monkeypatch):
    async with House(tmp_path) as house:
        monkeypatch.setattr(trio.to_thread, "run_sync", in_steps)
        services, queued, who = house.daemon._make_services(), [], Caller("ana", 1000, admin=False)
        for steps in range(40):
            before = len(house.engine.jobs)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_submit, services, batch(tmp_path), who)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            queued.append(len(house.engine.jobs) - before)
            assert not house.spool._pins
            check(house.engine)
        assert set(queued) == {0, 3}
        assert queued == sorted(queued), "before one moment nothing, from then on all of it"
        monkeypatch.undo()
        await _submit(services, batch(tmp_path), who)
        jobs = dict(house.engine.jobs)
        for job in jobs.values():
            for kind, digest in (("env", job.spec.environment), ("script", job.spec.script_digest)):
                assert digest is None or house.spool.path(kind, digest).exists()
    assert load(house.data_dir).jobs == jobs


async def hang_up_during(house, submission, moment):
    """Send a submission over a connection of its own, and close that at a certain moment."""
    stream = await house.stream()
    await stream.send_all(submission)
    await eventually(moment, "the moment")
    await stream.aclose()


def raw_submission(house, **fields):
    body = json.dumps(house.request(hold=True, **fields)).encode()
    return b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


async def test_a_client_that_hangs_up_before_its_job_is_queued_leaves_nothing(tmp_path):
    async with House(tmp_path) as house:
        disk = house.spool._disk = FaultyDisk()
        disk.hold_syncs()
        submission = raw_submission(house, environment={"A": "1"})
        await hang_up_during(house, submission, disk.syncing.is_set)
        disk.release_syncs()
        await eventually(lambda: not house.spool._pins, "the release of the pins")
        await idle(0.02)
        assert house.engine.jobs == {}
        assert await house.submit(environment={"A": "1"}) == 1


async def test_a_client_that_hangs_up_while_its_job_is_written_has_a_job(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        disk.hold_syncs()
        submission = raw_submission(house, environment={"A": "1"}, submit_key="k")
        await hang_up_during(house, submission, disk.syncing.is_set)
        assert not house.spool._pins
        disk.release_syncs()
        await eventually(lambda: house.runtime.bus.last_id == 1, "the event")
        assert await house.submit(submit_key="k", hold=True) == 1, "asking again finds it"
    assert list(load(house.data_dir).jobs) == [1]


async def test_a_client_that_hangs_up_in_the_middle_of_its_request_leaves_nothing(tmp_path):
    async with House(tmp_path) as house:
        submission = raw_submission(house)
        for cut in (10, len(submission) - 5):
            stream = await house.stream()
            await stream.send_all(submission[:cut])
            await idle(0.01)
            await stream.aclose()
        await idle(0.01)
        assert house.engine.jobs == {}
        assert await house.submit(hold=True) == 1


async def test_a_client_that_hangs_up_while_waiting_for_a_job_leaves_no_task(tmp_path):
    async with House(tmp_path) as house:
        job_id = await house.start()
        tasks = trio.lowlevel.current_statistics().tasks_living
        streams = [await house.stream() for _ in range(20)]
        paths = ("/jobs/%d/wait", "/jobs/%d/log/stream?follow=1", "/events")
        for number, stream in enumerate(streams):
            path = paths[number % 3].replace("%d", str(job_id))
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await eventually(lambda: trio.lowlevel.current_statistics().tasks_living >= tasks + 20, "the requests")
        for stream in streams:
            await stream.aclose()
        await eventually(lambda: trio.lowlevel.current_statistics().tasks_living <= tasks, "the end of the requests")
