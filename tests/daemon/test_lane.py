"""One lane: order, pauses, the circuit breaker and the bound, by a clock that jumps. No thread, no file."""

import logging

import pytest
import trio
import trio.testing

from gflow.daemon import lane as module
from gflow.daemon.lane import Lane
from gflow.daemon.pace import Pace
from gflow.notify.outbox import Stored
from support.target import Target, no_jitter

idle = trio.testing.wait_all_tasks_blocked


@pytest.fixture(autouse=True)
def even(monkeypatch):
    no_jitter(monkeypatch)


class Book:
    """What a lane writes down: how each delivery stands at last."""

    origin = "abcdef"

    def __init__(self):
        self.rows = {}

    def put(self, key, number, row):
        self.rows[number] = row

    def stir(self, *, hungry=False):
        pass


def entry(number, **fields):
    given = {"attempts": 0, "next_try": 0.0} | fields
    return Stored(number, "job_completed", b'{"event": "job_completed"}', **given)


async def start(nursery, target, *numbers, limiter=None):
    pace = Pace(lambda: False, module.MOST_WAITING)
    lane = Lane(target, limiter or trio.CapacityLimiter(16), pace, Book(), lambda: 1000 + trio.current_time())
    for number in numbers:
        lane.add(entry(number))
    nursery.start_soon(lane.serve)
    return lane


async def test_events_reach_a_target_in_order(nursery, autojump_clock):
    target = Target()
    lane = await start(nursery, target, *range(1, 101))
    await trio.sleep(1)
    assert target.delivered == list(range(1, 101))
    assert (lane.waiting, lane.standing.delivered, set(lane._book.rows.values())) == (0, 100, {None})


async def test_a_failed_delivery_is_tried_again_before_the_next_one_under_the_same_id(nursery, autojump_clock):
    target = Target(failures=2)
    await start(nursery, target, 1, 2)
    await trio.sleep(100)
    assert target.delivered == [1, 2]
    assert target.ids == [("1-t", 1), ("1-t", 2), ("1-t", 3), ("2-t", 1), ("2-t", 2), ("2-t", 3)]


async def test_pauses_double_up_to_a_longest_one(nursery, autojump_clock):
    target = Target(failures=99, max_retries=7)
    await start(nursery, target, 1)
    await trio.sleep(1000)
    assert target.pauses == [1, 2, 4, 8, 16, 30, 30]


async def test_pauses_are_not_the_same_everywhere(nursery, autojump_clock, monkeypatch):
    bounds = []
    monkeypatch.setattr(module.random, "uniform", lambda low, high: bounds.append((low, high)) or high)
    target = Target(failures=1)
    await start(nursery, target, 1)
    await trio.sleep(10)
    assert (bounds, target.pauses) == ([(0.75, 1.25)], [1.25])


@pytest.mark.parametrize(("asked", "pause"), [(0.0, 1), (0.5, 1), (90.0, 90), (1e9, module.MOST_RETRY_AFTER_SECS)])
async def test_a_target_that_asks_for_a_pause_gets_it_within_reason(nursery, autojump_clock, asked, pause):
    target = Target(failures=1, retry_after=asked)
    lane = await start(nursery, target, 1)
    await idle()
    assert lane.next_try == pytest.approx(1000 + trio.current_time() + pause)
    await trio.sleep(2 * module.MOST_RETRY_AFTER_SECS)
    assert (target.pauses, target.delivered) == ([pause], [1])


async def test_a_pause_that_was_asked_for_outlives_a_restart(nursery, autojump_clock):
    target = Target()
    lane = await start(nursery, target)
    lane.found(2)
    lane.feed([entry(1, attempts=1, next_try=1000 + 60), entry(2)], (0, 2))
    await trio.sleep(59)
    assert target.attempts == []
    await trio.sleep(2)
    assert target.ids == [("1-t", 2), ("2-t", 1)]


async def test_a_delivery_that_keeps_failing_is_given_up_and_the_next_one_gets_its_turn(
    nursery, autojump_clock, caplog
):
    target = Target(failures=99, max_retries=1)
    lane = await start(nursery, target, 1, 2)
    await trio.sleep(100)
    assert target.tried == [1, 1, 2, 2]
    assert "t: event 1 given up after 2 attempts: connection refused" in caplog.text
    row = lane._book.rows[1]
    assert (row.attempts, row.why, row.given_up_at) == (2, "connection refused", 1001.0)
    assert (lane.standing.given_up, lane.standing.retried, lane.standing.last_failure) == (2, 2, "connection refused")


