"""Decided, on disk, done, told: in this order, and nobody is answered before."""

import pytest
import trio
import trio.testing

from gflow.core.errors import Unavailable
from gflow.core.events import EventKind
from gflow.core.outcome import Outcome
from gflow.daemon.runtime import Runtime
from support.desk import Desk
from support.jobs import START, spec


@pytest.fixture
def desk():
    return Desk(at_once=False)


def test_nothing_is_performed_published_or_told_before_it_is_on_disk(desk):
    desk.submit()
    desk.schedule()
    assert [desk.engine.job(1).state, desk.done, desk.runtime.bus.last_id] == ["Running", [], 0]
    desk.log.write(1)
    assert desk.done == [("job_submitted", 1)]
    desk.log.write(1)
    assert desk.done == [("job_submitted", 1), ("Launch", 1), ("job_started", 1)]


def test_effects_come_before_events_and_both_in_the_order_of_decisions(desk):
    desk.submit_all([spec(), spec()])
    desk.schedule()
    desk.runtime.commit(desk.engine.hold(desk.submit(priority=5), START))
    desk.log.write()
    assert desk.done == [
        *[("job_submitted", 1), ("job_submitted", 2)],
        *[("Launch", 1), ("Launch", 2), ("job_started", 1), ("job_started", 2)],
        *[("job_submitted", 3), ("job_held", 3)],
    ]


def test_a_change_is_one_transaction_with_all_that_belongs_to_it(desk):
    jobs, outcome = desk.engine.submit([spec(group_id="g"), spec()], START, groups={"g": 2})
    desk.runtime.commit(outcome)
    (transaction,) = desk.log.waiting
    assert transaction.jobs == tuple(jobs)
    assert [group.id for group in transaction.groups] == ["g"]
    assert [number for number, _ in transaction.numbered_events] == [1, 2]
    assert (transaction.seq, transaction.next_job_id, transaction.next_event_id) == (1, 3, 3)


def test_numbers_have_no_gaps(desk):
    for _ in range(3):
        desk.submit()
        desk.schedule()
    assert [transaction.seq for transaction in desk.log.waiting] == [1, 2, 3, 4, 5, 6]
    numbers = [number for transaction in desk.log.waiting for number, _ in transaction.numbered_events]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert (desk.runtime.last_seq, desk.runtime.next_event_id) == (6, 7)


def test_a_step_that_changes_nothing_is_not_logged_but_waits_for_what_it_saw(desk):
    desk.submit()
    assert desk.runtime.commit(Outcome()) == 1
    assert len(desk.log.waiting) == 1


def test_numbers_go_on_after_a_restart():
    desk = Desk()
    desk.submit()
    events = desk.runtime.bus.latest(10)
    again = Runtime(desk.engine, lambda: START, iter(()), next_seq=2, next_event_id=2, past_events=events)
    again.connect(desk.log, desk._perform, lambda number, event: None)
    desk.log._on_durable = again.on_durable
    assert (again.last_seq, again.bus.last_id) == (1, 1)
    again.commit(desk.engine.hold(1, START))
    assert desk.log.written[-1].seq == 2
    assert again.commit(Outcome()) == 2
    assert desk.log.written[-1].numbered_events[0][0] == 2


def test_a_new_boot_is_logged_even_if_no_job_was_running(desk):
    assert desk.runtime.commit(desk.engine.machine_restarted(START), "boot-2") == 1
    assert desk.log.waiting[0].boot_id == "boot-2"


def test_a_snapshot_has_the_events_that_are_not_on_disk_yet(desk):
    for _ in range(3):
        desk.submit()
    desk.log.write(1)
    assert [number for number, _ in desk.runtime.latest_events(10)] == [1, 2, 3]
    assert [number for number, _ in desk.runtime.latest_events(2)] == [2, 3]
    assert [number for number, _ in desk.runtime.latest_events(1)] == [2, 3], "none that is not on disk is left out"


def test_a_change_wakes_the_scheduler_and_one_of_a_running_job_the_enforcer_too(desk):
    runtime, woken = desk.runtime, []
    for wake in (runtime.schedule_wake, runtime.deadline_wake):
        wake.clear()
        wake.set = lambda name=wake: woken.append(name)
    desk.submit()
    assert woken == [runtime.schedule_wake], "no deadline can have changed"
    runtime.commit(runtime.engine.schedule(runtime.clock(), runtime.run_ids))
    assert woken[1:] == [runtime.schedule_wake, runtime.deadline_wake]


async def test_an_answer_waits_for_the_disk(desk, autojump_clock):
    desk.submit()
    with trio.move_on_after(1) as scope:
        await desk.runtime.durable(1)
    assert scope.cancelled_caught
    desk.log.write()
    await desk.runtime.durable(1)


async def test_what_was_there_before_the_start_needs_no_waiting(desk, autojump_clock):
    with trio.fail_after(1):
        await desk.runtime.durable(0)
        await desk.runtime.on_disk(0)


async def test_those_who_have_nobody_to_tell_wait_as_long_as_the_disk_fails(desk, nursery, autojump_clock):
    seq = desk.runtime.commit(desk.engine.submit([spec()], START)[1])
    desk.log.broken = Unavailable("The state cannot be written")
    with pytest.raises(Unavailable):
        await desk.runtime.durable(seq)
    nursery.start_soon(desk.runtime.on_disk, seq)
    nursery.start_soon(desk.runtime.on_disk, seq)
    await trio.sleep(3600)
    desk.log.broken = None
    desk.log.write()
    await desk.runtime.on_disk(seq)


def test_nothing_new_is_taken_while_nothing_can_be_written(desk):
    desk.runtime.check_open()
    desk.log.broken = Unavailable("The state cannot be written: No space left on device")
    with pytest.raises(Unavailable, match="No space left"):
        desk.runtime.check_open()


def test_nothing_new_is_taken_once_the_daemon_is_stopping(desk):
    desk.runtime.stopping = True
    with pytest.raises(Unavailable, match="stopping"):
        desk.runtime.check_open()


def test_a_change_that_cannot_be_logged_is_a_fault_and_is_not_hidden(desk):
    desk.log.broken = OverflowError("Integer value out of range")
    with pytest.raises(OverflowError):
        desk.submit()
    assert isinstance(desk.runtime.fault, OverflowError)


def test_a_change_after_the_last_write_is_refused_and_is_no_fault(desk):
    desk.log.broken = Unavailable("The daemon is stopping")
    with pytest.raises(Unavailable):
        desk.submit()
    assert desk.runtime.fault is None


async def test_readers_see_a_published_event_as_the_job_then_was(desk):
    job_id = desk.submit()
    desk.runtime.commit(desk.engine.hold(job_id, START))
    desk.log.write()
    _, events = desk.runtime.bus.since(0)
    assert [(number, event.kind, event.job.state.value) for number, event in events] == [
        (1, EventKind.SUBMITTED, "Queued"),
        (2, EventKind.HELD, "Hold"),
    ]
