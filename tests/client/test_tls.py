"""TLS to a daemon: certificate and name are verified, and every failure is one line that names the endpoint."""

import os
import socket
import ssl
import threading
import time
from datetime import UTC, datetime

import pytest

from gflow.client import tcp, tls
from gflow.client.endpoint import find, trust
from gflow.client.errors import BadSetting, ClientError, ConnectionLost, Unreachable
from gflow.client.http import Client
from support import certificates
from support.fake_daemon import FakeRemote, reply


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("GFLOW_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp("tls"), "localhost", "127.0.0.1")


def serving(files):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    return FakeRemote(context=context)


@pytest.fixture(scope="module")
def remote(files):
    with serving(files) as fake:
        yield fake


def client(url, cacert=None):
    trust(None if cacert is None else str(cacert))
    try:
        return Client(find(url))
    finally:
        trust(None)


def failure(url, cacert, kind=Unreachable):
    with pytest.raises(ClientError) as caught:
        client(url, cacert).status()
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_daemon_that_is_vouched_for_is_asked(remote, files, name):
    assert client(remote.url(name), files.ca).status()["host"] == "gpubox"
    assert remote.asked[-1].headers["host"] == f"{name}:{remote.port}"


def test_a_large_answer_comes_whole(remote, files):
    body = os.urandom(300_000)
    remote.on("GET", "/jobs/7/log/stream", reply(body))
    assert client(remote.url(), files.ca).log(7).read() == body


def test_one_that_nobody_vouches_for_is_not(remote, tmp_path):
    known = len(remote.asked)
    said = failure(remote.url(), certificates.make(tmp_path / "other").ca)
    assert said.startswith(f"cannot trust gflowd at {remote.url()}: ")
    assert said.endswith("; --cacert FILE names the CA it is from")
    assert "--cacert" in failure(remote.url(), None), "the system's authorities do not know it either"
    assert len(remote.asked) == known, "nothing was sent"


def test_one_that_has_another_name_is_not(files, tmp_path):
    other = certificates.make(tmp_path / "other", "gpu.example")
    with serving(other) as fake:
        said = failure(fake.url("localhost"), other.ca)
        assert said.startswith(f"cannot trust gflowd at {fake.url('localhost')}: Hostname mismatch")
        assert "--cacert" not in said
        assert "IP address mismatch" in failure(fake.url("127.0.0.1"), other.ca)
        assert fake.asked == []


def test_one_whose_certificate_is_too_old_is_not(tmp_path):
    old = certificates.make(tmp_path / "old", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    with serving(old) as fake:
        assert "certificate has expired" in failure(fake.url(), old.ca)


def test_where_nobody_speaks_tls(files):
    def answer_at_once():
        connection, _ = plain.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(65536)

    with socket.create_server(("127.0.0.1", 0)) as plain:
        thread = threading.Thread(target=answer_at_once)
        thread.start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        assert failure(url, files.ca).startswith(f"what listens at {url} does not speak TLS (")
        thread.join()


def test_where_somebody_does_and_is_not_asked_to(remote):
    with pytest.raises(ConnectionLost):
        client(f"http://127.0.0.1:{remote.port}").status()


def test_a_handshake_that_is_not_answered_is_given_up_on(files, monkeypatch):
    monkeypatch.setattr(tcp, "CONNECT_TIMEOUT_SECS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url, began = f"https://127.0.0.1:{deaf.getsockname()[1]}", time.monotonic()
        assert failure(url, files.ca).startswith(f"what listens at {url} does not answer")
        assert time.monotonic() - began < 5


def test_nobody_there_is_one_line(files):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"https://127.0.0.1:{probe.getsockname()[1]}"
    assert "Connection refused" in failure(url, files.ca)


@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("nonsense", "it holds no certificate")])
def test_a_ca_file_that_is_none_is_said(remote, tmp_path, content, why):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    said = failure(remote.url(), path, BadSetting)
    assert said.startswith(f"cannot use the CA file {path}: {why}")


def test_verifying_cannot_be_turned_off(files):
    context = tls._context(str(files.ca))
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_a_lost_answer_is_asked_for_again_under_the_same_key(remote, files):
    answers = iter([b"", reply({"id": 1}, 201)])
    remote.on("POST", "/jobs", lambda _asked: next(answers))
    assert client(remote.url(), files.ca).submit({"command": "x", "submit_key": "k"}) == {"id": 1}
