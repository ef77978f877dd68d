"""The HTTP client: every way a body can come, and every way it can fail to."""

import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow import paths
from gflow.client import patience, unix
from gflow.client.errors import ConnectionLost, NoAnswer, Unreachable, Unresponsive
from gflow.client.patience import Patience
from support.effort import examples
from support.fake_daemon import chunked, reply


def get(daemon, target="/x", **options):
    return unix.ask(str(daemon.path), "GET", target, **options).answer()


def test_a_body_of_known_length(daemon):
    daemon.on("GET", "/x", reply(b"hello", headers={"X-Total": "7"}))
    answer = get(daemon)
    assert (answer.status, answer.headers["x-total"], answer.read()) == (200, "7", b"hello")


def test_a_request_carries_its_body_and_length(daemon):
    daemon.on("POST", "/x", reply(None, 201))
    answer = unix.ask(str(daemon.path), "POST", "/x?a=1", b'{"b":2}').answer()
    answer.read()
    (asked,) = daemon.asked
    assert answer.status == 201
    assert (asked.query, asked.json) == ({"a": "1"}, {"b": 2})
    assert asked.headers["connection"] == "close"


def test_a_chunked_body_arrives_piece_by_piece(daemon):
    daemon.on("GET", "/x", chunked(b"one", b"two" * 50000, b"\r\n0\r\n"))
    assert get(daemon).read() == b"one" + b"two" * 50000 + b"\r\n0\r\n"


def test_a_body_that_ends_with_the_connection(daemon):
    daemon.on("GET", "/x", b"HTTP/1.1 200 OK\r\n\r\nall of it")
    assert get(daemon).read() == b"all of it"


def test_no_body_is_expected_of_204(daemon):
    daemon.on("GET", "/x", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert get(daemon).read() == b""


def test_interim_answers_are_skipped(daemon):
    daemon.on("GET", "/x", b"HTTP/1.1 100 Continue\r\n\r\n" + reply("yes"))
    assert get(daemon).read() == b"yes"


@settings(max_examples=examples(25))
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.integers(1, 40))
def test_it_does_not_matter_how_the_bytes_are_cut(daemon, pieces, size):
    data = chunked(*pieces)
    daemon.on("GET", "/x", lambda asked: [data[at : at + size] for at in range(0, len(data), size)])
    assert get(daemon).read() == b"".join(pieces)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ncontent-length: ten\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello and more",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1_0\r\n\r\nhello hell",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"0" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 1000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 soon\r\n\r\n",
        b"x" * 70000,
    ],
)
def test_an_answer_that_is_cut_or_garbled_is_never_taken_for_a_whole_one(daemon, sent):
    daemon.on("GET", "/x", sent)
    with pytest.raises(ConnectionLost):
        get(daemon).read()


def test_a_daemon_that_does_not_answer_is_given_up_on(short_dir):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen()
        with pytest.raises(NoAnswer, match=r"does not answer$"):
            unix.ask(str(short_dir / "s"), "GET", "/x", timeout_secs=0.05).answer()


