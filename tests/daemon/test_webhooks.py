"""The delivery pool: in order to each target, never in the way of another target, and nothing is forgotten."""

import logging
import os
import threading

import pytest
import trio
import trio.testing

from gflow.core.errors import NotFound, WrongState
from gflow.core.events import Event, EventKind
from gflow.daemon import keeper as keeper_module
from gflow.daemon import lane as lane_module
from gflow.daemon import webhooks as webhooks_module
from gflow.notify.outbox import NAME, START, Outbox, OutboxError
from gflow.store.recovery.opening import EVENTS_STEP
from support.desk import eventually
from support.ledger import make_job
from support.target import Target, make_pool

EVENT = Event(EventKind.COMPLETED, 1.0, make_job(1))
idle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(lane_module, "FIRST_PAUSE_SECS", 0.01)
    monkeypatch.setattr(keeper_module, "FIRST_PAUSE_SECS", 0.02)
    monkeypatch.setattr(keeper_module, "GATHER_SECS", 0.001)


@pytest.fixture
def home(tmp_path):
    return tmp_path


async def start(nursery, targets, home, most=16, **given):
    pool = make_pool(targets, home, most, **given)
    await nursery.start(pool.run)
    return pool


def left(home, key="t"):
    """What waits in the outbox, once the pool is gone."""
    outbox = Outbox(home)
    try:
        outbox.stock({key}, 0.0)
        return [one.number for one in outbox.waiting(key, START, (), 100_000)]
    finally:
        outbox.close()


def written(pool):
    """Whether the outbox has all there is, and nobody is at work on it."""
    return not pool._keeper._changes and not pool._keeper._turn.locked() and not pool._keeper._threads.borrowed_tokens


def past(*numbers):
    return [(number, Event(EventKind.COMPLETED, float(number), make_job(1))) for number in numbers]


# -- order and concurrency -------------------------------------------------------------------------------------------


async def test_events_reach_every_target_in_order_and_nothing_is_left(home):
    targets = [Target("a"), Target("b", failures=1)]
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, targets, home)
        for number in range(1, 101):
            pool.offer(number, EVENT)
        await eventually(lambda: all(len(target.delivered) == 100 for target in targets), "all of them")
        pool.drain()
        await pool.drained.wait()
    assert [target.delivered for target in targets] == [list(range(1, 101))] * 2
    assert targets[0].payloads[0] == {"event": "job_completed", "at": 1.0}
    assert left(home, "a") == left(home, "b") == []
    assert all(target.closed for target in targets)


async def test_a_long_queue_is_fed_from_the_outbox_in_order(home):
    gate = trio.Event()
    target = Target()
    answer = target._answer

    async def once_open(delivery):
        await gate.wait()
        await answer(delivery)

    target._answer = once_open
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        for number in range(1, 2001):
            pool.offer(number, EVENT)
        await eventually(lambda: written(pool), "the outbox has them")
        gate.set()
        for number in range(2001, 3001):  # more come while it is fed
            pool.offer(number, EVENT)
            if number % 100 == 0:
                await trio.lowlevel.checkpoint()
        await eventually(lambda: len(target.delivered) >= 3000, "all of them")
        pool.drain()
        await pool.drained.wait()
    assert target.delivered == list(range(1, 3001))
    assert left(home) == []


def of(owner):
    return Event(EventKind.COMPLETED, 1.0, make_job(1, owner=owner))


async def test_a_user_waits_for_no_flood_of_another_and_no_restart_changes_that(home):
    target = Target()
    target.hanging = True
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        for number in range(1, 1501):
            pool.offer(number, of("ben"))
        await eventually(lambda: written(pool), "the outbox has them")
        pool.offer(1501, of("ana"))
        await eventually(lambda: written(pool), "and this")
        pool.drain()
        nursery.cancel_scope.cancel()
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, next_event_id=1502)
        for number in range(1502, 1602):
            pool.offer(number, of("ben"))
            pool.offer(number + 100, of("ana"))
        await eventually(lambda: len(target.delivered) >= 1701, "all of them")
        pool.drain()
        await pool.drained.wait()
    ana = [number for number in target.delivered if number == 1501 or number > 1601]
    ben = [number for number in target.delivered if number not in ana]
    assert (ana, ben) == ([1501, *range(1602, 1702)], [*range(1, 1501), *range(1502, 1602)]), "each in order"
    assert target.delivered.index(1501) < 5
    assert target.delivered.index(1701) < 600
    assert left(home) == []


