"""TLS: which files it is served with, what a bad handshake costs, and that connections behave as without it."""

import logging
import os
import socket
import ssl
import subprocess
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trio
import trio.testing

from gflow.daemon import endpoints, tls
from gflow.daemon.endpoints import ApiServer
from gflow.daemon.hangup import HANG_UP
from gflow.daemon.loopback import bind_tcp
from gflow.daemon.peer import Stranger
from gflow.daemon.tls import UnusableCertificate, names_of, server_context
from support import certificates
from support.desk import eventually

REQUEST = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"), "gpu.example", "*.lab.example", "localhost", "127.0.0.1")


# -- the files -------------------------------------------------------------------------------------------------------


def refusal(cert, key):
    with pytest.raises(UnusableCertificate) as raised:
        server_context(cert, key)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_at_least_tls_1_2_is_spoken(files):
    context = server_context(files.cert, files.key)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_names_in_the_certificate(files):
    assert names_of(files.cert, server_context(files.cert, files.key)) == {
        "gpu.example",
        "*.lab.example",
        "localhost",
    }


def test_a_certificate_that_is_too_old_is_said(tmp_path):
    made = certificates.make(tmp_path / "old", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(UnusableCertificate) as raised:
        names_of(made.cert, server_context(made.cert, made.key))
    assert str(raised.value) == f"daemon.tls_cert: clients will refuse {made.cert}: certificate has expired"


def test_files_that_cannot_be_read_are_named(files, tmp_path):
    assert refusal(tmp_path / "none", files.key).startswith(
        f"daemon.tls_cert: cannot read {tmp_path}/none: No such file"
    )
    assert refusal(files.cert, tmp_path).startswith(f"daemon.tls_key: cannot read {tmp_path}: Is a directory")
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe", files.key) == f"daemon.tls_cert: {tmp_path}/pipe is not a file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_a_key_that_others_may_read_is_refused(files, tmp_path, mode):
    key = tmp_path / "key"
    key.write_bytes(files.key.read_bytes())
    key.chmod(mode)
    assert refusal(files.cert, key) == f"daemon.tls_key: others may read {key}; run: chmod 600 {key}"


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to have a file of somebody else's")
def test_a_key_of_somebody_elses_may_be_shared_with_a_group(files, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(files.key.read_bytes())
    os.chown(key, 65534, os.getegid())
    key.chmod(0o640)
    server_context(files.cert, key)
    key.chmod(0o644)
    assert "others may read" in refusal(files.cert, key)


def test_the_key_of_another_certificate_is_refused(files, tmp_path):
    other = certificates.make(tmp_path / "other")
    assert f"{other.key} is not the key of the certificate {files.cert}" in refusal(files.cert, other.key)


def test_what_is_no_key_is_refused(files, tmp_path):
    key = tmp_path / "key"
    key.touch(0o600)
    key.write_text("secret, but no key")
    assert f"{key} cannot be used with {files.cert}" in refusal(files.cert, key)


def test_a_key_with_a_passphrase_is_refused_without_asking(files, tmp_path):
    key = tmp_path / "key"
    locked = ["openssl", "pkey", "-in", files.key, "-aes128", "-passout", "pass:word", "-out", key]
    subprocess.run(locked, check=True, capture_output=True)
    key.chmod(0o600)
    assert f"{key} has a passphrase" in refusal(files.cert, key)


# -- connections -----------------------------------------------------------------------------------------------------


async def app(scope, receive, send):
    """Small answers, one that never ends, and one that never comes."""
    path = scope["path"]
    if path == "/never":
        with trio.CancelScope() as until_hang_up:
            scope["extensions"][HANG_UP](until_hang_up)
            await trio.sleep_forever()
        scope["state"]["peer"].hosts.append("gone")
        return
    headers = [] if path == "/endless" else [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while path == "/endless":
        await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
    await send({"type": "http.response.body", "body": b"hello"})


class Server:
    def __init__(self, files):
        (listener,) = bind_tcp("127.0.0.1", 0, inside=None)
        self.port = listener.getsockname()[1]
        self.told = []
        self.api = ApiServer(app, [listener], tls=server_context(files.cert, files.key), stranger=Stranger(self.told))
        self.trust = ssl.create_default_context(cafile=files.ca)

    async def plain(self):
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def secure(self, sent=b""):
        stream = trio.SSLStream(await self.plain(), self.trust, server_hostname="localhost", https_compatible=True)
        await stream.send_all(sent)
        return stream

    async def is_well(self):
        async with await self.secure(REQUEST % b"/") as stream:
            assert (await stream.receive_some()).endswith(b"hello")


@asynccontextmanager
async def serving(files):
    server = Server(files)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.api.run)
            yield server
            await server.api.close()


async def rest(stream):
    received = b""
    while piece := await stream.receive_some():
        received += piece
    return received


async def test_many_requests_on_a_connection(files):
    async with serving(files) as server, await server.secure() as stream:
        for _ in range(3):
            await stream.send_all(REQUEST % b"/")
            assert (await stream.receive_some()).endswith(b"hello")


async def test_what_is_handed_over_to_another_program_ends_with_an_answer_that_says_so(files, monkeypatch):
    monkeypatch.setattr(endpoints, "FRESH_SECS", 15)
    async with serving(files) as server, await server.secure(REQUEST % b"/") as late, trio.open_nursery() as nursery:
        assert b"connection" not in await late.receive_some()
        left = []

        async def hand_over():
            left.append(await server.api.hand_over())

        nursery.start_soon(hand_over)
        await eventually(server.api._context.terminated.is_set, "the last request")
        await late.send_all(REQUEST % b"/")
        assert b"\r\nconnection: close\r\n" in await rest(late)
        await eventually(lambda: left == [[]], "the end: no other program knows the keys")


async def test_nothing_comes_before_the_answer(files):
    """A session ticket would make the socket readable, and be taken for an answer by who waits for one of several."""
    async with serving(files) as server, await server.secure(REQUEST % b"/never") as stream:
        sock = stream.transport_stream.socket
        with trio.move_on_after(0.2) as waited:
            await trio.lowlevel.wait_readable(sock)
        assert waited.cancelled_caught


async def test_a_client_that_hangs_up_cancels_its_request(files):
    async with serving(files) as server:
        stream = await server.secure(REQUEST % b"/never")
        await trio.testing.wait_all_tasks_blocked()
        await stream.aclose()
        await eventually(lambda: server.told, "the cancellation")


async def test_who_speaks_without_tls_is_told(files):
    async with serving(files) as server, await server.plain() as stream:
        await stream.send_all(REQUEST % b"/")
        answer = await rest(stream)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"https://" in answer
        await server.is_well()


@pytest.mark.parametrize(
    "sent",
    [b"\x16" + b"\0" * 40, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 600, b"\x16\x03\x01", b""],
    ids=["nonsense", "a bad hello", "a part of one", "nothing"],
)
async def test_a_failed_handshake_is_a_line_for_the_curious(files, caplog, sent):
    caplog.set_level(logging.DEBUG, "gflow.daemon.tls")
    async with serving(files) as server:
        async with await server.plain() as stream:
            if sent:
                await stream.send_all(sent)
            await stream.send_eof()
            await rest(stream)
        await server.is_well()
    assert [record.levelno for record in caplog.records if record.name.startswith("gflow")] == [logging.DEBUG]
    assert "\n" not in caplog.messages[0]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1:DeprecationWarning")
async def test_an_old_tls_is_not_spoken(files):
    old = ssl.create_default_context(cafile=files.ca)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    async with serving(files) as server, await server.plain() as plain:
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(plain, old, server_hostname="localhost").do_handshake()


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00"], ids=["nothing", "a byte", "a head"])
async def test_a_handshake_that_is_not_gone_on_with_is_hung_up_on(files, monkeypatch, sent):
    monkeypatch.setattr(tls, "HANDSHAKE_SECS", 0.1)
    async with serving(files) as server, await server.plain() as stream:
        await stream.send_all(sent)
        assert await rest(stream) == b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT", REQUEST % b"/"], ids=["nothing", "half a request", "a request"])
async def test_idle_connections_are_closed(files, monkeypatch, sent):
    monkeypatch.setattr(endpoints, "IDLE_SECS", 0.1)
    async with serving(files) as server:
        stream = await server.secure(sent)
        await rest(stream)
        await stream.aclose()


@pytest.mark.parametrize("path", [b"/never", b"/endless"])
async def test_no_client_can_keep_the_server_from_closing(files, monkeypatch, path):
    monkeypatch.setattr(endpoints, "GRACE_SECS", 0.2)
    async with serving(files) as server:
        streams = [await server.secure(REQUEST % path) for _ in range(5)]
        halves = [await server.plain() for _ in range(5)]
        await server.is_well()
        with trio.fail_after(5):
            await server.api.close()
        for stream in streams + halves:
            await trio.aclose_forcefully(stream)


async def test_descriptors_are_given_back(files):
    async with serving(files) as server:
        await server.is_well()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(10):
            await server.is_well()
            async with await server.plain() as stream:
                await stream.send_all(b"\x16\x03")
                await stream.send_eof()
                await rest(stream)
        await trio.testing.wait_all_tasks_blocked()
        assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_the_first_byte_is_looked_at_and_left():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(tls._RECORD + b"rest")
        assert ours.recv(1, socket.MSG_PEEK) == tls._RECORD
        assert ours.recv(9) == tls._RECORD + b"rest"