def test_silence_is_told_of_once_and_what_may_have_been_done(short_dir, monkeypatch, capsys):
    monkeypatch.setattr(patience, "HINT_SECS", 0.02)
    path = str(short_dir / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        for body in (None, b"x" * 3_000_000):  # which does not fit into the kernel: the sending waits, too
            with pytest.raises(NoAnswer, match=r"does not answer; who knows$"):
                unix.ask(path, "POST", "/x", body, timeout_secs=0.05, doubt="; who knows").answer()
    assert capsys.readouterr().err == f"gflow: gflowd at unix:{path} does not answer; still waiting, for up to 0.05 s\n"


def test_a_slow_answer_is_read_all_the_same(daemon, monkeypatch, capsys):
    monkeypatch.setattr(patience, "HINT_SECS", 0.02)
    told = threading.Event()

    def slow(_asked):
        assert told.wait(20)
        return reply(b"at last")

    daemon.on("GET", "/x", slow)
    monkeypatch.setattr(patience, "_tell", lambda *_: told.set())
    assert get(daemon).read() == b"at last"


@pytest.mark.parametrize("well", [True, False])
def test_a_wait_without_an_end_asks_now_and_then_whether_there_is_anybody(daemon, monkeypatch, capsys, well):
    monkeypatch.setattr(patience, "HINT_SECS", 0.06)
    monkeypatch.setattr(patience, "PROBE_SECS", 0.05)
    asked = threading.Semaphore(0)
    known = threading.Event()

    def health(_asked):
        asked.release()
        return reply({}) if well else (known.wait(20), b"")[1]

    def ends(_asked):
        assert asked.acquire(timeout=20)
        if not well:
            assert known.wait(20)
        return reply(b"ended")

    daemon.on("GET", "/health", health)
    daemon.on("GET", "/x", ends)
    tell = patience._tell
    monkeypatch.setattr(patience, "_tell", lambda *said: (tell(*said), known.set()))
    assert get(daemon, timeout_secs=None).read() == b"ended"
    said = f"gflow: gflowd at unix:{daemon.path} does not answer; waiting until it does; jobs run on without it\n"
    assert capsys.readouterr().err == ("" if well else said)


def test_an_early_refusal_of_a_large_body_is_read(daemon):
    with socket.socket(socket.AF_UNIX) as listener:
        path = str(daemon.path) + "2"
        listener.bind(path)
        listener.listen()
        client = unix.connect(path)
        server, _ = listener.accept()
        server.sendall(reply({"error": "too large", "code": "too_large"}, 413))
        server.close()
        wait = unix.Wait(client, "x", Patience("x", 60))
        wait.send(b"x" * 10_000_000)
        answer = unix.Question(wait).answer()
        assert answer.status == 413
        assert b"too large" in answer.read()


def test_no_daemon_is_one_clear_line(short_dir):
    missing = str(short_dir / "none.sock")
    with pytest.raises(Unreachable) as caught:
        unix.connect(missing)
    message = str(caught.value)
    assert missing in message
    assert "gflowd up" in message
    assert "\n" not in message


def test_a_stale_socket_and_a_path_too_long_are_unreachable(short_dir):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
    for path in (str(short_dir / "s"), "/" + "x" * 300):
        with pytest.raises(Unreachable):
            unix.connect(path)


def test_the_socket_of_a_unit_that_does_not_start_says_where_to_look(short_dir, monkeypatch):
    """systemd closes it over those who wait for an answer."""
    for path, manager in ((f"{short_dir}/mine", "systemctl --user"), (f"{short_dir}/all", "systemctl")):
        monkeypatch.setattr(paths, "SYSTEM_SOCKET", f"{short_dir}/all")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            question = unix.ask(path, "GET", "/jobs", doubt="; who knows")
        with pytest.raises(ConnectionLost) as lost:
            question.answer()
        assert str(lost.value) == (
            "lost the connection to gflowd (Connection reset by peer); if it does not start,"
            f" 'gflowd status' or '{manager} status gflowd' says why; who knows"
        )
    with pytest.raises(Unreachable, match=r"; root starts it with 'gflowd up --system'$"):
        unix.connect(f"{short_dir}/all")


def test_a_daemon_that_accepts_nothing_is_told_of_and_given_up_on(short_dir, monkeypatch, capsys):
    monkeypatch.setattr(patience, "HINT_SECS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_dir / "s"))
        listener.listen(0)
        waiting = []
        began = time.monotonic()
        try:
            with pytest.raises(Unresponsive, match=r"takes no connection: .* nothing was asked"):
                while True:
                    waiting.append(unix.connect(str(short_dir / "s"), 0.6))
                    assert len(waiting) < 100
        finally:
            for sock in waiting:
                sock.close()
        assert 0.5 < time.monotonic() - began < 5
    said = f"gflow: gflowd at unix:{short_dir}/s does not answer; still waiting, for up to 0.6 s\n"
    assert capsys.readouterr().err == said


class _Peer:
    def __init__(self, uid):
        self.uid = uid

    def getsockopt(self, *_):
        return b"".join(number.to_bytes(4, sys.byteorder) for number in (1, self.uid, 1))


def test_only_our_own_user_and_root_are_talked_to(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    unix._check_peer(_Peer(1000), "/s")
    unix._check_peer(_Peer(0), "/s")
    with pytest.raises(Unreachable, match="uid 1001"):
        unix._check_peer(_Peer(1001), "/s")


_LISTEN = """
import os, socket, sys
os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print("ready", flush=True)
c, _ = s.accept(); sys.stdout.write(repr(c.recv(100)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to listen as somebody else")
def test_nothing_is_sent_to_another_users_daemon(short_dir):
    os.chown(short_dir, 65534, 65534)
    path = str(short_dir / "s")
    argv = [sys.executable, "-c", _LISTEN, path]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"ready\n"
        with pytest.raises(Unreachable, match="refusing"):
            unix.ask(path, "POST", "/jobs", b"secret")
        assert listener.stdout.read() == b"b''"


def test_an_answer_without_end_is_given_up(daemon, monkeypatch):
    monkeypatch.setattr(unix, "_MAX_BODY", 100_000)
    daemon.on("GET", "/x", b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300_000)
    with pytest.raises(ConnectionLost, match="answered with something else without end"):
        unix.ask(str(daemon.path), "GET", "/x").answer().read()
