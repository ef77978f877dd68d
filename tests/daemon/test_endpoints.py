"""Sockets and the accept loop: who may listen, who calls, and that no packet and no client does any harm."""

import contextlib
import json
import logging
import os
import socket
import stat
import sys
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from gflow.daemon import endpoints as module
from gflow.daemon import flood
from gflow.daemon.endpoints import ApiServer, SocketInUse, bind_unix
from gflow.daemon.peer import Peer
from support.desk import eventually

REQUEST = b"GET %s HTTP/1.1\r\nHost: gflowd\r\n\r\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


# -- the socket ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o666])
def test_the_socket_has_its_mode_from_birth_whatever_the_umask(path, umask, mode, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "chmod", lambda *args, **kwargs: pytest.fail("too late"))
    real_umask, before = os.umask, os.umask(umask)

    def look(mask):
        if path.exists():
            seen.append(stat.S_IMODE(path.stat().st_mode))
        return real_umask(mask)

    try:
        monkeypatch.setattr(os, "umask", look)
        with bind_unix(path, mode):
            assert seen == [mode]
            assert stat.S_IMODE(path.stat().st_mode) == mode
        assert os.umask(before) == umask, "as it was"
    finally:
        real_umask(before)


def test_it_takes_connections(path):
    with bind_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_a_socket_nobody_listens_on_is_replaced(path):
    bind_unix(path).close()
    assert path.exists()
    test_it_takes_connections(path)


def test_a_live_socket_is_refused_and_left_alone(path):
    with bind_unix(path) as first:
        with pytest.raises(SocketInUse, match=rf"pid {os.getpid()} already listens on {path}"):
            bind_unix(path)
        assert path.exists()
        first.setblocking(True)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(path))
            first.accept()[0].close()


def test_a_live_socket_with_a_full_queue_is_refused_too(path):
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
        listener.bind(os.fspath(path))
        listener.listen(0)
        waiting.connect(os.fspath(path))
        with pytest.raises(SocketInUse, match="takes no connections"):
            bind_unix(path)
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_is_no_socket_is_left_alone(path, kind):
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to("elsewhere")
    with pytest.raises(SocketInUse, match="is not a socket"):
        bind_unix(path)
    assert os.path.lexists(path)


@pytest.mark.parametrize("name", ["missing/s", "x" * 120])
def test_a_socket_that_cannot_be_made_is_an_error_that_names_it(tmp_path, name):
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="cannot listen on .*" + name[:5]):
        bind_unix(tmp_path / name)
    assert os.listdir("/proc/self/fd") == before


# -- a server with a small application --------------------------------------------------------------------------------


class App:
    """What the server is to carry: short answers, one that waits, one that never ends."""

    def __init__(self):
        self.go_on = trio.Event()
        self.peers = []
        self.cancelled = []
        self.bodies = []

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            raise AssertionError(f"a scope of type {scope['type']}")
        self.peers.append(scope["state"]["peer"])
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hung_up, receive, nursery, scope["path"])
                await getattr(self, scope["path"].strip("/") or "root")(send)
                nursery.cancel_scope.cancel()
        except* ZeroDivisionError:
            raise ZeroDivisionError from None

    async def _hung_up(self, receive, nursery, path):
        while (message := await receive())["type"] != "http.disconnect":
            self.bodies.append(message["body"])
        self.cancelled.append(path)
        nursery.cancel_scope.cancel()

    async def _answer(self, send, body):
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})

    async def root(self, send):
        await self._answer(send, b"hello")

    async def slow(self, send):
        await self.go_on.wait()
        await self._answer(send, b"done")

    async def crash(self, send):
        raise ZeroDivisionError

    async def endless(self, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})


class Server:
    def __init__(self, path, connections=()):
        self.path = path
        self.app = App()
        self.api = ApiServer(self.app, [bind_unix(path)], connections=connections)

    async def connect(self, data=b""):
        stream = await trio.open_unix_socket(self.path)
        await stream.send_all(data)
        return stream

    async def say(self, data):
        """All that comes back to `data` until the server closes the connection."""
        return await rest(await self.connect(data))

    async def is_well(self):
        async with await self.connect(REQUEST % b"/") as stream:
            assert (await head(stream)).endswith(b"hello")


async def rest(stream):
    async with stream:
        received = b""
        while piece := await stream.receive_some():
            received += piece
        return received


