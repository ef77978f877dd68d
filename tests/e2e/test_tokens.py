"""Tokens with the real daemon: what lets one in, and that its text is found nowhere on the machine."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.ports import free_port


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Daemon, int]]:
    port = free_port()
    others = {"GFLOW_DAEMON_ENV_DROP": "*_SECRET"}  # tokens are left out nevertheless
    daemon = Daemon("--host", "127.0.0.1", "--port", str(port), environment=others)
    daemon.program = (*daemon.program, "-v")
    with daemon:
        yield daemon, port


def over_tcp(port: int, path: str, token: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


def misplace(port: int, token: str) -> None:
    """Send it in all the places where none belongs; what is answered is told to who has it anyway."""
    line = f"Authorization: Bearer {token}\r\n"
    heads = [
        f"GET /jobs HTTP/1.1\r\nHost: localhost\r\n{line}{line}",
        f"GET /jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization : Bearer {token}\r\n",
        f"GET /jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer\x0b{token}\r\n",
        f"GET /jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\xff\r\n",
        f"GET /jobs HTTP/1.1\r\nHost: {token}\r\n{line}",
        f"GET /jobs HTTP/{token}\r\nHost: localhost\r\n{line}",
        f"{token} /jobs HTTP/1.1\r\nHost: localhost\r\n{line}",
        f"GET /tokens/{token} HTTP/1.1\r\nHost: localhost\r\n",
        f"DELETE /tokens/1?token={token} HTTP/1.1\r\nHost: localhost\r\n{line}",
        f"POST /drain HTTP/1.1\r\nHost: localhost\r\n{line}Content-Length: x{token}\r\n",
    ]
    for head in heads:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(f"{head}Connection: close\r\n\r\n".encode("latin-1"))
            while client.recv(65536):
                pass


def command_lines() -> bytes:
    """Of every process of this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes())
        except OSError:
            continue
    return b"\n".join(found)


def test_tcp_needs_one_unless_it_is_said_otherwise(place):
    daemon, port = place
    assert over_tcp(port, "/jobs", "none")[0] == 401
    done = daemon.cli("gctl", "token", "create", "--user", "alice", "--expires", "1h")
    assert over_tcp(port, "/jobs", done.stdout.strip())[0] == 200
    assert daemon.cli("gctl", "token", "revoke", "1").stdout == "Token 1 of alice is revoked\n"
    assert over_tcp(port, "/jobs", done.stdout.strip())[0] == 401
    assert "for whoever has a token" in daemon.said()
    assert f"TCP: http://127.0.0.1:{port} (with tokens)\n" in daemon.cli("gflowd", "status").stdout


def test_the_text_of_one_is_found_nowhere(place):
    daemon, port = place
    told = json.loads(daemon.cli("gctl", "token", "create", "--user", "alice", "--name", "ci", "-o", "json").stdout)
    token, secret = told["token"], told["token"].rpartition(f"gflow_{told['id']}_")[2]
    refused = [over_tcp(port, path, token + "x")[1] for path in ("/jobs", "/nowhere", f"/jobs/{'9' * 30}")]
    misplace(port, token)
    places = ("/status", "/metrics", "/jobs", "/tokens", "/drain", "/openapi.json")
    looked = [over_tcp(port, path, token)[1] for path in places]
    looked.append(daemon.cli("gflowd", "doctor", GFLOW_TOKEN=token).stdout)
    assert "token for other machines is in GFLOW_TOKEN" in looked[-1]
    done = daemon.cli("gflowd", "reload", "--exec")
    assert done.returncode == 0, done
    looked += [Path(f"/proc/{daemon.pid}/{name}").read_bytes().decode() for name in ("environ", "cmdline")]
    submitted = daemon.cli("gbatch", "--parsable", "env", GFLOW_TOKEN=token)
    job_id = int(submitted.stdout)
    with_one = command_lines()
    daemon.wait_job(job_id)
    exported = daemon.cli("gctl", "state", "export").stdout
    listed = [daemon.cli("gctl", "token", "list", "-o", kind).stdout for kind in ("table", "json", "csv")]
    daemon.cli("gctl", "state", "compact")
    written = {path: path.read_bytes() for path in daemon.root.rglob("*") if path.is_file()}
    assert any(b"digest" in content for content in written.values()), "its hash is in the state"
    for path, content in written.items():
        assert secret.encode() not in content, path
    assert secret.encode() not in with_one
    assert secret not in "".join([submitted.stderr, *refused, *looked, *listed, exported, daemon.said()])
    assert f"/tokens/gflow_{told['id']}_..." in daemon.said(), "what was sent to the wrong place is told without it"
    assert '"digest"' not in exported
    assert '"tokens"' not in exported
