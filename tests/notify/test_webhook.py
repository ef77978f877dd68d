"""Webhooks, against a real server: what is sent, and what each kind of answer means."""

import hashlib
import hmac
import json
import logging
import socket
import ssl
import threading
import time
from email.utils import formatdate

import httpx
import pytest
import trio
import trustme

from gflow import __version__
from gflow.daemon import lane
from gflow.notify.base import DeliveryFailed
from gflow.notify.exchange import LOOK_UPS, MAX_ANSWER_BYTES
from gflow.notify.payloads import public
from gflow.notify.subscription import Subscription
from gflow.notify.webhook import MAX_PAUSE_SECS, Webhook, retry_after_secs, signature
from support.told import delivery, told
from support.web_server import WebServer, answer, endless, hang_up, nonsense, reset


def webhook(url, **fields):
    return Webhook(httpx.URL(url), url, Subscription(["*"]), **fields)


async def deliver(target, made=None):
    """Deliver once and close; returns the failure, None if there was none."""
    try:
        await target.deliver(made or delivery())
    except DeliveryFailed as failure:
        return failure
    finally:
        await target.aclose()
    return None


async def test_a_request_is_the_payload_signed():
    with WebServer() as server:
        made = delivery()
        assert await deliver(webhook(server.url, secret=b"s", headers={"Authorization": "Bearer t"}), made) is None
    (request,) = server.requests
    headers = request.headers
    assert request.line == "POST /hook HTTP/1.1"
    assert json.loads(request.body) == {**public(made.payload), "delivery": made.id}
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == f"gflow/{__version__}/webhooks"
    assert headers["authorization"] == "Bearer t"
    assert (headers["x-gflow-event"], headers["x-gflow-delivery"]) == ("job_failed", made.id)
    assert abs(int(headers["x-gflow-timestamp"]) - time.time()) < 30
    signed = headers["x-gflow-timestamp"].encode() + b"." + request.body
    assert headers["x-gflow-signature"] == "sha256=" + hmac.new(b"s", signed, hashlib.sha256).hexdigest()


def test_a_signature_that_anybody_can_compute():
    """As `printf '1.{}' | openssl dgst -sha256 -hmac key` has it."""
    expected = "1ba6b8171186efc613e8bcc0cbdab2748f24984d7c5a84faa2637afa0e40d224"
    assert signature(b"key", "1", b"{}") == f"sha256={expected}"


async def test_without_a_secret_nothing_is_signed_and_chats_get_their_shape():
    with WebServer() as server:
        assert await deliver(webhook(server.url, format="slack")) is None
        assert await deliver(webhook(server.url, format="discord")) is None
    slack, discord = server.requests
    assert "x-gflow-signature" not in slack.headers
    assert {"text", "blocks"} < set(json.loads(slack.body))
    assert {"content", "allowed_mentions"} < set(json.loads(discord.body))


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_what_is_well(status):
    with WebServer(answer(status, b"" if status == 204 else b"ok")) as server:
        assert await deliver(webhook(server.url)) is None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422, 451])
async def test_what_will_not_become_better(status):
    with WebServer(answer(status, Retry_After="1")) as server:
        failure = await deliver(webhook(server.url))
    assert (str(failure), failure.final, failure.retry_after_secs) == (f"answered {status}", True, None)


@pytest.mark.parametrize(
    ("status", "fine"),
    [(400, True), (413, True), (422, True), (401, False), (404, False), (302, False), (429, False), (500, False)],
)
async def test_a_refusal_of_one_delivery_is_told_from_one_of_all(status, fine):
    with WebServer(answer(status)) as server:
        failure = await deliver(webhook(server.url))
    assert failure.target_is_fine is fine


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_what_may_become_better(status):
    with WebServer(answer(status, Retry_After="7")) as server:
        failure = await deliver(webhook(server.url))
    assert (str(failure), failure.final, failure.retry_after_secs) == (f"answered {status}", False, 7.0)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(status):
    with WebServer() as other, WebServer(answer(status, Location=other.url)) as server:
        failure = await deliver(webhook(server.url))
    assert failure.final
    assert "a redirect" in str(failure)
    assert other.requests == []


