"""The delivery pool: in order to each target, never in the way of another target or of a job."""

import logging
from itertools import pairwise

import pytest
import trio
import trio.testing

from gflow.core.events import Event, EventKind
from gflow.daemon import webhooks as module
from gflow.daemon.webhooks import DeliveryFailed, WebhookPool
from support.ledger import make_job

EVENT = Event(EventKind.COMPLETED, 1.0, make_job(1))
idle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def no_jitter(monkeypatch):
    monkeypatch.setattr(module.random, "uniform", lambda low, high: 1.0)


class Target:
    """Fails the first `failures` attempts of each event; hangs while `hanging`."""

    def __init__(self, name="t", *, failures=0, final=False, max_retries=3, wanted=None):
        self.name = name
        self.max_retries = max_retries
        self.failures = failures
        self.final = final
        self.hanging = False
        self.attempts = []
        self.delivered = []
        self._wanted = wanted

    def wants(self, event):
        return self._wanted is None or event.kind in self._wanted

    async def deliver(self, number, event):
        self.attempts.append((number, trio.current_time()))
        if self.hanging:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        if [attempted for attempted, _ in self.attempts].count(number) <= self.failures:
            raise DeliveryFailed("connection refused", final=self.final)
        self.delivered.append(number)

    @property
    def pauses(self):
        times = [at for _, at in self.attempts]
        return [round(later - earlier, 3) for earlier, later in pairwise(times)]


async def start(nursery, targets, max_concurrent=16):
    pool = WebhookPool(targets, max_concurrent)
    await nursery.start(pool.run)
    return pool


async def test_events_reach_a_target_in_order(nursery, autojump_clock):
    target = Target()
    pool = await start(nursery, [target])
    for number in range(1, 101):
        pool.offer(number, EVENT)
    await idle()
    assert target.delivered == list(range(1, 101))


async def test_a_failed_delivery_is_tried_again_before_the_next_one(nursery, autojump_clock):
    target = Target(failures=2)
    pool = await start(nursery, [target])
    pool.offer(1, EVENT)
    pool.offer(2, EVENT)
    await trio.sleep(100)
    assert target.delivered == [1, 2]
    assert [number for number, _ in target.attempts] == [1, 1, 1, 2, 2, 2]


async def test_pauses_double_up_to_a_longest_one(nursery, autojump_clock):
    target = Target(failures=99, max_retries=7)
    pool = await start(nursery, [target])
    pool.offer(1, EVENT)
    await trio.sleep(1000)
    assert target.pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_pauses_are_not_the_same_everywhere(nursery, autojump_clock, monkeypatch):
    bounds = []
    monkeypatch.setattr(module.random, "uniform", lambda low, high: bounds.append((low, high)) or high)
    target = Target(failures=1)
    pool = await start(nursery, [target])
    pool.offer(1, EVENT)
    await trio.sleep(10)
    assert (bounds, target.pauses) == ([(0.75, 1.25)], [1.25])


async def test_a_delivery_that_keeps_failing_is_given_up_and_the_next_one_gets_its_turn(
    nursery, autojump_clock, caplog
):
    target = Target(failures=99, max_retries=1)
    pool = await start(nursery, [target])
    pool.offer(1, EVENT)
    pool.offer(2, EVENT)
    await trio.sleep(100)
    assert [number for number, _ in target.attempts] == [1, 1, 2, 2]
    assert "t: event 1 given up after 2 attempts" in caplog.text


async def test_what_cannot_get_better_is_not_tried_again(nursery, autojump_clock):
    target = Target(failures=99, final=True)
    pool = await start(nursery, [target])
    pool.offer(1, EVENT)
    await trio.sleep(1000)
    assert len(target.attempts) == 1


async def test_a_target_gets_only_what_it_wants(nursery, autojump_clock):
    wanting, other = Target(wanted={EventKind.COMPLETED}), Target(wanted={EventKind.FAILED})
    pool = await start(nursery, [wanting, other])
    pool.offer(1, EVENT)
    await idle()
    assert (wanting.delivered, other.delivered) == ([1], [])


async def test_a_target_that_hangs_delays_no_other(nursery, autojump_clock):
    dead, live = Target("dead"), Target("live")
    dead.hanging = True
    pool = await start(nursery, [dead, live], max_concurrent=2)
    for number in range(1, 11):
        pool.offer(number, EVENT)
    await idle()
    assert live.delivered == list(range(1, 11))


async def test_nobody_waits_for_one_that_waits_to_try_again(nursery, autojump_clock):
    failing, live = Target("failing", failures=99), Target("live")
    pool = await start(nursery, [failing, live], max_concurrent=1)
    pool.offer(1, EVENT)
    await idle()
    began = trio.current_time()
    for number in range(2, 12):
        pool.offer(number, EVENT)
    while len(live.delivered) < 11:
        await trio.lowlevel.checkpoint()
    assert trio.current_time() == began, "without any pause of the other"
    assert len(failing.attempts) == 1


async def test_so_many_attempts_at_once_and_no_more(nursery, autojump_clock):
    targets = [Target(str(number)) for number in range(5)]
    for target in targets:
        target.hanging = True
    pool = await start(nursery, targets, max_concurrent=2)
    pool.offer(1, EVENT)
    await idle()
    assert sum(len(target.attempts) for target in targets) == 2


async def test_a_full_queue_drops_the_newest_and_says_so(nursery, autojump_clock, monkeypatch, caplog):
    monkeypatch.setattr(module, "QUEUE_LENGTH", 3)
    target = Target(failures=1)
    pool = await start(nursery, [target])
    await trio.testing.wait_all_tasks_blocked()  # the worker waits, and takes the first event past the queue
    for number in range(1, 7):
        pool.offer(number, EVENT)
    await trio.sleep(100)
    assert target.delivered == [1, 2, 3, 4]
    assert "t: queue full, event 6 dropped (2 so far)" in caplog.text
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 2 + 4


async def test_draining_delivers_what_is_queued_and_ends(nursery, autojump_clock):
    target = Target(failures=1)
    pool = await start(nursery, [target])
    for number in (1, 2, 3):
        pool.offer(number, EVENT)
    pool.drain()
    await pool.drained.wait()
    assert target.delivered == [1, 2, 3]


async def test_an_event_after_draining_began_is_not_taken_and_harms_nobody(nursery, autojump_clock):
    target = Target()
    pool = await start(nursery, [target])
    pool.drain()
    pool.offer(1, EVENT)
    await pool.drained.wait()
    assert target.attempts == []


async def test_a_pool_without_targets_waits_to_be_drained(nursery, autojump_clock):
    pool = await start(nursery, [])
    pool.offer(1, EVENT)
    await trio.sleep(1000)
    assert not pool.drained.is_set()
    pool.drain()
    with trio.fail_after(1):
        await pool.drained.wait()


async def test_a_drain_can_be_given_up(autojump_clock):
    target = Target()
    target.hanging = True
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [target])
            pool.offer(1, EVENT)
            pool.drain()
            with trio.move_on_after(5) as scope:
                await pool.drained.wait()
            assert scope.cancelled_caught
            nursery.cancel_scope.cancel()