async def test_what_is_too_much_is_dropped_in_the_outbox_too_of_whom_most_waits(nursery, home, monkeypatch):
    monkeypatch.setattr(lane_module, "MOST_WAITING", 1000)
    monkeypatch.setattr(lane_module, "WINDOW", 20)
    target = Target()
    target.hanging = True
    pool = await start(nursery, [target], home)
    (lane,) = pool._lanes.values()
    for number in range(1, 101):
        pool.offer(number, of("ana"))
    for number in range(101, 2001):
        pool.offer(number, of("ben"))
    await eventually(lambda: written(pool) and lane.waiting <= 1000, "what is too much is dropped")
    assert (lane.waiting, lane.standing.dropped) == (1000, 1000)
    target.open.set()
    await eventually(lambda: len(target.delivered) == 1000, "the others")
    assert sorted(target.delivered) == [*range(1, 101), *range(1101, 2001)]
    nursery.cancel_scope.cancel()


async def test_a_target_gets_only_what_it_wants(nursery, home):
    wanting, other = Target("a", wanted={"job_completed"}), Target("b", wanted={"job_failed"})
    pool = await start(nursery, [wanting, other], home)
    pool.offer(1, EVENT)
    await eventually(lambda: wanting.delivered, "it")
    pool.drain()
    await pool.drained.wait()
    assert (wanting.delivered, other.delivered) == ([1], [])


async def test_a_target_that_hangs_delays_no_other(nursery, home):
    dead, live = Target("dead"), Target("live")
    dead.hanging = True
    pool = await start(nursery, [dead, live], home, most=2)
    for number in range(1, 11):
        pool.offer(number, EVENT)
    await eventually(lambda: live.delivered == list(range(1, 11)), "all of them")
    nursery.cancel_scope.cancel()


async def test_nobody_waits_for_one_that_waits_to_try_again(nursery, home, monkeypatch):
    monkeypatch.setattr(lane_module, "FIRST_PAUSE_SECS", 1000.0)
    failing, live = Target("failing", failures=99), Target("live")
    pool = await start(nursery, [failing, live], home, most=1)
    for number in range(1, 12):
        pool.offer(number, EVENT)
    await eventually(lambda: len(live.delivered) == 11, "all of them")
    assert len(failing.attempts) == 1
    nursery.cancel_scope.cancel()


async def test_seventeen_slow_deliveries_and_sixteen_at_once(nursery, home, monkeypatch):
    monkeypatch.setattr(Target, "most", 0)
    targets = [Target(str(number), secs=0.3) for number in range(17)]
    pool = await start(nursery, targets, home)
    began = trio.current_time()
    pool.offer(1, EVENT)
    await eventually(lambda: all(target.delivered for target in targets), "all of them")
    assert Target.most == 16
    assert 0.6 <= trio.current_time() - began < 3, "the seventeenth took its turn, not a time-out"
    nursery.cancel_scope.cancel()


async def test_what_cannot_be_told_harms_nobody(nursery, home, caplog):
    target = Target()
    pool = await start(nursery, [target], home)
    good = pool._payload
    pool._payload = lambda event: good(event) if event is EVENT else {"event": object()}
    pool.offer(1, Event(EventKind.FAILED, 1.0))
    pool.offer(2, EVENT)
    await eventually(lambda: target.delivered, "the other")
    assert "event 1 cannot be told" in caplog.text
    nursery.cancel_scope.cancel()


# -- the end, and the next daemon ------------------------------------------------------------------------------------


async def test_draining_delivers_what_is_queued_and_ends(home):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        for number in range(1, 501):
            pool.offer(number, EVENT)
        pool.drain()
        await pool.drained.wait()
    assert target.delivered == list(range(1, 501))


