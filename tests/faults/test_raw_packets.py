"""Bytes by chance, and requests changed by chance, on bare sockets, from several clients at once: none of them does any
harm, and whoever asks for something meanwhile gets it.

`GFLOW_FUZZ=50` tries fifty times as many, `GFLOW_FUZZ_SEED` says where chance begins.
"""

import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from support.daemon import Daemon
from support.effort import examples
from support.packets import PACKETS
from support.ports import free_port
from support.wait import until

TIMES = int(os.environ.get("GFLOW_FUZZ", "1"))
PACKETS_TRIED = examples(800) * TIMES
SEED = int(os.environ.get("GFLOW_FUZZ_SEED", "1"))
CLIENTS = 6
LATE_SECS = 5.0
"""A request that takes so long beside all that was kept waiting, on a machine that has others to serve, too."""

HEARD_SECS = 0.5
"""How long a client listens: events go on for as long as somebody else submits jobs."""

JOB = b'{"argv": ["true"], "run_dir": "/tmp", "hold": true}'
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(JOB), JOB)
CHUNKED = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (
    len(JOB),
    JOB,
)
PATHS = (
    b"/ /health /jobs /jobs/1 /jobs/1/wait /queue?columns=JOBID,NAME /events /jobs/1/log/stream?follow=1 /stats".split()
)
SEEDS = [
    *PACKETS.values(),
    *(GET % path for path in PATHS),
    POST,
    POST * 5,
    CHUNKED,
    CHUNKED.replace(b"\r\n0\r\n", b"\r\n0\r\nTrailer: x\r\n"),
    POST.replace(b"Content-Length", b"Expect: 100-continue\r\nContent-Length"),
    b'PATCH /jobs/1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n{"priority":1}',
    GET % (b"/" + b"a" * 70_000),
    (GET % b"/health").replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"),
]
ODD = [
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b" ",
    b"\t",
    b":",
    b"\xff",
    b"%00",
    b"..",
    b"-1",
    b"0x",
    b"9" * 30,
    b"{" * 5000,
]


class Chance:
    """Packets, and how they are sent, by chance that can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def packet(self) -> bytes:
        """A request, or something else, with some changes."""
        if self._random.random() < 0.1:
            return self._random.randbytes(self._random.randrange(2000))
        packet = self._random.choice(SEEDS)
        for _ in range(self._random.choice((0, 1, 1, 2, 5, 20))):
            packet = self._changed(packet)
        return packet

    def _changed(self, packet: bytes) -> bytes:
        start = self._random.randrange(len(packet) + 1)
        end = min(len(packet), start + self._random.choice((0, 1, 2, 10, 200)))
        kind = self._random.randrange(5)
        if kind == 0:
            middle = self._random.choice(ODD)
        elif kind == 1:
            middle = self._random.randbytes(end - start)
        elif kind == 2:
            middle = packet[start:end] * self._random.choice((0, 2, 3, 50))
        elif kind == 3:
            return packet[:start] + self._random.choice(SEEDS)
        else:
            return packet[:end]
        return packet[:start] + middle + packet[end:]

    def pieces(self, packet: bytes) -> Iterator[bytes]:
        """The packet in a few pieces."""
        cut = self._random.randrange(len(packet) + 1) if self._random.random() < 0.3 else 0
        yield from (piece for piece in (packet[:cut], packet[cut:]) if piece)

    def leaves(self) -> str:
        """How the client ends."""
        return self._random.choice(("half close", "half close", "close", "reset", "deaf"))


def connect(daemon: Daemon, port: int, *, tcp: bool) -> socket.socket:
    """A connection, to either endpoint."""
    if tcp:
        return socket.create_connection(("127.0.0.1", port), 5)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    client.connect(os.fspath(daemon.socket))
    return client


def talk(client: socket.socket, chance: Chance) -> bytes:
    """Send one packet and go; what came back until then."""
    heard, ending = b"", chance.leaves()
    with client, contextlib.suppress(OSError):
        for piece in chance.pieces(chance.packet()):
            client.sendall(piece)
        if ending == "reset" and client.family != socket.AF_UNIX:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if ending == "half close":
            client.shutdown(socket.SHUT_WR)
            client.settimeout(0.2)
            end = time.monotonic() + HEARD_SECS
            while time.monotonic() < end and (piece := client.recv(65536)):
                heard += piece
    return heard


class Client(threading.Thread):
    """Sends one packet after the other."""

    def __init__(self, daemon: Daemon, port: int, seed: int) -> None:
        super().__init__()
        self._daemon, self._port, self._seed = daemon, port, seed
        self.tried = 0
        self.answers: set[bytes] = set()
        self.bad: list[bytes] = []

    def run(self) -> None:
        chance = Chance(self._seed)
        for number in range(PACKETS_TRIED // CLIENTS):
            heard = talk(connect(self._daemon, self._port, tcp=number % 2 == 0), chance)
            self.tried += 1
            status = heard[:12]
            self.answers.add(status)
            if heard and (not heard.startswith(b"HTTP/1.1 ") or status[9:] in (b"500", b"503")):
                self.bad.append(heard[:500])


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def victim(port: int) -> Iterator[Daemon]:
    """It starts nothing: what chance makes of a command is not to be run."""
    with Daemon(environment={"GFLOW_DAEMON_PORT": str(port), "GFLOW_DAEMON_AUTH": "none"}) as daemon:
        assert daemon.http("POST", "/drain", {"reason": None}).status == 200
        daemon.submit("true", hold=True)
        yield daemon


def descriptors(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.pid}/fd"))


@pytest.mark.once
@pytest.mark.timeout(180 * TIMES)
def test_no_packet_does_any_harm_and_nobody_waits_for_it(victim: Daemon, port: int):
    before, pid, slowest = descriptors(victim), victim.pid, 0.0
    clients = [Client(victim, port, SEED * 1000 + number) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    asked = 0
    while any(client.is_alive() for client in clients):
        begun = time.monotonic()
        assert victim.get("/health") == {"status": "ok", "pid": pid}
        assert victim.http("POST", "/jobs", {"argv": ["true"], "run_dir": "/tmp", "hold": True}).status == 201
        slowest, asked = max(slowest, time.monotonic() - begun), asked + 1
        clients[0].join(0.05)
    tried = sum(client.tried for client in clients)
    sys.stdout.write(f"{tried} packets tried; the slowest of {asked} others took {slowest * 1000:.0f} ms\n")
    assert [answer for client in clients for answer in client.bad] == []
    assert tried == PACKETS_TRIED // CLIENTS * CLIENTS
    assert {b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 400", b"HTTP/1.1 404"} <= set[bytes]().union(
        *(client.answers for client in clients)
    )
    assert slowest < LATE_SECS
    until(lambda: descriptors(victim) <= before + 5, "the descriptors of clients that are gone")
    assert not [job for job in victim.jobs().values() if job["started_at"] is not None]
    checked = victim.cli("gctl", "state", "check")
    assert checked.returncode == 0, checked
    jobs = victim.jobs()
    victim.restart()
    assert victim.jobs() == jobs
