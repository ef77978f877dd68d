"""TCP, where a URL names it: what goes along with a request, and what is said when there is nobody."""

import socket
import threading

import pytest

from gflow.client import tcp, unix
from gflow.client.errors import ConnectionLost, Unreachable
from gflow.client.http import Client


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(20)
        yield sock


def url_of(listener):
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def answering(listener, answer):
    """What one request says, once it has been answered."""
    heard = []

    def serve():
        connection, _ = listener.accept()
        with connection:
            heard.append(connection.recv(65536).decode())
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread, heard


def test_a_request_says_whom_it_is_for_and_who_asks(listener, monkeypatch):
    monkeypatch.setattr(tcp, "user_name", lambda: "jürgen")
    thread, heard = answering(listener, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert Client(url_of(listener)).status() == {}
    thread.join()
    lines = heard[0].split("\r\n")
    assert lines[0] == "GET /status HTTP/1.1"
    assert {f"Host: {url_of(listener)[7:]}", "X-Gflow-User: j%C3%BCrgen"} <= {*lines}


def test_nobody_there_is_one_line(listener):
    url = url_of(listener)
    listener.close()
    with pytest.raises(Unreachable, match=rf"cannot reach gflowd at {url} \(Connection refused\); start it"):
        unix.ask(url, "GET", "/")


def test_a_host_nobody_knows_is_one_line():
    with pytest.raises(Unreachable, match=r"cannot reach gflowd at http://no\.such\.host\.invalid:1 \(") as caught:
        unix.ask("http://no.such.host.invalid:1", "GET", "/")
    assert "\n" not in str(caught.value)


def test_something_else_there_is_said_with_its_url(listener):
    url = url_of(listener)
    thread, _ = answering(listener, b"220 mail.example ESMTP\r\n\r\n")
    with pytest.raises(ConnectionLost, match=f"{url} does not speak HTTP"):
        Client(url).status()
    thread.join()


def test_a_job_is_not_sent_to_a_daemon_that_would_not_understand_it(listener):
    thread, heard = answering(listener, b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"version":"0.4.18"}')
    with pytest.raises(Exception, match="older gflow"):
        Client(url_of(listener)).submit({"argv": ["true"]})
    thread.join()
    assert [request.split()[0] for request in heard] == ["GET"]