async def test_what_is_delivered_while_the_outbox_is_written_does_not_come_back(home):
    """Also if nobody waits for that write to its end."""
    target = Target()
    async with trio.open_nursery() as nursery:
        pool, outbox = failing_pool([target], home)
        await nursery.start(pool.run)
        await eventually(lambda: written(pool), "the outbox begins")
        outbox.stuck.clear()
        target.hanging = True
        pool.offer(1, EVENT)
        await eventually(lambda: pool._keeper._threads.borrowed_tokens, "the write")
        target.open.set()
        await eventually(lambda: target.delivered == [1], "it")
        pool.drain()
        await idle()
        outbox.stuck.set()
        await pool.drained.wait()
    assert left(home) == []


async def test_an_event_after_draining_began_is_for_the_next_daemon(home):
    first, second = Target(), Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [first], home)
        pool.drain()
        pool.offer(1, EVENT)
        await pool.drained.wait()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [second], home, past=past(1))
        await eventually(lambda: second.delivered, "it")
        pool.drain()
    assert (first.attempts, second.delivered) == ([], [1])


async def test_what_could_not_be_delivered_goes_out_after_a_restart_under_the_same_id(home):
    down, up = Target(max_retries=1), Target()
    down.down = True
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [down], home)
        for number in range(1, 401):
            pool.offer(number, EVENT)
        await eventually(lambda: len(down.attempts) == 6, "six attempts")
        pool.drain()
        with trio.fail_after(10):
            await pool.drained.wait()
    assert left(home) == list(range(1, 401))
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [up], home, past=past(*range(301, 401)))
        assert pool.status()["targets"][0]["paused"], "it is remembered that it was dead"
        await eventually(lambda: len(up.delivered) == 400, "all of them")
        assert pool.lost == 0
        pool.drain()
    assert up.delivered == list(range(1, 401))
    assert (up.ids[0], up.ids[3], up.ids[399]) == (("1-t", 3), ("4-t", 1), ("400-t", 1))
    assert left(home) == []


async def test_a_drain_can_be_given_up_and_loses_nothing(home):
    target = Target()
    target.hanging = True
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [target], home)
            for number in range(1, 301):
                pool.offer(number, EVENT)
            await eventually(lambda: target.attempts, "an attempt")
            pool.drain()
            with trio.move_on_after(0.1) as scope:
                await pool.drained.wait()
            assert scope.cancelled_caught
            nursery.cancel_scope.cancel()
    assert left(home) == list(range(1, 301))


async def test_events_the_outbox_has_not_got_are_taken_over(home, caplog):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        pool.offer(1, EVENT)
        pool.drain()
        await pool.drained.wait()
    async with trio.open_nursery() as nursery:
        pool = make_pool([target], home, past=past(1, 2, 3))
        pool.offer(4, EVENT)  # before the outbox is open
        await nursery.start(pool.run)
        pool.drain()
        await pool.drained.wait()
    assert target.delivered == [1, 2, 3, 4]
    assert "2 events are taken over" in caplog.text
    assert pool.lost == 0


async def test_a_burst_that_is_larger_than_what_the_state_remembers_is_not_lost_in_silence(home, caplog):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        pool.offer(1, EVENT)
        pool.drain()
        await pool.drained.wait()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, past=past(90, 91))
        pool.drain()
        await pool.drained.wait()
    assert target.delivered == [1, 90, 91]
    assert (pool.lost, pool.status()["events_lost"]) == (88, 88)
    assert "88 events, from 2 on, were not told to anybody" in caplog.text
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, past=past(90, 91))
        assert pool.status()["events_lost"] == 88, "that stays told"
        pool.drain()


async def test_numbers_that_were_skipped_as_the_state_was_put_back_are_no_lost_events(home, caplog):
    target = Target()
    for events in (past(1), past(EVENTS_STEP + 1, EVENTS_STEP + 2)):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [target], home, past=events)
            pool.drain()
            await pool.drained.wait()
    assert (target.delivered, pool.lost) == ([EVENTS_STEP + 1, EVENTS_STEP + 2], 0)
    assert "the state was put back or mended" in caplog.text


