"""Who listens on a port of this machine: the kernel's own answer, and tables as it writes them."""

import functools
import os
import socket
import subprocess
import sys

import pytest

from gflow.client import diag, listener, tcp
from gflow.client.errors import BadSetting, Unreachable
from gflow.client.listener import listed, owner, owner_by

_LISTEN = """
import os, socket, sys
if len(sys.argv) > 2:
    os.setuid(int(sys.argv[2]))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
if sys.argv[1]:
    accepted, _ = listener.accept()
    print("accepted", flush=True)
sys.stdin.read()
"""
_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
_LINE = "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} 1 0 100 0 0\n"
NOBODY = 65534


class _Connected:
    """A socket from port 0x9C40 to 59000 of this machine."""

    def __init__(self, host="127.0.0.1"):
        self._host = host

    def getpeername(self):
        return (self._host, 59000)

    def getsockname(self):
        return (self._host, 0x9C40)


def words(address):
    """An address as this machine's kernel prints it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    step = -1 if sys.byteorder == "little" else 1
    return "".join(packed[at : at + 4][::step].hex().upper() for at in range(0, len(packed), 4))


def listens(address, uid, port=59000):
    anywhere = words("::" if ":" in address else "0.0.0.0")
    return _LINE.format(
        local=f"{words(address)}:{port:04X}", remote=f"{anywhere}:0000", state="0A", uid=uid, inode=4711
    )


def connected(uid, port=0x9C40, *, inode=4712, host="127.0.0.1"):
    ends = (f"{words(host)}:{port:04X}" for port in (59000, port))
    return _LINE.format(local=next(ends), remote=next(ends), state="01", uid=uid, inode=inode)


@pytest.fixture
def ask(tmp_path):
    """Whose the other end is, by what stands in the tables of IPv4 and of IPv6."""

    def said(*lines, more=(), host="127.0.0.1"):
        (tmp_path / "tcp").write_text(_HEAD + "".join(lines))
        (tmp_path / "tcp6").write_text(_HEAD + "".join(more))
        find = functools.partial(listener.listed, tables=(str(tmp_path / "tcp"), str(tmp_path / "tcp6")))
        return owner_by(find, (host, 59000), (host, 0x9C40))

    return said


def test_what_was_accepted_tells_whoever_listens(ask):
    assert ask(listens("127.0.0.1", 0), connected(NOBODY)) == NOBODY
    assert ask(listens("127.0.0.1", NOBODY), connected(1000)) == 1000
    assert ask(connected(0)) == 0
    assert ask(more=[connected(1000, host="::ffff:127.0.0.1")]) == 1000
    assert ask(more=[connected(1000, host="::1")], host="::1") == 1000
    assert ask(more=[connected(1000, host="::ffff:127.0.0.1")], host="::ffff:127.0.0.1") == 1000


@pytest.mark.parametrize("waiting", [[], [connected(0, inode=0)]])
def test_before_it_is_accepted_it_is_whose_listens(ask, waiting):
    others = [listens("127.0.0.1", 1, 47001), listens("127.0.0.2", 2), connected(3, port=5)]
    for address in ("127.0.0.1", "0.0.0.0"):
        assert ask(*others, *waiting, listens(address, NOBODY)) == NOBODY
    for address in ("::ffff:127.0.0.1", "::"):
        assert ask(*others, *waiting, more=[listens(address, NOBODY)]) == NOBODY
    for address in ("::1", "::"):
        assert ask(*others, more=[listens(address, NOBODY)], host="::1") == NOBODY


def test_nobody_gets_in_between_by_listening_on_every_address(ask):
    own = listens("127.0.0.1", 1000)
    assert ask(own, more=[listens("::", NOBODY)]) == 1000, (
        "that is for IPv6 alone, or the kernel would not have let him"
    )
    assert ask(listens("0.0.0.0", NOBODY), own) == 1000


def test_nobody_gets_in_between_by_ceasing_to_listen():
    """What was not accepted when it was asked for may have been, by somebody who then left the port to us."""
    found = iter([(0, 0), (1000, 4711), (NOBODY, 4712)])
    assert owner_by(lambda *_: next(found), ("127.0.0.1", 1), ("127.0.0.1", 2)) == NOBODY


@pytest.mark.parametrize("find", [diag.find, listed])
@pytest.mark.parametrize(
    ("bound", "asked"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1"), ("::", "127.0.0.1"), ("::", "::ffff:127.0.0.1")]
)
def test_the_kernel_itself_tells(find, bound, asked):
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as listening:
        try:
            listening.bind((bound, 0))
        except OSError as error:
            pytest.skip(f"nobody can listen on {bound} here: {error}")
        listening.listen()
        with socket.create_connection((asked, listening.getsockname()[1])) as sock:
            far, near = sock.getpeername()[:2], sock.getsockname()[:2]
            assert find(far, None) == (os.geteuid(), os.fstat(listening.fileno()).st_ino)
            assert find(far, near)[1] == 0, "nobody has it yet"
            accepted, _ = listening.accept()
            with accepted:
                assert find(far, near) == (os.geteuid(), os.fstat(accepted.fileno()).st_ino)
                assert owner(sock) == os.geteuid()
        assert find((far[0], near[1]), None) is None


def test_what_is_not_in_this_network_is_nobodys(ask, tmp_path):
    assert ask(listens("127.0.0.1", 0, 5), connected(0, port=5)) is None
    assert ask(listens("127.0.0.1", 0), host="::1") is None
    assert listed(("127.0.0.1", 59000), None, (str(tmp_path / "none"), str(tmp_path / "none6"))) is None


def test_a_network_that_tells_nothing_is_trusted_if_it_is_said_to_be(monkeypatch):
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    monkeypatch.setattr(listener, "owner", lambda _sock: None)
    url = tcp.remote("http://localhost:59000")
    with pytest.raises(BadSetting, match="the kernel does not say who listens there; write https://"):
        tcp.headers(url, _Connected())
    url.plaintext = True
    assert "Bearer gft_secret" in tcp.headers(url, _Connected())


def test_this_machine_has_other_addresses_too(monkeypatch):
    """What goes to them stays within it, and so it is asked whose they are."""
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    monkeypatch.setattr(listener, "owner", lambda _sock: NOBODY)
    url = tcp.remote("http://gpubox:59000")
    url.plaintext = True
    with pytest.raises(Unreachable, match=r"it is served by \w+ \(uid 65534\), who is neither you nor root"):
        tcp.headers(url, _Connected("192.0.2.7"))


@pytest.mark.parametrize("accepts", [True, False])
@pytest.mark.parametrize("uid", [None, NOBODY])
def test_a_token_goes_to_oneself_and_not_to_another_user(uid, accepts, monkeypatch):
    if uid is not None and os.geteuid() != 0:
        pytest.skip("takes root to listen as somebody else")
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    argv = [sys.executable, "-c", _LISTEN, "accept" if accepts else "", *([] if uid is None else [str(uid)])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as sock:
            if accepts:
                assert process.stdout.readline() == "accepted\n"
            url = tcp.remote(f"http://127.0.0.1:{sock.getpeername()[1]}")
            url.plaintext = True  # which is about other machines
            if uid is None:
                assert "Bearer gft_secret" in tcp.headers(url, sock)
            else:
                with pytest.raises(Unreachable, match=rf"refusing to send a token to {url}: .*\(uid 65534\)") as caught:
                    tcp.headers(url, sock)
                assert "gft_secret" not in str(caught.value)
        process.stdin.close()