async def test_what_cannot_get_better_is_given_up_at_once(nursery, autojump_clock):
    target = Target(failures=99, final=True)
    await start(nursery, target, 1)
    await trio.sleep(1000)
    assert target.tried == [1]


async def test_a_bug_of_a_target_is_a_failure_like_others(nursery, autojump_clock, caplog):
    target = Target()
    deliver = target.deliver

    async def stumble(delivery):
        if delivery.attempt == 1:
            raise ExceptionGroup("two", [ZeroDivisionError(), KeyError("x")])
        await deliver(delivery)

    target.deliver = stumble
    await start(nursery, target, 1)
    await trio.sleep(10)
    assert target.delivered == [1]
    assert "a delivery met a bug" in caplog.text


async def test_what_rotted_is_not_sent(nursery, autojump_clock, caplog):
    target = Target()
    lane = await start(nursery, target)
    lane.add(entry(1)._replace(payload=b'{"event": '))
    lane.add(entry(2))
    await trio.sleep(1)
    assert (target.delivered, "cannot be read any more" in caplog.text) == ([2], True)


# -- the circuit breaker ---------------------------------------------------------------------------------------------


async def test_a_dead_target_is_paused_and_probed_with_its_oldest_delivery_first(nursery, autojump_clock, caplog):
    target = Target(max_retries=1)
    target.down = True
    lane = await start(nursery, target, 1, 2, 3, 4, 5)
    await trio.sleep(3.5)
    assert target.tried == [1, 1, 2, 2, 3, 3], "three in a row"
    assert "3 deliveries in a row have failed, the last with: connection refused; it is paused, 5 del" in caplog.text
    assert (lane.standing.paused, lane.waiting, lane.standing.given_up) == (True, 5, 0)
    assert lane.next_try == pytest.approx(1033)
    await trio.sleep(30 * 4 + 60)
    assert target.tried[6:] == [1, 2, 3, 4, 5], "then each in its turn"
    assert target.pauses[5:] == [30, 30, 30, 30, 60]
    target.down = False
    await trio.sleep(60)
    assert target.delivered == [1, 2, 3, 4, 5], "an outage costs nothing"
    assert (lane.standing.paused, lane.standing.failed_in_a_row, lane.standing.given_up) == (False, 0, 0)
    assert "t: it answers again; 4 deliveries wait" in caplog.text


async def test_pauses_of_a_dead_target_grow_to_a_longest_one(nursery, autojump_clock):
    target = Target(max_retries=1)
    target.down = True
    lane = await start(nursery, target, *range(1, 1000))
    await trio.sleep(4 * 3600)
    assert target.pauses[5:22] == [30] * 4 + [60] * 4 + [120] * 4 + [240] * 4 + [300]
    assert set(target.pauses[22:]) == {300}
    target.down = False
    await trio.sleep(300)
    assert (len(target.delivered), lane.standing.given_up, lane.waiting) == (module.WINDOW, 0, 999 - module.WINDOW)
    assert sorted(target.delivered) == list(range(1, module.WINDOW + 1)), "nothing was given up, all hours long"


def choking(target, *poison):
    """Let the target fail for these events only."""
    answer = target._answer

    async def choke(delivery):
        target.down = delivery.number in poison
        await answer(delivery)

    target._answer = choke


async def test_a_few_poisonous_deliveries_do_not_stop_the_others_for_long(nursery, autojump_clock):
    target = Target(max_retries=1)
    choking(target, 1, 2, 3)
    lane = await start(nursery, target, *range(1, 11))
    await trio.sleep(4 + 4 * 30)
    assert target.delivered == [4, *range(5, 11)], "the fourth was the probe that showed life"
    assert (lane.standing.paused, lane.standing.given_up, lane.waiting) == (False, 3, 0)


async def test_many_poisonous_deliveries_do_not_begin_pause_after_pause(nursery, autojump_clock):
    target = Target(max_retries=1)
    choking(target, *range(1, 11))
    lane = await start(nursery, target, *range(1, 21))
    await trio.sleep(15 * 60)
    assert target.delivered == list(range(11, 21))
    assert (lane.standing.paused, lane.standing.given_up, lane.waiting) == (False, 10, 0)


