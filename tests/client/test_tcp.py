"""TCP, where a URL names it: what goes along with a request, and what is said when there is nobody."""

import os
import socket
import threading
import time

import pytest

from gflow.client import ssh, tcp, unix
from gflow.client.errors import BadSetting, ClientError, ConnectionLost, Declined, Unreachable
from gflow.client.http import Client
from support.fake_daemon import FakeRemote, reply


@pytest.fixture(autouse=True)
def no_token(monkeypatch, tmp_path):
    for name in ("GFLOW_TOKEN", "GFLOW_TOKEN_FILE", "GFLOW_SSH_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def remote():
    with FakeRemote() as fake:
        yield fake


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


def test_a_token_goes_along(remote, monkeypatch):
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    Client(remote.url()).status()
    assert remote.asked[0].headers["authorization"] == "Bearer gft_secret"
    monkeypatch.delenv("GFLOW_TOKEN")
    Client(remote.url()).status()
    assert "authorization" not in remote.asked[1].headers


class _Elsewhere:
    """A socket that is connected to another machine."""

    def getpeername(self):
        return ("192.0.2.7", 59000)

    def getsockname(self):
        return ("192.0.2.8", 40000)


def test_a_token_is_not_sent_where_others_can_read_it(monkeypatch):
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    with pytest.raises(BadSetting, match="refusing to send a token to http://gpu:59000") as caught:
        tcp.headers(tcp.remote("http://gpu:59000"), _Elsewhere())
    assert "gft_secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Bearer gft_secret" in tcp.headers(tcp.remote("https://gpu:59000"), _Elsewhere())
    accepted = tcp.remote("http://gpu:59000")
    accepted.plaintext = True
    assert "Bearer gft_secret" in tcp.headers(accepted, _Elsewhere())
    monkeypatch.delenv("GFLOW_TOKEN")
    assert "Authorization" not in tcp.headers(tcp.remote("http://gpu:59000"), _Elsewhere())


def test_who_is_not_known_is_told_what_to_do(remote, monkeypatch, tmp_path):
    remote.on("GET", "/jobs/7", reply({"error": "This daemon wants a token.", "code": "unauthorized"}, 401))
    with pytest.raises(Declined, match=r"wants a token: put yours into .*/gflow/token .* 'gctl token create") as none:
        Client(remote.url()).job(7)
    assert (none.value.status, none.value.code) == (401, "unauthorized")
    monkeypatch.setenv("GFLOW_TOKEN", "gft_secret")
    with pytest.raises(
        Declined, match="does not accept the token of GFLOW_TOKEN: it is unknown, expired or revoked"
    ) as refused:
        Client(remote.url()).job(7)
    assert "gft_secret" not in str(refused.value)


def test_a_lost_answer_is_asked_for_again_under_the_same_key(remote):
    answers = iter([b"", reply({"id": 1}, 201)])
    remote.on("POST", "/jobs", lambda _asked: next(answers))
    assert Client(remote.url()).submit({"command": "x", "submit_key": "k"}) == {"id": 1}
    assert [asked.json["submit_key"] for asked in remote.asked if asked.method == "POST"] == ["k", "k"]


def test_an_answer_that_stays_lost_is_said_to_be(remote, monkeypatch):
    remote.on("POST", "/jobs", b"")
    real = tcp.connect
    monkeypatch.setattr(tcp, "connect", lambda url, secs: real(url, secs) if len(remote.asked) < 2 else _refuse(url))
    with pytest.raises(
        ConnectionLost, match=r"cannot reach gflowd at http.*; it may have been done nevertheless: gqueue -a tells"
    ):
        Client(remote.url()).submit({"command": "x", "submit_key": "k"})


def _refuse(url):
    raise Unreachable(f"cannot reach gflowd at {url}")


def test_a_host_that_swallows_everything_is_given_up_on():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        url, waiting, began = f"http://127.0.0.1:{deaf.getsockname()[1]}", [], time.monotonic()
        try:
            with pytest.raises(Unreachable, match=f"cannot reach gflowd at {url} \\(timed out\\)"):
                while True:
                    waiting.append(tcp.connect(url, 0.3))
                    assert len(waiting) < 100
        finally:
            for sock in waiting:
                sock.close()
        assert time.monotonic() - began < 5


def test_a_machine_that_went_away_is_noticed(remote):
    sock = tcp.connect(remote.url())
    alive = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    sock.close()
    assert alive == 1


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_an_ipv6_address_is_an_endpoint():
    try:
        fake = FakeRemote(host="::1")
    except OSError as error:
        pytest.skip(f"nobody can listen on ::1 here: {error}")
    with fake:
        assert Client(fake.url()).status()["host"] == "gpubox"
        assert fake.asked[0].headers["host"] == f"[::1]:{fake.port}"


# -- which machine the daemon is on ----------------------------------------------------------------------------------


def test_where_the_daemon_is(remote, daemon):
    assert Client(str(daemon.path)).elsewhere() is None
    assert daemon.asked == [], "over the socket it need not be asked"
    assert Client(remote.url()).elsewhere() == "gpubox"
    with open("/proc/sys/kernel/random/boot_id") as file:
        remote.on("GET", "/status", reply({"endpoint": "unix:/s", "boot_id": file.read().strip()}))
    assert Client(remote.url()).elsewhere() is None
    remote.on("GET", "/status", reply({"endpoint": "unix:/s"}))
    assert Client(remote.url()).elsewhere() == "127.0.0.1", "one that does not say is taken for another"
    remote.on("GET", "/status", reply({}))
    assert Client(remote.url()).elsewhere() is None, "an older gflow is asked nothing that would need to know"


def test_without_asking_the_address_tells():
    assert Client("http://127.0.0.1:1").elsewhere(ask=False) is None
    assert Client("http://[::1]:1").elsewhere(ask=False) is None
    assert Client("https://gpu:1").elsewhere(ask=False) == "gpu"


# -- terminals -------------------------------------------------------------------------------------------------------


def test_a_terminal_comes_by_ssh(remote, monkeypatch):
    remote.on("GET", "/jobs/7", reply({"id": 7, "state": "Running"}))
    monkeypatch.setenv("GFLOW_SSH_HOST", "alice@gpubox")
    from gflow.client.endpoint import find

    argv = Client(find(remote.url())).attach(7, read_only=True)
    words = ["gjob", "attach", "7", "--read-only", "--url", "'unix:/run/far away/s'"]
    assert argv == ["ssh", "-t", "--", "alice@gpubox", *words]


def test_behind_an_address_of_this_machine_may_be_a_tunnel():
    with pytest.raises(ClientError, match="if this is a tunnel, name the machine behind it with GFLOW_SSH_HOST"):
        ssh.attach("http://127.0.0.1:59000", None, 7)
    assert ssh.attach("https://gpu.example:1", None, 7) == ["ssh", "-t", "--", "gpu.example", "gjob", "attach", "7"]
    assert ssh.attach("https://[2001:db8::1]:1", "tcp:x", 7)[3:] == ["2001:db8::1", "gjob", "attach", "7"]


@pytest.mark.parametrize("host", ["-oProxyCommand=touch x", "a b", "a\nb"])
def test_what_is_no_host_is_not_given_to_ssh(host):
    remote = tcp.remote("https://gpu:1")
    remote.ssh_host = host
    with pytest.raises(BadSetting, match="as the host of ssh"):
        ssh.attach(remote, None, 7)


@pytest.mark.parametrize("path", ["/run/x", "/a b", "/a'b\"c", "/$(touch x)`id`;&|", "/ü", "/a\nb"])
def test_a_shell_reads_what_was_meant(path):
    import subprocess

    said = subprocess.run(["sh", "-c", f"printf %s {ssh.quote(path)}"], capture_output=True, text=True, check=True)
    assert said.stdout == path
