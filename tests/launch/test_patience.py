"""What does not answer is waited for once, and costs its user the threads that hang, and nobody else anything."""

import os
import threading
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from gflow.launch.patience import AT_ONCE, Patience
from gflow.launch.processes import Process
from support.tmux_server import until

SECS = 0.2
ANA, BEN = 1001, 1002


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What hangs does so until this is set."""
    made = threading.Event()
    yield made
    made.set()


@pytest.fixture
def patience() -> Patience:
    return Patience()


def processes(count: int) -> list[Process]:
    return [Process(pid, 1) for pid in range(1, count + 1)]


async def test_what_is_read_in_time_is_passed_on(patience: Patience) -> None:
    assert await patience.within(20, ANA, lambda: 7) == 7
    with pytest.raises(FileNotFoundError):
        await patience.within(20, ANA, lambda: os.stat("/nonexistent"))
    assert await patience.each(20, ANA, processes(5), lambda one: one.pid * 2, 2) == {
        one: one.pid * 2 for one in processes(5)
    }


async def test_so_many_threads_of_a_user_hang_and_no_more(patience: Patience, gate: threading.Event) -> None:
    hanging = []

    def hang() -> None:
        hanging.append(1)
        gate.wait()

    for _ in range(AT_ONCE + 3):
        with pytest.raises(TimeoutError, match="it does not answer"):
            await patience.within(SECS, ANA, hang)
    assert len(hanging) == AT_ONCE
    assert await patience.within(20, BEN, lambda: 7) == 7, "nobody else notices"
    began = trio.current_time()
    with pytest.raises(TimeoutError):
        await patience.within(600, ANA, lambda: 7)
    assert trio.current_time() - began < 60, "that is known beforehand"
    gate.set()

    async def answered() -> bool:
        try:
            return await patience.within(20, ANA, lambda: True)
        except TimeoutError:
            return False

    with trio.fail_after(20):
        while not await answered():
            await trio.sleep(0.01)


async def test_a_process_that_hangs_is_left_out_until_it_comes_back(patience: Patience, gate: threading.Event) -> None:
    asked: list[int] = []

    def read(process: Process) -> int:
        asked.append(process.pid)
        if process.pid == 2:
            gate.wait()
        return process.pid

    everything = processes(5)
    others = {one: one.pid for one in everything if one.pid != 2}
    assert await patience.each(SECS, ANA, everything, read, 3) == others
    assert await patience.each(20, ANA, everything, read, 3) == others
    assert asked.count(2) == 1
    gate.set()
    await until(lambda: all(earlier.at is None for earlier in patience._rounds), "the thread that hung")
    assert await patience.each(20, ANA, everything, read, 3) == {one: one.pid for one in everything}


async def test_where_all_hang_the_rest_is_not_waited_for(patience: Patience, gate: threading.Event) -> None:
    asked: list[int] = []

    def read(process: Process) -> int:
        asked.append(process.pid)
        gate.wait()
        return process.pid

    assert await patience.each(SECS, ANA, processes(1000), read, 1) == {}
    assert len(asked) == AT_ONCE


async def test_who_is_called_off_while_it_hangs_does_not_forget_it(patience: Patience, gate: threading.Event) -> None:
    begun = threading.Event()

    def read(process: Process) -> int:
        begun.set()
        gate.wait()
        return process.pid

    with trio.move_on_after(SECS):
        await patience.each(600, ANA, processes(1), read, 1)
    if begun.is_set():
        assert [earlier.at for earlier in patience._rounds] == processes(1)