async def test_a_target_that_dies_again_gets_what_was_tried_in_vain_before(nursery, autojump_clock):
    target = Target(max_retries=1)
    target.down = True
    lane = await start(nursery, target, 1, 2, 3, 4, 5, 6, 7, 8)
    answer = target._answer

    async def live_for_one_delivery(delivery):
        target.down = len(target.attempts) != 10 and trio.current_time() - began < 600
        await answer(delivery)

    began = trio.current_time()
    target._answer = live_for_one_delivery
    await trio.sleep(590)
    assert (target.delivered, lane.standing.paused) == ([4], True)
    await trio.sleep(900)
    assert sorted(target.delivered) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert lane.standing.given_up == 0


async def test_each_delivery_is_given_up_after_so_many_probes(nursery, autojump_clock):
    target = Target(max_retries=1)
    target.down = True
    lane = await start(nursery, target, 1, 2, 3)
    await trio.sleep(24 * 3600)
    assert target.tried.count(1) == target.tried.count(2) == module.PROBES
    assert (lane.waiting, lane.standing.given_up) == (0, 3)


async def test_refusals_of_a_target_that_is_fine_are_no_sign_of_its_end(nursery, autojump_clock):
    target = Target(final=True, fine=True)
    target.down = True
    lane = await start(nursery, target, *range(1, 11))
    await trio.sleep(1)
    assert target.tried == list(range(1, 11))
    assert (lane.standing.paused, lane.standing.failed_in_a_row, lane.standing.given_up) == (False, 0, 10)


async def test_a_refusal_of_a_target_that_is_fine_ends_a_pause(nursery, autojump_clock):
    target = Target()
    target.down = True
    lane = await start(nursery, target, *range(1, 6))
    await trio.sleep(30)
    assert lane.standing.paused
    target.fine = target.final = True
    lane.hurry()
    await trio.sleep(1)
    assert (lane.standing.paused, lane.waiting) == (False, 0)


@pytest.mark.parametrize(("kind", "max_retries"), [("command", 2), ("webhook", 0)])
async def test_what_may_not_be_repeated_is_not(nursery, autojump_clock, kind, max_retries):
    target = Target(max_retries=max_retries)
    target.kind, target.down = kind, True
    lane = await start(nursery, target, *range(1, 6))
    await trio.sleep(3600)
    tries = [target.tried.count(number) for number in range(1, 6)]
    assert tries == [max_retries + 1] * 5
    assert (lane.waiting, lane.standing.given_up) == (0, 5)


async def test_a_target_that_refuses_for_good_loses_one_delivery_for_each_pause(nursery, autojump_clock):
    target = Target(final=True)
    target.down = True
    lane = await start(nursery, target, *range(1, 11))
    await trio.sleep(50)
    assert target.tried == [1, 2, 3, 4]
    assert (lane.waiting, lane.standing.given_up) == (6, 4)


async def test_one_success_in_between_and_there_is_no_pause(nursery, autojump_clock):
    target = Target(max_retries=0)
    lane = await start(nursery, target)
    for number in range(1, 20):
        target.down = number % 3 != 0
        lane.add(entry(number))
        await trio.sleep(5)
    assert not lane.standing.paused
    assert target.delivered == [3, 6, 9, 12, 15, 18]


async def test_a_paused_target_can_be_hurried(nursery, autojump_clock):
    target = Target(max_retries=1)
    target.down = True
    lane = await start(nursery, target, 1, 2, 3)
    await trio.sleep(4)
    target.down = False
    lane.hurry()
    await trio.sleep(1)
    assert target.delivered == [1, 2, 3]


# -- the bound -------------------------------------------------------------------------------------------------------


async def test_what_is_too_much_is_dropped_oldest_first_counted_and_said_once(
    nursery, autojump_clock, monkeypatch, caplog
):
    monkeypatch.setattr(module, "MOST_WAITING", 5)
    target = Target()
    target.hanging = True
    lane = await start(nursery, target, 1)
    await idle()
    for number in range(2, 12):
        lane.add(entry(number))
    assert [one.number for one in lane.window] == [1, 8, 9, 10, 11], "the one under way stays"
    assert lane.standing.dropped == 6
    assert [lane._book.rows[number] for number in range(2, 8)] == [None] * 6
    said = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in said] == ["t: 5 deliveries wait; from now on the oldest are dropped"]


