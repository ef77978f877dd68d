"""A client that is gone is told from one that only sends no more, whatever is left to read."""

import os
import socket

import pytest
import trio
import trio.testing

from gflow.daemon.departures import Departures


@pytest.fixture
def departures(nursery):
    with Departures() as watching:
        nursery.start_soon(watching.run)
        yield watching
        nursery.cancel_scope.cancel()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


async def wait(departures, sock, ended):
    with departures.ending(sock.fileno()) as scope:
        await trio.sleep_forever()
    ended.append(scope.cancelled_caught)


@pytest.mark.parametrize("unread", [b"", b"left behind"])
async def test_a_peer_that_closes_ends_what_waits(departures, nursery, pair, unread):
    ours, theirs = pair
    ended = []
    nursery.start_soon(wait, departures, ours, ended)
    theirs.sendall(unread)
    theirs.shutdown(socket.SHUT_WR)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert ended == [], "it sends no more, that is all"
    theirs.close()
    with trio.fail_after(5):
        while not ended:
            await trio.lowlevel.checkpoint()
    assert ended == [True]


async def test_a_peer_that_is_gone_already_ends_it_too(departures, pair):
    ours, theirs = pair
    theirs.close()
    with trio.fail_after(5):
        await wait(departures, ours, ended := [])
    assert ended == [True]


async def test_a_closed_socket_ends_it_at_once(departures, pair):
    pair[0].close()
    with trio.fail_after(5):
        await wait(departures, pair[0], ended := [])
    assert ended == [True]


async def test_what_ended_otherwise_is_not_watched_any_more(departures, pair):
    """Not even if the number of its descriptor is somebody else's by then."""
    ours, theirs = pair
    other, its_peer = socket.socketpair()
    with departures.ending(ours.fileno()) as first, its_peer:
        os.dup2(other.fileno(), ours.fileno())
        other.close()
        with departures.ending(ours.fileno()) as second, trio.fail_after(5):
            theirs.close()
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert not second.cancel_called
            its_peer.close()
            while not second.cancel_called:
                await trio.lowlevel.checkpoint()
    assert not first.cancel_called
