"""A thread for one task's blocking work: results, errors, and being left behind."""

import os
import threading

import pytest
import trio
import trio.testing

from gflow.daemon.hand import Hand


@pytest.fixture
def hand():
    before = os.listdir("/proc/self/fd")
    made = Hand("test")
    yield made
    made.close()
    assert os.listdir("/proc/self/fd") == before


async def test_work_is_done_in_one_and_the_same_other_thread(hand):
    threads = {await hand.do(threading.current_thread) for _ in range(3)}
    assert len(threads) == 1
    assert threads != {threading.current_thread()}


async def test_arguments_and_results_are_handed_over(hand):
    assert await hand.do(divmod, 17, 5) == (3, 2)
    assert await hand.do(list) == []


async def test_an_error_is_raised_where_the_result_is_awaited_and_the_next_piece_is_done(hand):
    with pytest.raises(ZeroDivisionError):
        await hand.do(divmod, 1, 0)
    assert await hand.do(divmod, 1, 1) == (1, 0)


async def test_the_event_loop_goes_on_meanwhile(hand):
    released = threading.Event()

    async def release():
        released.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(release)
        assert await hand.do(released.wait, 5)


async def test_two_tasks_cannot_use_it_at_once(hand):
    released = threading.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hand.do, released.wait, 5)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="busy"):
            await hand.do(list)
        released.set()


async def test_nothing_is_begun_for_somebody_cancelled(hand):
    done = []
    with trio.CancelScope() as scope:
        scope.cancel()
        await hand.do(done.append, 1)
    assert scope.cancelled_caught
    assert await hand.do(list) == []
    assert done == []


async def test_a_thread_that_does_not_come_back_is_left_behind():
    hand, released, ended = Hand("test"), threading.Event(), threading.Event()

    def hang():
        released.wait(5)
        ended.set()

    with trio.move_on_after(0.02) as scope:
        await hand.do(hang)
    assert scope.cancelled_caught
    with pytest.raises(RuntimeError, match="left behind"):
        await hand.do(list)
    hand.close()  # without waiting for it
    assert not ended.is_set()
    released.set()
    assert await trio.to_thread.run_sync(ended.wait, 5)
    hand._thread.join(5)
    assert not hand._thread.is_alive(), "it ends when it can"
    os.close(hand._done)


def test_a_thread_that_was_never_needed_is_closed_too():
    before = threading.active_count()
    Hand("test").close()
    assert threading.active_count() == before