async def test_events_that_the_outbox_has_not_got_are_known_until_it_has(home, monkeypatch):
    monkeypatch.setattr(keeper_module, "SURE_EVERY", 1)
    target = Target()
    async with trio.open_nursery() as nursery:
        pool, outbox = failing_pool([target], home)
        pool.offer(1, EVENT)
        assert pool.untold() == [(1, EVENT)]
        await nursery.start(pool.run)
        await eventually(lambda: pool.untold() == [], "it is in the outbox")
        outbox.broken = True
        for number in range(2, 1502):
            pool.offer(number, EVENT)
        await eventually(lambda: len(target.delivered) == 1501, "all of them")
        assert [number for number, _ in pool.untold()] == list(range(2, 1502)), "the outbox has not got them"
        outbox.broken = False
        await eventually(lambda: pool.untold() == [], "now it has")
        pool.drain()
        pool.offer(1502, EVENT)
        assert pool.untold() == [(1502, EVENT)], "the next daemon tells it"


async def test_events_that_a_power_cut_may_take_from_the_outbox_are_known(home):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        for number in range(1, keeper_module.SURE_EVERY):
            pool.offer(number, EVENT)
        await eventually(lambda: written(pool), "the outbox has them")
        assert len(pool.untold()) == keeper_module.SURE_EVERY - 1
        pool.offer(keeper_module.SURE_EVERY, EVENT)
        await eventually(lambda: pool.untold() == [], "it is sure of them")
        nursery.cancel_scope.cancel()


async def test_ids_are_the_same_after_a_restart_and_other_ones_elsewhere(home, tmp_path_factory):
    target = Target()
    places = (home, home, tmp_path_factory.mktemp("elsewhere"))
    for number, place in enumerate(places, 1):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [target], place, past=past(number - 1))
            pool.offer(number, EVENT)
            pool.drain()
            await pool.drained.wait()
        assert len(target.origins) == (1 if place == home else 2)


async def test_ids_that_are_used_again_get_other_letters(home, caplog):
    target = Target()
    for number in (7, 3):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [target], home, past=past(number - 1))
            pool.offer(number, EVENT)
            pool.drain()
            await pool.drained.wait()
    assert "numbers of events are used again" in caplog.text
    assert (target.delivered, len(target.origins)) == ([7, 3], 2)


async def test_a_new_outbox_begins_now(home):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, past=past(1, 2, 3))
        pool.offer(4, EVENT)
        pool.drain()
        await pool.drained.wait()
    assert (target.delivered, pool.lost) == ([4], 0)


async def test_what_happens_while_nobody_is_told_is_not_made_up_for(home):
    target = Target()
    for targets, events in (([target], past(1)), ([], past(1, 2)), ([target], past(1, 2, 3))):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, targets, home, past=events)
            pool.drain()
            await pool.drained.wait()
    assert (target.delivered, pool.lost) == ([], 0)


async def test_a_pool_without_targets_makes_no_file(nursery, home):
    pool = await start(nursery, [], home)
    pool.offer(1, EVENT)
    assert not pool.drained.is_set()
    pool.drain()
    with trio.fail_after(5):
        await pool.drained.wait()
    assert list(home.iterdir()) == []
    assert pool.status()["enabled"] is False
    assert await pool.given_up() == []


async def test_what_waits_for_a_target_that_is_gone_is_given_up_and_said(home, caplog):
    down, other = Target("down"), Target("other")
    down.hanging = True
    with trio.move_on_after(10):
        async with trio.open_nursery() as nursery:
            pool = await start(nursery, [down], home)
            pool.offer(1, EVENT)
            await eventually(lambda: down.attempts, "an attempt")
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [other], home, past=past(1))
        (given_up,) = await pool.given_up()
        assert (given_up["target"], given_up["why"]) == ("down", "its target is not configured any more")
        with pytest.raises(NotFound, match="not configured any more"):
            await pool.redeliver(given_up["id"])
        pool.drain()
        await pool.drained.wait()
    assert "1 deliveries to targets that are not configured any more are given up" in caplog.text
    up = Target("down")
    async with trio.open_nursery() as nursery:
        await start(nursery, [up, other], home, past=past(1))
        await eventually(lambda: up.delivered == [1], "it, now that the target is back")
        nursery.cancel_scope.cancel()


