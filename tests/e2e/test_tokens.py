"""Tokens with the real daemon: what lets one in, and that its text is found nowhere on the machine."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from support.daemon import Daemon
from support.ports import free_port


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Daemon, int]]:
    port = free_port()
    with Daemon("--host", "127.0.0.1", "--port", str(port)) as daemon:
        yield daemon, port


def over_tcp(port: int, path: str, token: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    said = answer.read().decode()
    connection.close()
    return answer.status, said


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
    looked = [over_tcp(port, path, token)[1] for path in ("/status", "/metrics", "/jobs", "/tokens", "/drain")]
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
    assert '"digest"' not in exported
    assert '"tokens"' not in exported
