"""Who listens on a port of this machine: the kernel's own answer, and tables as it writes them."""

import os
import socket
import subprocess
import sys

import pytest

from gflow.client import tcp
from gflow.client.errors import BadSetting
from gflow.client.listener import stranger

_LISTEN = """
import os, socket, sys
if len(sys.argv) > 1:
    os.setuid(int(sys.argv[1]))
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""
_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
_LINE = "   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 4711 1 0 100 0 0\n"
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
    return _LINE.format(local=f"{words(address)}:{port:04X}", remote=f"{words('0.0.0.0')}:0000", state="0A", uid=uid)


def connected(uid, port=0x9C40):
    local = f"{words('127.0.0.1')}:{59000:04X}"
    return _LINE.format(local=local, remote=f"{words('127.0.0.1')}:{port:04X}", state="01", uid=uid)


@pytest.fixture
def ask(tmp_path):
    def said(*lines, host="127.0.0.1"):
        (tmp_path / "tcp").write_text(_HEAD + "".join(lines))
        return stranger(_Connected(host), (str(tmp_path / "tcp"), str(tmp_path / "none")))

    return said


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("uid", [0, os.geteuid()])
def test_oneself_and_root_are_none(ask, address, uid):
    assert ask(listens(address, uid), listens("127.0.0.1", NOBODY, 47001), listens("127.0.0.2", NOBODY)) is None


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_another_user_is_one(ask, address):
    assert ask(listens(address, NOBODY)) == "uid 65534, which is neither you nor root"


def test_one_who_has_stopped_listening_is_known_by_the_connection(ask):
    assert "65534" in ask(connected(NOBODY))
    assert "65534" in ask(listens("127.0.0.1", 0), connected(NOBODY))
    assert ask(listens("127.0.0.1", 0), connected(0), connected(NOBODY, port=5)) is None


def test_nothing_known_is_nothing_to_trust(ask):
    assert ask(listens("127.0.0.1", 0, 5)) == "nobody knows who"


def test_over_ipv6(ask):
    assert "65534" in ask(listens("::1", NOBODY), host="::1")
    assert ask(listens("::1", 0), host="::1") is None


@pytest.mark.parametrize("uid", [None, NOBODY])
def test_a_token_goes_to_oneself_and_not_to_another_user(uid, monkeypatch):
    if uid is not None and os.geteuid() != 0:
        pytest.skip("takes root to listen as somebody else")
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    argv = [sys.executable, "-c", _LISTEN, *([] if uid is None else [str(uid)])]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline()))) as sock:
            url = f"http://127.0.0.1:{sock.getpeername()[1]}"
            if uid is None:
                assert "Bearer gft_secret" in tcp.headers(url, sock)
            else:
                with pytest.raises(BadSetting, match=f"refusing to send a token to {url}: .* uid 65534") as caught:
                    tcp.headers(url, sock)
                assert "gft_secret" not in str(caught.value)
        process.stdin.close()