# -- a bad disk ------------------------------------------------------------------------------------------------------


class Failing(Outbox):
    """Cannot write while `broken`; hangs in writing while `stuck` is not set."""

    def __init__(self, home):
        super().__init__(home)
        self.broken = False
        self.stuck = threading.Event()
        self.stuck.set()

    def save(self, changes, sure=False):
        self.stuck.wait(30)
        if self.broken:
            raise OutboxError(f"{self.path}: database or disk is full")
        super().save(changes, sure)


def failing_pool(targets, home):
    pool = make_pool(targets, home)
    pool._outbox = pool._keeper.outbox = Failing(home)
    return pool, pool._outbox


async def test_with_a_full_disk_deliveries_go_on_from_memory_and_it_is_said(home, caplog):
    target = Target()
    async with trio.open_nursery() as nursery:
        pool, outbox = failing_pool([target], home)
        await nursery.start(pool.run)
        outbox.broken = True
        for number in range(1, 1001):
            pool.offer(number, EVENT)
        await eventually(lambda: len(target.delivered) == 1000, "all of them")
        assert target.delivered == list(range(1, 1001))
        await eventually(lambda: pool.status()["outbox_trouble"], "the news")
        assert "disk is full" in pool.status()["outbox_trouble"]
        target.hanging = True
        for number in range(1001, 1501):
            pool.offer(number, EVENT)
        outbox.broken = False
        await eventually(lambda: pool.status()["outbox_trouble"] is None, "better news")
        await eventually(lambda: written(pool), "the outbox has the rest")
        nursery.cancel_scope.cancel()
    assert left(home) == list(range(1001, 1501))
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert ["go on from memory" in said[0], "can be written again" in said[1], len(said)] == [True, True, 2]


async def test_a_disk_that_does_not_answer_stops_nobody(home, monkeypatch):
    monkeypatch.setattr(keeper_module, "ANSWER_SECS", 0.1)
    target = Target()
    async with trio.open_nursery() as nursery:
        pool, outbox = failing_pool([target], home)
        await nursery.start(pool.run)
        outbox.stuck.clear()
        for number in range(1, 501):
            pool.offer(number, EVENT)
        await eventually(lambda: len(target.delivered) == 500, "all of them")
        outbox.stuck.set()
        await eventually(lambda: pool.status()["outbox_trouble"] is None, "better news")
        pool.drain()
        await pool.drained.wait()
    assert left(home) == []


async def test_an_outbox_that_cannot_be_opened_is_taken_up_when_it_can(home):
    (home / NAME).mkdir()
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, past=past(1))
        pool.offer(2, EVENT)
        await eventually(lambda: target.delivered == [2], "the event")
        (home / NAME).rmdir()
        await eventually(lambda: pool.status()["outbox_trouble"] is None, "better news")
        pool.drain()
        await pool.drained.wait()
    assert left(home) == []


async def test_an_outbox_that_is_none_is_set_aside_and_said(home, caplog):
    (home / NAME).write_bytes(b"junk" * 2000)
    target = Target()
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home, past=past(1))
        pool.offer(2, EVENT)
        await eventually(lambda: target.delivered == [2], "the event")
        pool.drain()
        await pool.drained.wait()
    assert "was set aside as" in caplog.text
    assert [path.read_bytes()[:4] for path in home.glob("*.corrupt.*")] == [b"junk"]


async def test_an_outbox_that_rots_under_it_is_made_anew_of_what_is_in_memory(home, caplog):
    target = Target()
    target.hanging = True
    async with trio.open_nursery() as nursery:
        pool = await start(nursery, [target], home)
        for number in range(1, 1001):
            pool.offer(number, EVENT)
        await eventually(lambda: written(pool), "the outbox has them")
        pool._outbox.close()
        for path in home.iterdir():
            path.write_bytes(os.urandom(path.stat().st_size))
        pool.offer(1001, EVENT)
        await eventually(lambda: "was set aside" in caplog.text, "the news")
        await eventually(lambda: written(pool), "the new outbox has them")
        nursery.cancel_scope.cancel()
    kept = [*range(1, lane_module.WINDOW + 1), 1001]
    assert f"and {1001 - len(kept)} deliveries that were only in it are lost" in caplog.text
    assert left(home) == kept