async def head(stream):
    """A whole small answer."""
    received = b""
    while not received.endswith((b"hello", b"done")):
        piece = await stream.receive_some()
        assert piece, received
        received += piece
    return received


@asynccontextmanager
async def serving(path, connections=()):
    server = Server(path, connections)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.api.run)
            yield server
            await server.api.close()


async def test_a_connection_serves_many_requests(path):
    async with serving(path) as server, await server.connect() as stream:
        for _ in range(5):
            await stream.send_all(REQUEST % b"/")
            answer = await head(stream)
            assert answer.startswith(b"HTTP/1.1 200")
            assert answer.count(b"HTTP/1.1") == 1


async def test_requests_sent_ahead_are_answered_in_order(path):
    async with serving(path) as server, await server.connect(REQUEST % b"/" * 3) as stream:
        received = b""
        while received.count(b"hello") < 3:
            received += await stream.receive_some()


_CALL = """
import os, socket, sys
uid = int(sys.argv[1])
if uid != os.geteuid():
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
client = socket.socket(socket.AF_UNIX)
client.connect("s")
client.sendall(b"GET / HTTP/1.1\\r\\nHost: root\\r\\nX-User: 0\\r\\n\\r\\n")
assert client.recv(99).startswith(b"HTTP/1.1 200")
"""


async def test_the_kernel_says_who_called(path):
    uid = 65534 if os.geteuid() == 0 else os.geteuid()
    async with serving(path) as server:
        path.chmod(0o666)
        path.parent.chmod(0o711)
        process = await trio.lowlevel.open_process([sys.executable, "-Ic", _CALL, str(uid)], cwd=path.parent)
        assert await process.wait() == 0
        (peer,) = server.app.peers
        assert (peer.pid, peer.uid) == (process.pid, uid)


PACKETS = {
    "h2c with bad settings": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: !!not-base64!!\r\n\r\n",
    "h2c with good settings": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    "websocket with a byte too many": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\nX",
    "websocket without a key": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "a host that is no text": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
    "h2 without asking": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0",
    "a path that is no text": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40 + b"\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "a length that is no number": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
    "bad chunks": b"POST /slow HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "a head that never ends": b"GET / HTTP/1.1\r\nX: " + b"y" * (module.MAX_HEADER_BYTES + 100_000),
}


async def reaction(server, packet):
    """What comes back to a packet: an answer, or the end of the connection."""
    async with await server.connect() as stream:
        received = b""
        with contextlib.suppress(trio.BrokenResourceError):
            await stream.send_all(packet)
            while not received.endswith(b"hello") and (piece := await stream.receive_some()):
                received += piece
        return received


async def test_dropped_connections_cannot_fill_the_log(path, caplog, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(flood, "A_MINUTE", 2)

    async def choke(_connection):
        async with trio.open_nursery():
            raise ValueError("what\n\x1b[31mthe parser\u2028choked on" + "y" * 1000)

    async with serving(path) as server:
        monkeypatch.setattr(module.Connection, "run", choke)
        for _ in range(6):
            await reaction(server, b"x")
    told = [record.getMessage() for record in caplog.records]
    line = r"connection dropped: ValueError: what\n\x1b[31mthe parser\u2028choked ony"
    assert [text[: len(line)] for text in told[:2]] == [line] * 2
    assert all(len(text) < 250 for text in told)
    assert told[2:] == ["4 more lines like this one of gflow.daemon.endpoints: connection dropped: %s"]


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS)
async def test_no_packet_ends_the_server(path, packet, caplog):
    async with serving(path) as server:
        answer = await reaction(server, packet)
        assert answer[:9] in (b"HTTP/1.1 ", b""), "nothing but HTTP/1.1 is spoken"
        assert b" 101 " not in answer
        assert not answer.startswith(b"HTTP/1.1 500")
        await server.is_well()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


REFUSED = {
    b"GET / HTTP/1.1\r\n\r\n": (400, "malformed", "Host"),
    b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n": (400, "malformed", "illegal request line"),
    b"GET /?a=\xff HTTP/1.1\r\nHost: x\r\n\r\n": (400, "malformed", "illegal request line"),
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n": (400, "malformed", "Content-Length"),
    b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n": (400, "malformed", "no path and no URL"),
    b"GET / HTTP/9.9\r\nHost: x\r\n\r\n": (505, "malformed", "HTTP/9.9"),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n": (505, "malformed", "HTTP/2.0"),
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n": (501, "malformed", "chunked"),
    b"GET /" + b"a" * (module.MAX_HEADER_BYTES + 1000): (431, "too_large", "too long"),
}


