"""No request, and nothing that is no request, ends the daemon or keeps it from stopping."""

import contextlib
import os
import random
import socket
import time
from collections.abc import Iterator

import pytest

from gflow.daemon.endpoints import GRACE_SECS
from support.daemon import Daemon
from support.events import Events
from support.packets import PACKETS
from support.wait import until


@pytest.fixture(scope="module")
def victim() -> Iterator[Daemon]:
    """One daemon for all packets: whatever one of them broke, the next test finds."""
    with Daemon() as daemon:
        yield daemon


def talk(daemon: Daemon, packet: bytes, *, half_close: bool = True) -> bytes:
    """Send bytes; all that comes back until the daemon hangs up, or says no more."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(os.fspath(daemon.socket))
        heard = b""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            client.sendall(packet)
            if half_close:
                client.shutdown(socket.SHUT_WR)
            while piece := client.recv(65536):
                heard += piece
        return heard


def works(daemon: Daemon) -> None:
    """The same process answers, and still takes and runs jobs."""
    assert daemon.get("/health") == {"status": "ok", "pid": daemon.pid}
    assert daemon.wait_job(daemon.submit("true"))["state"] == "Finished"


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS.keys())
def test_a_hostile_packet_costs_its_own_connection_at_most(victim: Daemon, packet: bytes):
    heard = talk(victim, packet)
    assert not heard.startswith(b"HTTP/1.1 101"), heard
    assert not heard.startswith((b"HTTP/1.1 500", b"HTTP/1.1 503")), heard
    works(victim)


@pytest.mark.parametrize("packet", ["cleartext HTTP/2", "HTTP/9"])
def test_another_http_is_told_so_and_hung_up_on(victim: Daemon, packet: str):
    heard = talk(victim, PACKETS[packet], half_close=False)
    assert heard.startswith(b"HTTP/1.1 505 ")
    assert b"is not spoken here" in heard


def test_noise(victim: Daemon):
    noise = random.Random(1)
    starts = [b"", b"GET ", b"GET /jobs HTTP/1.1\r\n", b"POST /jobs HTTP/1.1\r\nContent-Length: 9\r\n\r\n"]
    for _ in range(200):
        talk(victim, noise.choice(starts) + noise.randbytes(noise.randrange(400)))
    works(victim)


def test_clients_that_leave_in_the_middle_of_a_request(victim: Daemon):
    before = len(victim.jobs())
    body = b'{"command": "true", "run_dir": "/tmp"}'
    whole = b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    for end in range(0, len(whole), 5):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(victim.socket))
            client.sendall(whole[:end])
    works(victim)
    assert len(victim.jobs()) == before + 1


def test_clients_that_leave_before_the_answer(victim: Daemon):
    """Each of these jobs was queued whole, or not at all."""
    before = victim.jobs().keys()
    for number in range(40):
        body = b'{"argv": ["echo", "%d"], "run_dir": "/tmp"}' % number
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(victim.socket))
            client.sendall(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    works(victim)
    made = [job for job_id, job in victim.jobs().items() if job_id not in before and job["argv"]]
    for job in made:
        assert victim.wait_job(job["id"])["state"] == "Finished"
        assert victim.log(job["id"]) == f"{job['argv'][1]}\n".encode()


JOB = b'{"argv": ["true"], "run_dir": "/tmp", "hold": true}'
GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def post(headers: bytes = b"", version: bytes = b"1.1") -> bytes:
    """A job, as it is submitted."""
    return b"POST /jobs HTTP/%s\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (version, headers, len(JOB), JOB)


LEFT_BEHIND = {
    "a newline": GET % b"/health" + b"\n",
    "a byte": GET % b"/health" + b"G",
    "a second request": GET % b"/health" * 2,
    "a newline after a body": post() + b"\r\n",
    "much": GET % b"/health" + b"x" * 190_000,
    "a request behind a long poll": GET % b"/jobs/%d/wait" + GET % b"/health",
    "a newline behind events": GET % b"/events" + b"\r\n",
    "a newline behind a log": GET % b"/jobs/%d/log/stream?follow=1" + b"\n",
    "a body nobody reads": b"GET /jobs/%d/wait HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n"
    + b"x" * 1_000_000,
}


@pytest.mark.parametrize("packet", LEFT_BEHIND.values(), ids=LEFT_BEHIND.keys())
def test_a_connection_goes_with_its_client_whatever_that_left_behind(victim: Daemon, packet: bytes):
    if b"%d" in packet:
        packet = packet.replace(b"%d", b"%d" % victim.submit("sleep 1000", gpus=0, hold=True))
    before = descriptors(victim)
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(0.02)
            client.connect(os.fspath(victim.socket))
            with contextlib.suppress(TimeoutError):
                client.sendall(packet)
    until(lambda: descriptors(victim) <= before + 5, "the descriptors of clients that are gone")
    works(victim)


def test_clients_that_are_gone_do_not_delay_its_end(daemon: Daemon):
    for packet in (
        LEFT_BEHIND["a newline"],
        LEFT_BEHIND["a second request"],
        LEFT_BEHIND["a newline behind events"],
    ) * 20:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.fspath(daemon.socket))
            client.sendall(packet)
    begun = time.monotonic()
    assert daemon.stop() == 0
    assert time.monotonic() - begun < GRACE_SECS, "less than an answer under way gets"


@pytest.mark.parametrize("request_line", [b"POST /nope", b"POST /health"])
def test_what_comes_after_an_early_answer_is_not_kept(victim: Daemon, request_line: bytes):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(os.fspath(victim.socket))
        client.sendall(request_line + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 40")
        before = memory_kib(victim)
        for _ in range(400):
            client.sendall(b"1\r\na\r\n" * 20_000)  # 48 MB in all
        assert memory_kib(victim) - before < 16_000
    works(victim)


def test_what_comes_behind_the_last_request_of_a_connection_is_not_looked_at(victim: Daemon):
    before = len(victim.jobs())
    for last in (post(b"Connection: close\r\n"), post(version=b"1.0")):
        for behind in (b"\r\n", b"\n", b"nonsense", post(), GET % b"/health"):
            for half_close in (False, True):
                heard = talk(victim, last + behind, half_close=half_close)
                assert heard.startswith(b"HTTP/1.1 201"), heard
                assert heard.count(b"HTTP/1.1") == 1, heard
    assert len(victim.jobs()) == before + 20


def test_an_empty_line_before_a_request_is_skipped(victim: Daemon):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(os.fspath(victim.socket))
        for piece in (
            b"\r\n" + GET % b"/health",
            GET % b"/health" + b"\r\n",
            GET % b"/health" + b"\n",
            post() + b"\r\n",
        ):
            client.sendall(piece)
            assert client.recv(65536).startswith(b"HTTP/1.1 20")
        client.sendall(b"\r\n")
        client.sendall((post() + b"\r\n") * 3 + (GET % b"/health") * 2)
        client.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := client.recv(65536):
            heard += piece
        assert (heard.count(b"HTTP/1.1 201"), heard.count(b"HTTP/1.1 200"), heard.count(b"HTTP/1.1")) == (3, 2, 5)


@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n", b"Upgrade: h2c\r\n"])
def test_who_sends_no_more_is_answered_all_the_same(victim: Daemon, headers: bytes):
    before = len(victim.jobs())
    answers = [talk(victim, post(headers)) for _ in range(100)]
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 201")] == []
    assert len(victim.jobs()) == before + 100


def test_who_sends_no_more_can_wait(victim: Daemon):
    job_id = victim.submit("true", hold=True)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.settimeout(20)
        waiting.connect(os.fspath(victim.socket))
        waiting.sendall(GET % b"/jobs/%d/wait" % job_id)
        waiting.shutdown(socket.SHUT_WR)
        assert victim.http("POST", f"/jobs/{job_id}/release").status == 200
        assert waiting.recv(65536).startswith(b"HTTP/1.1 200")


def test_who_sends_no_more_and_then_goes_is_gone(victim: Daemon):
    job_id, before = victim.submit("true", hold=True), descriptors(victim)
    with contextlib.ExitStack() as there:
        for path in (b"/jobs/%d/wait" % job_id, b"/events", b"/jobs/%d/log/stream?follow=1" % job_id) * 20:
            client = there.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(os.fspath(victim.socket))
            client.sendall(GET % path)
            client.shutdown(socket.SHUT_WR)
        until(lambda: descriptors(victim) >= before + 50, "the connections")
        works(victim)
        assert descriptors(victim) >= before + 50
    until(lambda: descriptors(victim) <= before + 5, "the descriptors of clients that are gone")


def descriptors(daemon: Daemon) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


def memory_kib(daemon: Daemon) -> int:
    """What it has resident."""
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def test_many_idle_connections(victim: Daemon):
    with contextlib.ExitStack() as stack:
        for _ in range(300):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(os.fspath(victim.socket))
            client.sendall(b"GET /health HT")
        works(victim)
    works(victim)


def test_waiting_clients_do_not_keep_it_from_stopping(daemon: Daemon):
    job_id = daemon.submit("sleep 1000")
    with Events(daemon), socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as following:
        waiting.connect(os.fspath(daemon.socket))
        waiting.sendall(b"GET /jobs/%d/wait HTTP/1.1\r\nHost: x\r\n\r\n" % job_id)
        following.connect(os.fspath(daemon.socket))
        following.sendall(b"GET /jobs/%d/log/stream?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n" % job_id)
        assert following.recv(65536).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - begun < 3


def test_a_client_that_stops_reading_does_not_keep_it_from_stopping(daemon: Daemon):
    for _ in range(4):
        daemon.submit_all([{"command": "true", "hold": True, "run_name": "x" * 100}] * 1000)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.connect(os.fspath(daemon.socket))
        deaf.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 0\r\n\r\n")
        assert deaf.recv(12) == b"HTTP/1.1 200"
        with socket.socket(socket.AF_UNIX) as listing:
            listing.connect(os.fspath(daemon.socket))
            listing.sendall(b"GET /jobs HTTP/1.1\r\nHost: x\r\n\r\n")
            assert listing.recv(8) == b"HTTP/1.1"
            begun = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - begun < 8
    daemon.start()
    assert len(daemon.jobs()) == 4000