# -- for the API -----------------------------------------------------------------------------------------------------


async def test_a_delivery_that_was_given_up_can_be_made_after_all(nursery, home):
    target = Target(failures=1, max_retries=0)
    pool = await start(nursery, [target], home)
    pool.offer(1, EVENT)
    await eventually(lambda: pool.status()["targets"][0]["given_up"], "the end of it")
    (given_up,) = await pool.given_up()
    delivery_id = f"1-t-{pool._outbox.origin}"
    assert given_up.items() >= {"id": delivery_id, "target": "t", "event": "job_completed", "attempts": 1}.items()
    assert given_up["why"] == "connection refused"
    assert await pool.redeliver(delivery_id) == {"id": delivery_id, "target": "t"}
    await eventually(lambda: target.delivered == [1], "it")
    assert target.ids == [("1-t", 1), ("1-t", 1)]
    assert await pool.given_up() == []
    nursery.cancel_scope.cancel()


async def test_what_cannot_be_delivered_again(nursery, home):
    target = Target()
    target.hanging = True
    pool = await start(nursery, [target], home)
    pool.offer(1, EVENT)
    await eventually(lambda: target.attempts, "an attempt")
    ours = f"-{pool._outbox.origin}"
    wrong = ["", "x", "1", "1-", "-t", "1-t", "1-t-ABCDEF"]
    for delivery_id in wrong + [one + ours for one in ("-t", "9" * 30 + "-t", "7-t", "1-other", "1")]:
        with pytest.raises(NotFound):
            await pool.redeliver(delivery_id)
    with pytest.raises(WrongState, match="waits for its turn"):
        await pool.redeliver("1-t" + ours)
    nursery.cancel_scope.cancel()


async def test_a_test_goes_to_every_target_whatever_it_wants(nursery, home):
    live, dead = Target("live", wanted=()), Target("dead")
    dead.down = True
    pool = await start(nursery, [live, dead], home)
    results = await pool.test(None)
    assert [(one["target"], one["error"]) for one in results] == [("live", None), ("dead", "connection refused")]
    assert live.payloads == [{"event": "test"}]
    assert [one["target"] for one in await pool.test("live")] == ["live"]
    with pytest.raises(NotFound, match="no target 'x'; targets: live, dead"):
        await pool.test("x")
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("word", ["webhook api.example.com (1f3a)", "1f3a9e", "api.example.com", "API.example.com"])
async def test_a_test_is_for_a_name_a_key_or_a_host(nursery, home, word):
    one, other = Target("1f3a9e"), Target("77aa00")
    one.name, other.name = "webhook api.example.com (1f3a)", "webhook example.com (77aa)"
    pool = await start(nursery, [one, other], home)
    assert [found["target"] for found in await pool.test(word)] == [one.name]
    nursery.cancel_scope.cancel()


async def test_a_test_that_works_ends_a_pause(nursery, home):
    target = Target(max_retries=1)
    target.down = True
    pool = await start(nursery, [target], home)
    for number in (1, 2, 3, 4):
        pool.offer(number, EVENT)
    await eventually(lambda: pool.status()["targets"][0]["paused"], "the pause")
    told = pool.status()["targets"][0]
    assert (told["queued"], told["last_result"], told["last_failure"]) == (4, "failed", "connection refused")
    assert told["paused_until"] == pytest.approx(told["next_try"])
    assert told["next_try"] > 1_800_000_000
    target.down = False
    await pool.test("t")
    await eventually(lambda: target.delivered[1:] == [1, 2, 3, 4], "all of them")
    nursery.cancel_scope.cancel()


async def test_a_test_of_a_target_that_hangs_has_an_end(nursery, home, monkeypatch):
    monkeypatch.setattr(webhooks_module, "TEST_SECS", 0.2)
    live, dead = Target("live"), Target("dead")
    dead.hanging = True
    pool = await start(nursery, [live, dead], home)
    with trio.fail_after(10):
        results = await pool.test(None)
    assert [one["error"] for one in results] == [None, "not done within 0.2 s"]
    nursery.cancel_scope.cancel()