async def test_the_time_is_for_the_whole_exchange():
    with WebServer() as server:
        server.talk = server.slow
        started = time.monotonic()
        failure = await deliver(webhook(server.url, timeout_secs=0.3))
        assert time.monotonic() - started < 10
    assert (str(failure), failure.final) == ("no complete answer within 0.3 s", False)


@pytest.mark.parametrize(
    ("talk", "why"),
    [
        (reset, "the connection broke: Connection reset by peer"),
        (hang_up, "it hung up without an answer"),
        (nonsense, "what it answered is no HTTP"),
    ],
)
async def test_a_connection_that_breaks_is_tried_again(talk, why):
    with WebServer(talk) as server:
        failure = await deliver(webhook(server.url))
    assert str(failure) == why
    assert not failure.final


def echo(server, before=b"", after=b""):
    """Answer with the request, as a server in the making does."""

    def talk(connection):
        request = server.requests[-1]
        lines = [request.line, *(f"{name}: {value}" for name, value in request.headers.items())]
        connection.sendall(before + after.join(line.encode() for line in lines) + b"\r\n\r\n")

    return talk


@pytest.mark.parametrize(
    ("before", "between"), [(b"", b"\r\n"), (b"HTTP/1.1 200 OK\r\n", b"\r\n "), (b"HTTP/1.1 ", b"")]
)
async def test_what_the_peer_says_is_never_quoted(before, between, caplog):
    with WebServer() as server:
        server.talk = echo(server, before, between)
        url = f"http://localhost:{server.port}/hidden"
        failure = await deliver(webhook(url, headers={"Authorization": "Bearer hidden"}))
    assert str(failure) == "what it answered is no HTTP"
    assert not failure.final
    assert "hidden" not in caplog.text


