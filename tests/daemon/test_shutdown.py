"""Stopping is a sequence: inputs first, then decisions, deliveries, the log. Jobs live on; nobody can hold it up."""

import json
from unittest.mock import patch

import pytest
import trio
import trio.testing

from gflow.core.errors import Unavailable
from gflow.daemon import endpoints, run
from gflow.notify.base import DeliveryFailed
from gflow.store.load import load
from support.desk import eventually
from support.faulty_disk import FaultyDisk
from support.house import House
from support.jobs import spec


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr(endpoints, "GRACE_SECS", 0.3)


class Target:
    """Takes its time for each event, and fails the first attempts."""

    key = name = "slow"
    kind = "webhook"
    max_retries = 3

    def __init__(self):
        self.delivered = []
        self.may_deliver = trio.Event()

    def wants(self, payload):
        return True

    async def deliver(self, delivery):
        await self.may_deliver.wait()
        self.delivered.append(delivery.number)

    async def aclose(self):
        pass


async def read_head(stream):
    received = b""
    while b"\r\n\r\n" not in received:
        received += await stream.receive_some()
    return received


async def read_rest(stream, received=b""):
    while piece := await stream.receive_some():
        received += piece
    return received


# -- order -----------------------------------------------------------------------------------------------------------


async def test_the_order_of_leaving(tmp_path):
    order = []
    house = House(tmp_path)

    def note(what, act):
        async def noted(*args, **kwargs):
            order.append(what)
            return await act(*args, **kwargs)

        return noted

    daemon = house.daemon
    house.runtime.bus.close = lambda close=house.runtime.bus.close: order.append("streams end") or close()
    drain = daemon._pool.drain
    daemon._pool.drain = lambda: order.append("deliveries") or drain()
    house.persistence.close = note("log", house.persistence.close)
    house.launcher.close = note("launcher", house.launcher.close)

    class Started(run.Started):
        async def stop(self):
            await super().stop()
            order.append(type(self._service).__name__)

    with (
        patch.object(run, "Started", Started),
        patch.object(run.ApiServer, "close", note("requests", run.ApiServer.close)),
    ):
        async with house:
            pass
    services = [
        "Manager",
        "Scheduler",
        "TimeoutEnforcer",
        "MemoryWatch",
        "GpuWatch",
        "Housekeeping",
        "Historian",
        "Watcher",
    ]
    assert order == ["streams end", "requests", *services, "deliveries", "WebhookPool", "log", "Launchers", "launcher"]


async def test_jobs_live_on_and_the_next_daemon_goes_on_with_them(tmp_path):
    async with House(tmp_path) as house:
        running = await house.start()
        waiting = await house.submit(hold=True)
    assert house.launcher.running() == {running}
    assert not house.socket.exists()
    async with House(tmp_path, house.launcher) as again:
        assert [again.engine.job(job_id).state for job_id in (running, waiting)] == ["Running", "Hold"]
        await again.end(running, 4)
        assert again.engine.job(running).exit_code == 4
    assert house.launcher.calls.count(("launch", running)) == 1


async def test_everything_that_was_answered_is_on_disk(tmp_path):
    async with House(tmp_path) as house:
        for _ in range(20):
            await house.submit(hold=True)
        jobs = dict(house.engine.jobs)
    assert load(house.data_dir).jobs == jobs


async def test_a_launch_under_way_is_recorded_before_the_log_closes(tmp_path):
    async with House(tmp_path) as house:
        house.launcher.hold_launches()
        job_id = await house.submit()
        await eventually(lambda: house.launcher.calls, "the launch")
        house.terminate()
        await eventually(lambda: house.runtime.stopping, "the beginning of the end")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not house.ended.is_set(), "it waits for the launch"
        house.launcher.let_launch()
        await house.ended.wait()
    assert load(house.data_dir).jobs[job_id].started_boot is not None
    async with House(tmp_path, house.launcher) as again:
        await again.end(job_id)
    assert house.launcher.calls.count(("launch", job_id)) == 1


async def test_deliveries_under_way_are_let_to_their_end(tmp_path):
    target = Target()
    async with House(tmp_path, targets=[target]) as house:
        for _ in range(5):
            await house.submit(hold=True)
        house.terminate()
        await eventually(house.daemon._pool._closing.is_set, "the drain")
        assert target.delivered == []
        target.may_deliver.set()
        await house.ended.wait()
    assert target.delivered == [1, 2, 3, 4, 5, 6], "that the daemon is there, and five jobs"


async def test_a_dead_target_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "DRAIN_SECS", 0.05)
    target = Target()
    async with House(tmp_path, targets=[target]) as house:
        await house.submit(hold=True)
        with trio.fail_after(10):
            house.terminate()
            await house.ended.wait()
    assert target.delivered == []
    assert len(load(house.data_dir).jobs) == 1


async def test_a_target_that_only_fails_holds_nothing_up(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "DRAIN_SECS", 0.05)
    target = Target()

    async def fail(delivery):
        raise DeliveryFailed("refused")

    target.deliver = fail
    async with House(tmp_path, targets=[target]) as house:
        await house.submit(hold=True)
        with trio.fail_after(10):
            house.terminate()
            await house.ended.wait()


