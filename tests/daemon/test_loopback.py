"""TCP is served at addresses of this machine, and at others only where it may be."""

import socket
from pathlib import Path

import pytest

from gflow.daemon import loopback
from gflow.daemon.loopback import CannotListen, bind_tcp, is_loopback, network_of, own_names, why_inside
from support.ports import free_port

INSIDE = why_inside(anybody=True, tls=True, plaintext=True)


@pytest.fixture
def port():
    return free_port()


def refusal(*where):
    with pytest.raises(CannotListen) as raised:
        bind_tcp(*where, inside=INSIDE)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost"])
def test_a_loopback_address_is_served(host, port):
    listeners = bind_tcp(host, port, inside=INSIDE)
    try:
        with socket.create_connection((host, port)) as client:
            assert is_loopback(client.getpeername()[0])
    finally:
        for listener in listeners:
            listener.close()


def test_both_families_are_served_where_a_name_stands_for_both(port, monkeypatch):
    found = [(family, 0, 0, "", (name, port)) for family, name in BOTH.items()]
    monkeypatch.setattr(loopback.socket, "getaddrinfo", lambda *_args, **_more: found)
    listeners = bind_tcp("localhost", port, inside=INSIDE)
    served = {listener.family for listener in listeners}
    for listener in listeners:
        listener.close()
    assert served == ({*BOTH} if "00000000000000000000000000000001 " in IF_INET6 else {socket.AF_INET})


IF_INET6 = Path("/proc/net/if_inet6").read_text() if Path("/proc/net/if_inet6").exists() else ""
BOTH = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "8.8.8.8"])
def test_any_other_address_is_refused(host, port):
    said = refusal(host, port)
    assert said.startswith(f"daemon.host: {host} is {host}")
    assert "use localhost" in said


def test_a_name_with_one_address_outside_is_refused(port, monkeypatch):
    found = [(socket.AF_INET, 0, 0, "", (name, port)) for name in ("127.0.0.1", "192.0.2.7")]
    monkeypatch.setattr(loopback.socket, "getaddrinfo", lambda *_args, **_more: found)
    assert refusal("both", port).startswith("daemon.host: both is 192.0.2.7")


def test_a_name_nobody_knows_is_refused(port):
    assert refusal("no.such.host.invalid", port).startswith("daemon.host: cannot find no.such.host.invalid")


def test_a_taken_port_is_said(port):
    with socket.create_server(("127.0.0.1", port)):
        said = refusal("127.0.0.1", port)
    assert said.startswith(f"cannot listen on 127.0.0.1:{port}: Address already in use")
    assert "older gflowd" in said


def test_a_port_with_old_connections_is_taken_over(port):
    """As after a restart: the ends of connections of the last daemon linger for a minute."""
    (listener,) = bind_tcp("127.0.0.1", port, inside=None)
    client = socket.create_connection(("127.0.0.1", port))
    listener.setblocking(True)
    accepted, _ = listener.accept()
    for sock in (accepted, client, listener):
        sock.close()
    (again,) = bind_tcp("127.0.0.1", port, inside=None)
    again.close()


def test_what_may_be_seen_from_outside():
    """Never without authentication; without TLS only where that has been accepted."""
    for tls in (True, False):
        for plaintext in (True, False):
            assert "daemon.auth" in (why_inside(anybody=True, tls=tls, plaintext=plaintext) or "")
    assert "daemon.tls_cert" in (why_inside(anybody=False, tls=False, plaintext=False) or "")
    assert why_inside(anybody=False, tls=True, plaintext=False) is None
    assert why_inside(anybody=False, tls=False, plaintext=True) is None


def test_other_addresses_are_served_where_they_may_be(port):
    (listener,) = bind_tcp("0.0.0.0", port, inside=None)
    with listener, socket.create_connection(("127.0.0.1", port)):
        assert not is_loopback(listener.getsockname()[0])


def test_a_machine_that_went_away_is_noticed(port):
    (listener,) = bind_tcp("127.0.0.1", port, inside=None)
    with listener, socket.create_connection(("127.0.0.1", port)):
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


def test_the_names_of_a_listener(monkeypatch):
    monkeypatch.setattr(loopback.socket, "gethostname", lambda: "GPU1.lab.example")
    assert own_names("Gpu.Example") == {"localhost", "gpu.example", "gpu1.lab.example", "gpu1"}


def test_what_one_machine_may_have_many_addresses_of_counts_as_one():
    one, other = "2001:db8:0:7::1", "2001:db8:0:7:ffff::2"
    assert network_of(one) == network_of(other) != network_of("2001:db8:0:8::1")
    assert network_of("fe80::1%eth0") == network_of("fe80::2%eth1")
    assert network_of("127.0.0.1") == network_of("127.8.8.8") == network_of("::1")
    assert len({network_of(address) for address in ("192.0.2.7", "192.0.2.8", "10.0.0.1", "?")}) == 4