@pytest.mark.parametrize("packet", REFUSED, ids=lambda packet: repr(packet[:24]))
async def test_what_never_reaches_the_application_is_refused_in_the_shape_of_all_errors(path, packet):
    status, code, words = REFUSED[packet]
    async with serving(path) as server:
        head_, _, body = (await reaction(server, packet)).partition(b"\r\n\r\n")
        assert head_.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-length: %d\r\n" % len(body) in head_
        told = json.loads(body)
        assert told["code"] == code
        assert words in told["error"]
        await server.is_well()


async def test_a_head_request_that_is_refused_gets_a_head(path):
    async with serving(path) as server:
        heard = await reaction(server, b"HEAD http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert heard.endswith(b"\r\n\r\n")


async def test_a_crash_of_the_application_costs_one_answer(path):
    async with serving(path) as server:
        answer = await server.say(b"GET /crash HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 500")
        await server.is_well()


async def test_a_client_that_hangs_up_cancels_its_request(path):
    async with serving(path) as server:
        stream = await server.connect(REQUEST % b"/slow")
        await eventually(lambda: server.app.peers, "the request")
        await stream.aclose()
        await eventually(lambda: server.app.cancelled == ["/slow"], "the cancellation")
        await server.is_well()


async def test_many_half_requests_stand_in_nobodys_way(path):
    async with serving(path) as server:
        halves = [await server.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Len") for _ in range(100)]
        halves += [
            await server.connect(b"POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nab") for _ in range(100)
        ]
        await server.is_well()
        for half in halves:
            await half.aclose()


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST % b"/"], ids=["nothing", "half a request", "a request"])
async def test_idle_connections_are_closed(path, monkeypatch, sent):
    monkeypatch.setattr(module, "IDLE_SECS", 0.1)
    async with serving(path) as server:
        await server.say(sent)


async def test_a_connection_is_not_idle_while_an_answer_is_due(path, monkeypatch):
    monkeypatch.setattr(module, "IDLE_SECS", 0.05)
    async with serving(path) as server, await server.connect(REQUEST % b"/slow") as busy:
        await server.say(b"")  # an idle one is closed meanwhile
        server.app.go_on.set()
        assert b"done" in await head(busy)


# -- stopping --------------------------------------------------------------------------------------------------------


async def test_closing_lets_answers_under_way_leave(path):
    async with (
        serving(path) as server,
        await server.connect(REQUEST % b"/slow") as busy,
        trio.open_nursery() as nursery,
    ):
        await eventually(lambda: server.app.peers, "the request")
        nursery.start_soon(server.api.close)
        await trio.testing.wait_all_tasks_blocked()
        server.app.go_on.set()
        assert b"done" in await rest(busy)


async def test_closing_takes_no_new_connections_and_no_new_requests(path, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECS", 0.3)  # for the request that was sent ahead and is not answered
    async with (
        serving(path) as server,
        await server.connect(REQUEST % b"/slow") as busy,
        trio.open_nursery() as nursery,
    ):
        await eventually(lambda: server.app.peers, "the request")
        nursery.start_soon(server.api.close)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="refused"):
            await server.connect()
        await busy.send_all(REQUEST % b"/")
        server.app.go_on.set()
        assert (await rest(busy)).count(b"HTTP/1.1") == 1


async def test_closing_ends_idle_connections_at_once(path, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECS", 15.0)
    async with serving(path) as server:
        fresh, used = await server.connect(), await server.connect(REQUEST % b"/")
        await head(used)
        with trio.fail_after(5):
            await server.api.close()
            assert (await rest(fresh), await rest(used)) == (b"", b"")


async def test_the_last_answer_says_that_the_connection_ends_with_it(path, monkeypatch):
    monkeypatch.setattr(module, "FRESH_SECS", 0)
    async with serving(path) as server, await server.connect(REQUEST % b"/") as busy, await server.connect() as late:
        assert b"connection" not in await head(busy)
        await busy.send_all(REQUEST % b"/slow")
        await eventually(lambda: len(server.app.peers) == 2 and len(server.api._open) == 2, "the requests")
        late.socket._sock.send(REQUEST % b"/")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.api.close)
            assert (await rest(late)).startswith(b"HTTP/1.1 200 \r\ncontent-length: 5\r\nconnection: close\r\n")
            server.app.go_on.set()
            assert b"\r\nconnection: close\r\n" in await rest(busy)