async def test_a_second_signal_changes_nothing(tmp_path):
    async with House(tmp_path) as house:
        house.launcher.hold_launches()
        await house.submit()
        await eventually(lambda: house.launcher.calls, "the launch")
        for _ in range(3):
            house.terminate()
            await trio.testing.wait_all_tasks_blocked(0.01)
        house.launcher.let_launch()
        await house.ended.wait()
    assert load(house.data_dir).jobs[1].started_boot is not None


# -- clients ---------------------------------------------------------------------------------------------------------


async def test_a_client_that_does_not_read_its_events_does_not_hold_it_up(tmp_path):
    async with House(tmp_path) as house:
        stuck = [await house.stream() for _ in range(3)]
        for stream in stuck:
            await stream.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_head(stream)
        for _ in range(4):  # far more than a socket holds
            body = {"defaults": house.request(hold=True, run_name="n" * 100), "jobs": [{}] * 1000}
            await house.ask("POST", "/jobs/batch", body, 201)
        with trio.fail_after(10):
            house.terminate()
            await house.ended.wait()
        for stream in stuck:
            await stream.aclose()
    assert len(load(house.data_dir).jobs) == 4000


async def test_streams_end_properly(tmp_path):
    """The readers of events and of logs get the end of their stream, not a broken connection."""
    async with House(tmp_path) as house:
        job_id = await house.start()
        house.write_log(job_id, b"so far\n")
        streams = [await house.stream() for _ in range(2)]
        for stream, path in zip(streams, ("/events", f"/jobs/{job_id}/log/stream?follow=1"), strict=True):
            await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        heads = [await read_head(stream) for stream in streams]
        house.terminate()
        for stream, received in zip(streams, heads, strict=True):
            assert (await read_rest(stream, received)).endswith(b"0\r\n\r\n")
            await stream.aclose()


async def test_who_waits_for_a_job_is_told_that_the_daemon_stops(tmp_path):
    async with House(tmp_path) as house:
        job_id = await house.start()
        stream = await house.stream()
        await stream.send_all(b"GET /jobs/%d/wait HTTP/1.1\r\nHost: x\r\n\r\n" % job_id)
        await trio.testing.wait_all_tasks_blocked(0.02)
        house.terminate()
        head, _, body = (await read_rest(stream)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert json.loads(body)["code"] == "unavailable"
        await stream.aclose()


async def test_a_submission_that_waits_for_the_disk_gets_its_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoints, "GRACE_SECS", 15.0)
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        disk.hold_syncs()
        answers = []

        async def submit():
            answers.append(await house.ask("POST", "/jobs", house.request(hold=True), 201))

        house.nursery.start_soon(submit)
        await eventually(disk.syncing.is_set, "the write")
        house.terminate()
        await eventually(lambda: house.runtime.stopping, "the beginning of the end")
        assert answers == []
        disk.release_syncs()
        await eventually(lambda: answers, "the answer")
        await house.ended.wait()
    assert list(load(house.data_dir).jobs) == [answers[0]["id"]]


async def test_nothing_new_is_taken_while_the_daemon_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoints, "GRACE_SECS", 15.0)
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk) as house:
        await house.submit(hold=True)
        late = await house.stream()
        await late.send_all(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n{")
        await trio.testing.wait_all_tasks_blocked(0.02)
        house.terminate()
        await eventually(lambda: house.runtime.stopping, "the beginning of the end")
        body = json.dumps(house.request()).encode()[1:]
        await late.send_all(body.ljust(998))
        head, _, told = (await read_rest(late)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert json.loads(told) == {"error": "The daemon is stopping", "code": "unavailable"}
        await late.aclose()
        await house.ended.wait()
    assert list(load(house.data_dir).jobs) == [1]


# -- bugs ------------------------------------------------------------------------------------------------------------


async def test_a_service_that_crashes_takes_the_daemon_down_with_everything_written(tmp_path):
    async def crash(job):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ExceptionGroup) as raised:
        async with House(tmp_path) as house:
            held = await house.submit(hold=True)
            house.launcher.wait = crash
            await house.submit()
            await house.ended.wait()
    assert raised.group_contains(ZeroDivisionError)
    assert not house.socket.exists()
    assert load(house.data_dir).jobs == house.engine.jobs
    async with House(tmp_path) as again:
        assert again.engine.job(held).state == "Hold"


async def test_a_change_that_cannot_be_logged_ends_the_daemon_and_is_forgotten(tmp_path):
    with pytest.raises(ExceptionGroup) as raised:
        async with House(tmp_path) as house:
            await house.submit(hold=True)
            with patch("gflow.daemon.persistence.encode", side_effect=OverflowError("too big")):
                _, outcome = house.engine.submit([spec(run_dir="/")], house.runtime.clock())
                with pytest.raises(OverflowError):
                    house.runtime.commit(outcome)
                await house.ended.wait()
    assert raised.group_contains(RuntimeError, match="could not be logged")
    async with House(tmp_path) as again:
        assert list(again.engine.jobs) == [1]
        assert await again.submit(hold=True) == 2


async def test_a_change_after_the_log_has_closed_is_refused(tmp_path):
    async with House(tmp_path) as house:
        await house.submit(hold=True)
    with pytest.raises(Unavailable):
        house.runtime.commit(house.engine.release(1, house.runtime.clock()))