async def test_a_burst_of_tens_of_thousands_is_kept(nursery, autojump_clock):
    target = Target()
    target.hanging = True
    lane = await start(nursery, target, *range(1, 50_001))
    assert (lane.waiting, lane.standing.dropped) == (50_000, 0)
    lane.close()


async def test_only_a_window_is_in_memory(nursery, autojump_clock):
    target = Target()
    target.hanging = True
    lane = await start(nursery, target, *range(1, 1001))
    assert (len(lane.window), lane.beyond, lane.waiting) == (module.WINDOW, 1000 - module.WINDOW, 1000)
    assert lane.room == 0
    lane.close()


async def test_what_is_brought_late_goes_where_it_belongs(nursery, autojump_clock):
    target = Target()
    target.hanging = True
    lane = await start(nursery, target, 5, 9)
    await idle()
    lane.found(3)
    lane.feed([entry(2), entry(7), entry(11)], (0, 11))
    assert [one.number for one in lane.window] == [2, 5, 7, 9, 11]
    target.open.set()
    await trio.sleep(1)
    assert target.delivered == [5, 2, 7, 9, 11], "after the one under way"
    assert (lane.beyond, lane.cursor) == (0, (0, 11))


# -- users take turns ------------------------------------------------------------------------------------------------


def offered(lane, number, owner):
    lane.add(entry(number, place=lane.turns.place(owner), owner=owner))


async def test_a_flood_of_one_user_delays_nobody_else_and_each_stays_in_order(nursery, autojump_clock):
    target = Target(secs=1.0)
    lane = await start(nursery, target)
    for number in range(1, 2001):
        offered(lane, number, "ben")
    await trio.sleep(10.5)  # the eleventh is under way
    for number, owner in ((2001, "ana"), (2002, "ana"), (2003, ""), (2004, "ben"), (2005, "ana")):
        offered(lane, number, owner)
    await trio.sleep(8)
    assert target.delivered == [*range(1, 12), 12, 2001, 2003, 13, 2002, 14, 2005]
    assert (lane.waiting, lane.beyond) == (2005 - 18, 2001 - module.WINDOW)


async def test_what_is_dropped_is_the_oldest_of_whom_most_waits(nursery, autojump_clock, monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 6)
    target = Target()
    target.hanging = True
    lane = await start(nursery, target)
    for number, owner in enumerate(("ana", "ben", "ben", "ben", "ben", "ben", "ben", "ana", "ben"), 1):
        offered(lane, number, owner)
        await idle()
    assert [one.number for one in sorted(lane.window)] == [1, 5, 6, 7, 8, 9]
    target.open.set()
    await trio.sleep(1)
    assert target.delivered == [1, 8, 5, 6, 7, 9]


async def test_what_has_become_too_much_for_the_window_is_left_to_the_outbox(nursery, autojump_clock):
    target = Target()
    target.hanging = True
    lane = await start(nursery, target)
    for number in range(1, 1001):
        offered(lane, number, f"u{number % 4}" if number > 400 else "ben")
    assert len(lane.window) > 2 * module.WINDOW
    waiting, window = lane.waiting, lane.window
    lane.trim()
    assert (lane.waiting, lane.window) == (waiting, window[: 2 * module.WINDOW])
    assert lane.cursor == lane.window[-1].turn
    nursery.cancel_scope.cancel()


# -- the end ---------------------------------------------------------------------------------------------------------


async def test_a_closed_lane_delivers_what_it_can_at_once_and_ends(autojump_clock):
    target = Target()
    async with trio.open_nursery() as nursery:
        lane = await start(nursery, target, 1, 2, 3)
        lane.close()
    assert target.delivered == [1, 2, 3]


async def test_a_closed_lane_does_not_wait_for_another_try(autojump_clock):
    target = Target(failures=1)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        lane = await start(nursery, target, 1, 2)
        await idle()
        lane.close()
    assert trio.current_time() == began
    assert (target.tried, lane.waiting) == ([1], 2)