async def test_another_server_goes_on_with_connections_where_the_next_request_begins(path):
    async with serving(path) as first, trio.open_nursery() as nursery:
        fresh, used, busy = await first.connect(), await first.connect(REQUEST % b"/"), await first.connect()
        await head(used)
        await busy.send_all(REQUEST % b"/slow")
        await eventually(lambda: len(first.app.peers) == 2 and len(first.api._open) == 3, "the connections")
        left = []

        async def hand_over():
            left.extend(await first.api.hand_over())

        nursery.start_soon(hand_over)
        used.socket._sock.send(REQUEST % b"/")  # before anybody has stopped reading
        await eventually(lambda: len(first.api._open) == 1, "those that are idle")
        await fresh.send_all(REQUEST % b"/")
        await busy.send_all(REQUEST % b"/")
        first.app.go_on.set()
        assert b"connection" not in await head(used)
        assert (await head(busy)).count(b"HTTP/1.1") == 1, "up to the end of the answer to the first"
        await eventually(lambda: len(left) == 3, "all connections")
    path.unlink()
    async with serving(path, left) as second, fresh, used, busy:
        assert [(await head(stream)).count(b"HTTP/1.1") for stream in (fresh, busy)] == [1, 1]
        await used.send_all(REQUEST % b"/")
        assert (await head(used)).endswith(b"hello")
        assert second.app.peers[0].pid == os.getpid()


async def test_half_a_request_cannot_be_handed_over_and_holds_nothing_up(path, monkeypatch):
    monkeypatch.setattr(module, "GRACE_SECS", 0.2)
    async with serving(path) as server, await server.connect(b"GET / HTTP/1.1\r\n") as half:
        await eventually(lambda: server.api._open, "the connection")
        with trio.fail_after(5):
            assert await server.api.hand_over() == []
        assert await rest(half) == b""


@pytest.mark.parametrize("request_path", [b"/slow", b"/endless"])
async def test_no_client_can_keep_the_server_from_closing(path, monkeypatch, request_path):
    """One waits for an answer that does not come, one has stopped reading and its send is shielded."""
    monkeypatch.setattr(module, "GRACE_SECS", 0.1)
    async with serving(path) as server:
        stuck = [await server.connect(REQUEST % request_path) for _ in range(5)]
        await eventually(lambda: len(server.app.peers) == 5, "the requests")
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            await server.api.close()
        for stream in stuck:
            await stream.aclose()


async def test_being_cancelled_ends_it_too(path, monkeypatch):
    server = Server(path)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.api.run)
            stream = await server.connect(REQUEST % b"/slow")
            await eventually(lambda: server.app.peers, "the request")
            nursery.cancel_scope.cancel()
        assert await rest(stream) == b""


async def test_descriptors_are_given_back(path):
    before = os.listdir("/proc/self/fd")
    async with serving(path) as server:
        for _ in range(20):
            await server.is_well()
    assert len(os.listdir("/proc/self/fd")) == len(before)


# -- bounds ----------------------------------------------------------------------------------------------------------


class Callers:
    """Who the kernel says is calling, in place of it."""

    def __init__(self, monkeypatch):
        self.uid = os.geteuid()
        monkeypatch.setattr(module, "peer_of", lambda sock: Peer(1, self.uid, self.uid))
        monkeypatch.setattr(module, "OF_ONE", 5)
        monkeypatch.setattr(module, "TURN_AWAY_SECS", 0.2)


@pytest.fixture
def callers(monkeypatch):
    return Callers(monkeypatch)


async def test_who_has_too_many_connections_is_told_and_others_are_served(path, callers):
    async with serving(path) as server:
        callers.uid = 4001
        held = [await server.connect(half) for half in (b"", b"GET", REQUEST % b"/slow") for _ in range(2)]
        await eventually(lambda: server.api._places.inside == 5, "as many as one may have")
        assert await rest(held.pop()) == b"HTTP/1.1 429 " + module._NO_PLACE.removeprefix(b"HTTP/1.1 429 ")
        for _ in range(3):
            assert b'"code":"too_many"' in await server.say(REQUEST % b"/")
        callers.uid = 4002
        await server.is_well()
        callers.uid = os.geteuid()
        held += [await server.connect(REQUEST % b"/slow") for _ in range(2)]
        await server.is_well()
        for stream in held:
            await stream.aclose()
        await eventually(lambda: server.api._places.inside == 0, "their places")
        callers.uid = 4001
        await server.is_well()


