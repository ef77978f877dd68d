"""The ring of events: every reader at its own pace, and none is silently short of one."""

import pytest
import trio
import trio.testing

from gflow.core.events import Event, EventKind
from gflow.daemon import bus as module
from gflow.daemon.bus import Bus
from support.ledger import make_job


def event(number):
    return number, Event(EventKind.SUBMITTED, float(number), make_job(number))


def events(first, last):
    return [event(number) for number in range(first, last + 1)]


def numbers(found):
    return [number for number, _ in found]


def test_a_new_bus_has_nothing_and_misses_nothing():
    assert Bus().since(0) == (False, [])
    assert (Bus().last_id, Bus().latest(5)) == (0, [])


def test_a_reader_gets_what_came_after_what_it_saw():
    bus = Bus()
    bus.publish(events(1, 5))
    assert bus.since(0) == (False, events(1, 5))
    assert numbers(bus.since(3)[1]) == [4, 5]
    assert bus.since(5) == (False, [])
    assert numbers(bus.latest(2)) == [4, 5]


def test_old_events_make_room_and_a_late_reader_is_told_so(monkeypatch):
    monkeypatch.setattr(module, "RING_LENGTH", 10)
    bus = Bus()
    bus.publish(events(1, 25))
    missed, found = bus.since(3)
    assert (missed, numbers(found)) == (True, list(range(16, 26)))
    assert bus.since(14)[0] is True
    assert bus.since(15) == (False, events(16, 25))


def test_ids_and_events_go_on_over_a_restart():
    bus = Bus(events(3, 7), next_id=8)
    assert bus.last_id == 7
    assert bus.since(2) == (False, events(3, 7))
    assert bus.since(1)[0] is True
    bus.publish([event(8)])
    assert numbers(bus.since(6)[1]) == [7, 8]


def test_a_restart_without_kept_events_says_that_some_are_missed():
    assert Bus((), next_id=8).since(3) == (True, [])


def test_a_reader_that_claims_to_have_seen_the_future_gets_nothing():
    bus = Bus(events(1, 3), next_id=4)
    assert bus.since(99) == (False, [])


async def test_all_waiting_readers_are_woken(nursery):
    bus, woken = Bus(), []

    async def reader(last_seen):
        await bus.wait_for_more(last_seen)
        woken.append(last_seen)

    for last_seen in (0, 0, 1):
        nursery.start_soon(reader, last_seen)
    await trio.testing.wait_all_tasks_blocked()
    assert woken == []
    bus.publish([event(1)])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == [0, 0], "the third has seen it already"
    bus.publish([event(2)])
    await trio.testing.wait_all_tasks_blocked()
    assert woken == [0, 0, 1]


async def test_a_reader_behind_does_not_wait():
    bus = Bus()
    bus.publish(events(1, 2))
    with trio.fail_after(5):
        await bus.wait_for_more(1)


async def test_an_empty_publication_wakes_nobody(autojump_clock):
    bus = Bus()
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bus.wait_for_more, 0)
            await trio.testing.wait_all_tasks_blocked()
            bus.publish([])
    assert scope.cancelled_caught


@pytest.mark.parametrize("before", [True, False])
async def test_closing_ends_every_wait(before):
    bus = Bus()
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            if before:
                bus.close()
            nursery.start_soon(bus.wait_for_more, 0)
            await trio.testing.wait_all_tasks_blocked()
            bus.close()
    assert bus.closed


def test_a_ring_holds_more_than_a_snapshot_keeps():
    from gflow.store.snapshot import KEPT_EVENTS

    assert module.RING_LENGTH >= KEPT_EVENTS


async def test_readers_can_be_woken_without_an_event():
    bus, woken = Bus(), []

    async def read():
        await bus.wait_for_more(bus.last_id)
        woken.append(bus.last_id)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        bus.stir()
        await trio.testing.wait_all_tasks_blocked()
        assert woken == [0]