async def test_an_answer_that_ends_too_soon_is_tried_again():
    def half(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhidden")
        hang_up(connection)

    with WebServer(half) as server:
        failure = await deliver(webhook(server.url))
    assert str(failure) == "it hung up in the middle of its answer"


async def test_a_header_that_cannot_be_sent_is_not_quoted():
    with WebServer() as server:
        failure = await deliver(webhook(server.url, headers={"X": "hidden\n"}))
    assert str(failure) == "this address and these headers make no request of HTTP"
    assert failure.final


async def test_cookies_are_not_kept():
    with WebServer(answer(200, Set_Cookie="a=b; Max-Age=3600; Path=/")) as server:
        target = webhook(server.url)
        for _ in range(2):
            await target.deliver(delivery())
        await target.aclose()
    assert len(server.requests) == 2
    assert not any("cookie" in request.headers for request in server.requests)


async def test_where_a_redirect_leads_to_is_not_even_read():
    with WebServer(answer(302, Location="http://[hidden:port/")) as server:
        failure = await deliver(webhook(server.url))
    assert failure.final
    assert "a redirect" in str(failure)


def then(end):
    """Answer the first request of a connection, and end it at the second, as one does that had closed it."""
    known = set()

    def talk(connection):
        if id(connection) in known:
            end(connection)
        else:
            known.add(id(connection))
            answer(200)(connection)

    return talk


@pytest.mark.parametrize("end", [hang_up, reset])
async def test_a_kept_connection_that_was_closed_costs_nothing(end):
    with WebServer(then(end)) as server:
        target = webhook(server.url)
        for _ in range(2):
            await target.deliver(delivery())
        await target.aclose()
    assert (len(server.requests), server.connections) == (3, 2)


async def test_a_kept_connection_that_answers_nonsense_is_not_tried_twice():
    with WebServer(then(nonsense)) as server:
        target = webhook(server.url)
        await target.deliver(delivery())
        failure = await deliver(target)
    assert str(failure) == "what it answered is no HTTP"
    assert len(server.requests) == 2


async def test_a_new_connection_that_is_closed_is_not_tried_twice():
    with WebServer(hang_up) as server:
        assert await deliver(webhook(server.url)) is not None
    assert len(server.requests) == 1


async def test_a_name_server_that_hangs_keeps_no_thread_from_others(monkeypatch):
    over, asked = threading.Event(), []
    look_up = socket.getaddrinfo

    def hang(host, *args, **more):
        if "hangs" not in str(host) or socket.AI_NUMERICHOST & (more.get("flags") or args[-1]):
            return look_up(host, *args, **more)
        asked.append(host)
        over.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    target = webhook("http://hangs.example/", timeout_secs=0.02)
    try:
        for _ in range(2 * LOOK_UPS):
            with pytest.raises(DeliveryFailed, match="no complete answer within"):
                await target.deliver(delivery())
        assert len(asked) == LOOK_UPS
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        with WebServer() as server:
            assert await deliver(webhook(server.url)) is None
    finally:
        over.set()
    await target.aclose()


async def test_nobody_there_is_tried_again():
    with WebServer() as server:
        url = server.url
    failure = await deliver(webhook(url))
    assert str(failure) == "cannot connect: Connection refused"
    assert not failure.final


async def test_of_a_long_answer_only_the_beginning_is_read():
    with WebServer(endless) as server, trio.fail_after(20):
        assert await deliver(webhook(server.url)) is None
    with WebServer(answer(200, b"x" * (MAX_ANSWER_BYTES + 1))) as server:
        assert await deliver(webhook(server.url)) is None


async def test_a_connection_is_used_again_and_may_have_gone_meanwhile():
    with WebServer() as server:
        target = webhook(server.url)
        for _ in range(3):
            await target.deliver(delivery())
        await target.aclose()
    assert (len(server.requests), server.connections) == (3, 1)
    await target.aclose()


async def test_a_cancel_is_no_failure():
    with WebServer() as server:
        server.talk = server.slow
        with trio.move_on_after(0.2) as scope:
            await deliver(webhook(server.url))
    assert scope.cancelled_caught


async def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with WebServer() as server:
        assert await deliver(webhook(server.url)) is None
    assert server.requests[0].line.startswith("POST /hook"), "not a whole address, as a proxy wants it"


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def serving(authority, name):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_tls_with_a_certificate_that_is_trusted(authority):
    with WebServer(tls=serving(authority, "localhost")) as server:
        assert await deliver(webhook(server.url, tls=trusting(authority))) is None
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", ["unknown authority", "other name"])
async def test_tls_with_a_certificate_that_is_not(authority, fault):
    name = "other.example" if fault == "other name" else "localhost"
    tls = trusting(authority) if fault == "other name" else None
    with WebServer(tls=serving(authority, name)) as server:
        failure = await deliver(webhook(server.url, tls=tls))
    assert "certificate verify failed" in str(failure)
    assert server.requests == []


async def test_nothing_that_may_be_secret_is_ever_said(caplog):
    caplog.set_level(logging.DEBUG)
    with WebServer(answer(500)) as server:
        url = f"http://user:hidden@localhost:{server.port}/hidden?hidden"
        target = webhook(url, headers={"X-Token": "hidden"}, secret=b"hidden")
        failure = await deliver(target)
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "hidden" not in f"{target.name} {target!r} {target.key} {failure} {failure!r} {caplog.text}"
    assert target.name == f"webhook localhost ({target.key[:4]})"
    assert target.kind == "webhook"


def test_it_wants_what_it_subscribed_to():
    target = Webhook(httpx.URL("http://h"), "http://h", Subscription(["job_failed"], ["alice"]))
    assert target.wants(told("job_failed"))
    assert not target.wants(told("job_completed"))


def test_a_pause_that_is_taken_is_kept():
    assert lane.MOST_RETRY_AFTER_SECS == MAX_PAUSE_SECS == 24 * 3600


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 120 ", 120.0),
        ("99999999999999999999", 86400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        (formatdate(1000.0, usegmt=True), 0.0),
        (formatdate(1_800_000_060.0, usegmt=True), 60.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 86400.0),
        ("Fri, 99 Foo 2000 99:99:99 GMT", None),
    ],
)
def test_the_pause_an_answer_asks_for(text, secs):
    assert retry_after_secs(text, 1_800_000_000.0) == secs