async def test_many_users_together_leave_room_for_administrators(path, callers, monkeypatch):
    monkeypatch.setattr(module, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(module, "KEPT", 4)
    async with serving(path) as server:
        held = []
        for callers.uid in range(4001, 4009):
            held += [await server.connect(b"GET /") for _ in range(5)]
            await eventually(lambda: server.api._being_turned_away == 0, "the end of those who find no place")
        assert server.api._places.inside == 16
        callers.uid = os.geteuid()
        await server.is_well()
        for stream in held:
            await stream.aclose()


async def test_those_who_find_no_place_do_not_pile_up(path, callers, monkeypatch):
    monkeypatch.setattr(module, "TURNED_AWAY", 3)
    monkeypatch.setattr(module, "TURN_AWAY_SECS", 60)
    async with serving(path) as server:
        callers.uid = 4001
        held = [await server.connect() for _ in range(50)]
        await eventually(lambda: server.api._being_turned_away == 3, "those who are told")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(server.api._open) == 5
        callers.uid = os.geteuid()
        await server.is_well()
        for stream in held:
            await stream.aclose()


async def test_half_a_request_is_not_waited_for(path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECS", 0.02)
    monkeypatch.setattr(module, "HEAD_SECS", 0.2)
    async with serving(path) as server, await server.connect(REQUEST % b"/") as patient:
        await head(patient)
        assert await server.say(b"GET / HT") == b""
        answers = await server.say((REQUEST % b"/") + b"GET /")
        assert answers.endswith(b"hello")
        async with await server.connect() as drop:
            with pytest.raises(trio.BrokenResourceError):
                for byte in b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 1000:
                    await drop.send_all(bytes([byte]))
                    await trio.sleep(0.01)
        await patient.send_all(REQUEST % b"/")
        assert b"hello" in await head(patient)


@pytest.mark.parametrize("drip", [b"", b"\r\n"], ids=["nothing", "empty lines"])
async def test_a_connection_without_a_first_request_is_not_waited_for(path, monkeypatch, drip):
    monkeypatch.setattr(module, "LOOK_SECS", 0.02)
    monkeypatch.setattr(module, "HEAD_SECS", 0.2)
    async with serving(path) as server, await server.connect(REQUEST % b"/") as patient, await server.connect() as mute:
        await head(patient)
        with contextlib.suppress(trio.BrokenResourceError):
            while True:
                await mute.send_all(drip)
                with trio.move_on_after(0.02):
                    assert await mute.receive_some() == b""
                    break
        await patient.send_all(REQUEST % b"/")
        assert b"hello" in await head(patient)


@pytest.mark.parametrize(("less", "status"), [(100, b"200"), (0, b"431")])
async def test_a_head_has_a_bound_however_quickly_it_comes(path, less, status):
    async with serving(path) as server:
        padding = b"y" * (module.MAX_HEADER_BYTES - less)
        answer = await server.say(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: %s\r\n\r\n" % padding)
        assert answer.split()[1] == status
        await server.is_well()


async def test_an_answer_nobody_reads_is_given_up(path, monkeypatch):
    monkeypatch.setattr(module, "LOOK_SECS", 0.02)
    monkeypatch.setattr(module, "STALL_SECS", 0.3)
    async with serving(path) as server, await server.connect(REQUEST % b"/endless"):
        await eventually(lambda: server.app.peers, "the request")
        await eventually(lambda: not server.api._open, "the end of the connection")
        await server.is_well()


async def test_an_answer_that_meets_the_end_of_its_connection_is_no_fault(path, monkeypatch, caplog):
    """trio says so when one task closes a stream while another is about to send."""

    async def busy(stream, data):
        raise trio.BusyResourceError("another task is currently sending data on this SocketStream")

    async with serving(path) as server:
        stream = await server.connect()
        with monkeypatch.context() as patched:
            patched.setattr(trio.SocketStream, "send_all", busy)
            await trio.to_thread.run_sync(lambda: stream.socket._sock.send(REQUEST % b"/"))
            assert await rest(stream) == b""
        await server.is_well()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
