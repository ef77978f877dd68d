"""What the application that answers a request gets to hear: its messages in order, never too many, and hang-ups."""

import contextlib
import logging

import pytest
import trio
import trio.testing

from gflow.daemon.hangup import HANG_UP
from gflow.daemon.requests import MAX_WAITING, Requests

idle = trio.testing.wait_all_tasks_blocked

HUNG_UP = {"type": "http.disconnect"}


def piece(number):
    return {"type": "http.request", "body": b"%d" % number, "more_body": True}


class Exchange:
    """A request whose application does what the test says; `sent` is what it answered, None for its end."""

    def __init__(self, nursery):
        self.requests = Requests(nursery, contextlib.nullcontext)
        self.sent = []

    async def start(self, application):
        async def app(scope, receive, send, _sync_spawn, _call_soon):
            await application(scope, receive, send)

        async def send(message):
            self.sent.append(message)

        self.put = await self.requests.spawn_app(app, None, {"type": "http", "extensions": {}}, send)


@pytest.fixture
def exchange(nursery):
    return Exchange(nursery)


async def test_messages_come_in_order_whether_they_were_there_before_or_come_later(exchange):
    heard = []

    async def application(_scope, receive, _send):
        while (message := await receive()) != HUNG_UP:
            heard.append(message)

    await exchange.start(application)
    for number in range(3):
        await exchange.put(piece(number))
    await idle()
    assert heard == [piece(0), piece(1), piece(2)]
    await exchange.put(piece(3))
    await exchange.put(HUNG_UP)
    await idle()
    assert heard[3:] == [piece(3)]
    assert exchange.sent == [None]


async def test_a_body_nobody_asks_for_is_not_taken_in_without_end(exchange, nursery):
    go_on, taken = trio.Event(), []

    async def application(_scope, receive, _send):
        await go_on.wait()
        for _ in range(MAX_WAITING):
            await receive()
        await trio.sleep_forever()

    async def put():
        for number in range(3 * MAX_WAITING):
            await exchange.put(piece(number))
            taken.append(number)

    await exchange.start(application)
    nursery.start_soon(put)
    await idle()
    assert len(taken) == MAX_WAITING
    go_on.set()
    await idle()
    assert len(taken) == 2 * MAX_WAITING


async def test_once_the_application_has_ended_a_body_is_thrown_away(exchange, nursery):
    go_on = trio.Event()

    async def application(_scope, _receive, _send):
        await go_on.wait()

    async def put():
        for number in range(5 * MAX_WAITING):
            await exchange.put(piece(number))
        go_on_putting.set()

    go_on_putting = trio.Event()
    await exchange.start(application)
    nursery.start_soon(put)
    await idle()
    assert not go_on_putting.is_set()
    go_on.set()
    with trio.fail_after(5):
        await go_on_putting.wait()


async def test_a_hang_up_cancels_what_asked_for_that(exchange):
    ended = []

    async def application(scope, _receive, _send):
        with trio.CancelScope() as answering:
            scope["extensions"][HANG_UP](answering)
            await trio.sleep_forever()
        ended.append(answering.cancelled_caught)

    await exchange.start(application)
    await idle()
    await exchange.put(HUNG_UP)
    await idle()
    assert ended == [True]
    assert exchange.sent == [None]


async def test_a_hang_up_is_told_however_many_messages_wait(exchange):
    async def application(scope, _receive, _send):
        with trio.CancelScope() as answering:
            scope["extensions"][HANG_UP](answering)
            await trio.sleep_forever()

    await exchange.start(application)
    for number in range(MAX_WAITING):
        await exchange.put(piece(number))
    with trio.fail_after(5):
        await exchange.put(HUNG_UP)
    await idle()
    assert exchange.sent == [None]


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_crash_is_logged_and_the_end_is_told(exchange, caplog, grouped):
    async def application(_scope, _receive, _send):
        raise ExceptionGroup("several", [ZeroDivisionError()]) if grouped else ZeroDivisionError

    await exchange.start(application)
    await idle()
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert exchange.sent == [None]
