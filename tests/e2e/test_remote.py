"""A daemon with TLS, and the real commands as from another machine: no socket and no file of the daemon is at hand."""

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from support import certificates
from support.certificates import Certificates
from support.daemon import Daemon
from support.terminal import Terminal
from support.wait import until

pytestmark = pytest.mark.once


class Elsewhere:
    """Where nothing of the daemon is but its URL, and the authority that vouches for it."""

    def __init__(self, daemon: Daemon, url: str, files: Certificates) -> None:
        self.daemon, self.url, self.files = daemon, url, files
        self.root = daemon.root / "elsewhere"
        self.root.mkdir(mode=0o700)
        places = {f"XDG_{name}": str(self.root / name) for name in ("RUNTIME_DIR", "DATA_HOME", "CONFIG_HOME")}
        self.token = self.root / "token"
        self.token.touch(0o600)
        self.token.write_text(daemon.cli("gctl", "token", "create").stdout)
        self.surroundings = {**places, "HOME": str(self.root), "GFLOW_URL": url, "GFLOW_CACERT": str(files.ca)}
        self.surroundings["GFLOW_TOKEN_FILE"] = str(self.token)

    def cli(self, *words: str, **surroundings: str) -> subprocess.CompletedProcess[str]:
        return self.daemon.cli(*words, **{**self.surroundings, **surroundings})

    def run(self, *words: str) -> str:
        """What a command says that must succeed, and say nothing else."""
        done = self.cli(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def fails(self, *words: str, **surroundings: str) -> str:
        """The one line of a command that must fail, which takes no time."""
        began = time.monotonic()
        done = self.cli(*words, **surroundings)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done
        assert time.monotonic() - began < 5
        return done.stderr

    def connections(self) -> int:
        """How many the daemon has from elsewhere."""
        at_port, established = f":{int(self.url.rpartition(':')[2]):04X}", "01"
        fields = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        return sum(words[1].endswith(at_port) and words[3] == established for words in fields)

    def spawn(self, *words: str) -> "subprocess.Popen[str]":
        program, *arguments = words
        return subprocess.Popen(
            self.daemon.command(program, *arguments),
            cwd=self.daemon.work,
            env={**self.daemon.surroundings, **self.surroundings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates.make(tmp_path_factory.mktemp("tls"), "localhost", "gpu.example")


@pytest.fixture(scope="module")
def elsewhere(files: Certificates) -> Iterator[Elsewhere]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    settings = {"GFLOW_DAEMON_TLS_CERT": str(files.cert), "GFLOW_DAEMON_TLS_KEY": str(files.key)}
    options = ("--host", "localhost", "--port", str(port), "--simulated-gpus", "2")
    with Daemon(*options, environment=settings) as daemon:
        yield Elsewhere(daemon, f"https://localhost:{port}", files)


def test_everything_a_user_does(elsewhere: Elsewhere) -> None:
    run = elsewhere.run
    job_id = run("gbatch", "--parsable", "--gpus", "1", "echo", "over TLS").strip()
    assert run("gjob", "log", "-f", job_id) == "over TLS\n"
    assert run("gjob", "log", "--last", "1", "@") == "over TLS\n"
    assert job_id in run("gqueue", "-a")
    assert "Finished" in run("gjob", "show", job_id)
    assert run("gbatch", "--parsable", "--wait", "true").strip() == str(int(job_id) + 1)
    held = run("gbatch", "--parsable", "--hold", "sleep", "100").strip()
    run("gjob", "update", held, "--priority", "20")
    assert "hold" in run("gjob", "why", held).lower()
    run("gjob", "release", held)
    elsewhere.daemon.wait_running(int(held))
    assert "sleep" in run("gjob", "top", held)
    run("gcancel", held)
    assert elsewhere.daemon.wait_job(int(held))["state"] == "Cancelled"
    assert run("gjob", "redo", "--hold", held).startswith(f"Resubmitting job {held}")
    run("gcancel", "@")
    for words in (("ginfo",), ("gstats",), ("gctl", "show-gpus"), ("gctl", "reserve", "list"), ("gqueue", "-T")):
        run(*words)


def test_a_job_is_followed_and_waited_for_over_a_restart(elsewhere: Elsewhere) -> None:
    daemon = elsewhere.daemon
    mark = daemon.work / "go-on"
    job_id = str(daemon.submit(f"echo one; until [ -e {mark} ]; do sleep 0.05; done; echo two; exit 3"))
    with elsewhere.spawn("gjob", "log", "-f", job_id) as following, elsewhere.spawn("gjob", "wait", job_id) as waiting:
        assert following.stdout is not None
        assert following.stdout.readline() == "one\n"
        until(lambda: elsewhere.connections() >= 2, "both of them")
        daemon.restart()
        mark.touch()
        assert following.stdout.read() == "two\n"
        assert (following.wait(30), waiting.wait(30)) == (0, 3)


def test_the_queue_is_watched(elsewhere: Elsewhere) -> None:
    daemon = elsewhere.daemon
    command = daemon.command("gqueue", "-w", "-f", "JOBID,ST")
    with Terminal(command, {**daemon.surroundings, **elsewhere.surroundings}) as terminal:
        until(lambda: "q: quit" in terminal.printed, "the queue")
        job_id = daemon.submit("sleep 100")
        until(lambda: f"{job_id}" in terminal.picture, "the job")
        daemon.http("POST", f"/jobs/{job_id}/cancel")
        terminal.press("q")
        assert terminal.end() == 0


def test_the_live_view(elsewhere: Elsewhere) -> None:
    daemon = elsewhere.daemon
    job_id = daemon.submit("echo seen from afar; sleep 100")
    daemon.wait_log(job_id)
    with Terminal(daemon.command("gflow", "top"), {**daemon.surroundings, **elsewhere.surroundings}) as terminal:
        until(lambda: "seen from afar" in terminal.printed, "the output of the job")
        terminal.press("q")
        assert terminal.end() == 0
    daemon.http("POST", f"/jobs/{job_id}/cancel")


SSH = """#!/bin/sh
# as ssh does: without a word about it, what is left is joined by blanks and read by a shell over there
echo "$@" >>{said}
[ "$1 $2 $3" = "-t -- gpubox" ] || exit 255
shift 3
exec env -i PATH={path} TERM=xterm HOME=/ sh -c "$*"
"""


def program(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o700)


def test_a_terminal_comes_by_ssh(elsewhere: Elsewhere, tmp_path: Path) -> None:
    daemon, said = elsewhere.daemon, tmp_path / "said"
    here, there = tmp_path / "here", tmp_path / "there"
    path = os.environ["PATH"]
    program(here / "ssh", SSH.format(said=said, path=f"{there}:{path}"))
    gjob = shlex.join(daemon.command("gjob"))
    program(there / "gjob", f'#!/bin/sh\nPYTHONPATH={daemon.surroundings["PYTHONPATH"]} exec {gjob} "$@"\n')
    job_id = daemon.submit("read line; echo got $line")
    daemon.wait_running(job_id)
    surroundings = {
        **daemon.surroundings,
        **elsewhere.surroundings,
        "GFLOW_SSH_HOST": "gpubox",
        "PATH": f"{here}:{path}",
    }
    with Terminal(daemon.command("gjob", "attach", str(job_id)), surroundings) as terminal:
        until(said.exists, "the call of ssh")
        terminal.press("over there\r")
        assert daemon.wait_job(job_id)["state"] == "Finished"
        terminal.press("\x02d")
        assert terminal.end() == 0
    assert b"got over there" in daemon.log(job_id)
    assert said.read_text() == f"-t -- gpubox gjob attach {job_id} --url unix:{daemon.socket}\n"

    job_id = daemon.submit("sleep 100")
    daemon.wait_running(job_id)
    alone = {**surroundings, "PATH": str(there)}
    with Terminal(daemon.command("gjob", "attach", str(job_id)), alone, columns=200) as terminal:
        assert terminal.end() == 1
        line = f"in a terminal, run: ssh -t -- gpubox gjob attach {job_id} --url unix:{daemon.socket}"
        assert line in terminal.printed
    daemon.http("POST", f"/jobs/{job_id}/cancel")


def test_who_is_not_trusted_is_not_talked_to(elsewhere: Elsewhere, tmp_path: Path) -> None:
    other = certificates.make(tmp_path / "other").ca
    url = elsewhere.url
    said = elsewhere.fails("gqueue", "--cacert", str(other))
    assert said.startswith(f"gqueue: cannot trust gflowd at {url}: ")
    assert "--cacert FILE" in elsewhere.fails("gbatch", "true", GFLOW_CACERT="")
    by_address = url.replace("localhost", "127.0.0.1")
    assert "IP address mismatch" in elsewhere.fails("gqueue", "--url", by_address)
    assert "https://" in elsewhere.fails("gqueue", "--url", url.replace("https", "http"))
    assert (
        elsewhere.fails("gqueue", "--cacert", "/none")
        == "gqueue: cannot use the CA file /none: No such file or directory\n"
    )


def test_nobody_there_is_one_line(elsewhere: Elsewhere) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"https://localhost:{probe.getsockname()[1]}"
    said = elsewhere.fails("gqueue", "--url", url)
    assert said == f"gqueue: cannot reach gflowd at {url} (Connection refused); start it with 'gflowd up'\n"


def test_who_has_no_good_token_is_told_so(elsewhere: Elsewhere) -> None:
    none = elsewhere.fails("gqueue", GFLOW_TOKEN_FILE="")
    assert none.startswith(f"gqueue: gflowd at {elsewhere.url} wants a token: put yours into ")
    bad = elsewhere.fails("gbatch", "true", GFLOW_TOKEN="gflow_1_wrong")
    assert "does not accept the token of GFLOW_TOKEN: it is unknown, expired or revoked" in bad
    reader = elsewhere.daemon.cli("gctl", "token", "create", "--read-only").stdout.strip()
    assert elsewhere.cli("gqueue", GFLOW_TOKEN=reader).returncode == 0
    assert "read-only" in elsewhere.fails("gcancel", "1", GFLOW_TOKEN=reader)
    elsewhere.token.chmod(0o644)
    assert "is open to others" in elsewhere.fails("gqueue")
    elsewhere.token.chmod(0o600)


def test_other_machines_are_served_with_tls_only(elsewhere: Elsewhere, files: Certificates) -> None:
    for settings, said in (
        ({}, "gflowd: daemon.host: 0.0.0.0 is 0.0.0.0, and without TLS only loopback addresses are served"),
        ({"AUTH": "none", "TLS_CERT": str(files.cert), "TLS_KEY": str(files.key)}, "with daemon.auth"),
    ):
        daemon = Daemon("--host", "0.0.0.0", environment={f"GFLOW_DAEMON_{name}": it for name, it in settings.items()})
        try:
            daemon.begin()
            assert daemon.process is not None
            assert daemon.process.wait(20) == 1
            assert said in daemon.said().splitlines()[-1]
        finally:
            daemon.close()


def _ask(elsewhere: Elsewhere, method: str, path: str, **headers: str) -> int:
    trust = ssl.create_default_context(cafile=elsewhere.files.ca)
    connection = HTTPSConnection("localhost", int(elsewhere.url.rpartition(":")[2]), context=trust, timeout=20)
    try:
        connection.putrequest(method, path, skip_host=True)
        token = {"Authorization": f"Bearer {elsewhere.token.read_text().strip()}"}
        for name, value in ({"Host": "localhost"} | token | headers).items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


def test_only_what_is_meant_for_this_daemon_is_answered(elsewhere: Elsewhere) -> None:
    assert _ask(elsewhere, "GET", "/health") == 200
    assert _ask(elsewhere, "GET", "/health", Host="gpu.example:1") == 200, "a name in its certificate"
    assert _ask(elsewhere, "GET", "/health", Host="evil.example") == 403
    assert _ask(elsewhere, "POST", "/drain", Origin="https://gpu.example") == 403


def test_a_new_certificate_counts_after_a_reload(elsewhere: Elsewhere, tmp_path: Path) -> None:
    files, kept = elsewhere.files, tmp_path / "kept"
    kept.mkdir()
    for file in (files.cert, files.key):
        shutil.copy(file, kept)
    new = certificates.make(tmp_path / "new", "localhost")
    try:
        shutil.copy(new.cert, files.cert)
        done = elsewhere.daemon.cli("gflowd", "reload")
        assert (done.returncode, "is not the key of" in done.stderr) == (1, True), done
        elsewhere.run("gqueue")
        shutil.copy(new.key, files.key)
        assert elsewhere.daemon.cli("gflowd", "reload").returncode == 0
        elsewhere.run("gqueue", "--cacert", str(new.ca))
        assert "cannot trust" in elsewhere.fails("gqueue")
    finally:
        for file in (files.cert, files.key):
            shutil.copy(kept / file.name, file)
        assert elsewhere.daemon.cli("gflowd", "reload").returncode == 0
    elsewhere.run("gqueue")


def test_a_key_that_others_may_read_stops_the_start(files: Certificates, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(files.key.read_bytes())
    key.chmod(0o644)
    settings = {"GFLOW_DAEMON_TLS_CERT": str(files.cert), "GFLOW_DAEMON_TLS_KEY": str(key)}
    daemon = Daemon("--host", "localhost", "--auth", "none", environment=settings)
    try:
        daemon.begin()
        assert daemon.process is not None
        assert daemon.process.wait(20) == 1
        (line,) = daemon.said().splitlines()[-1:]
        assert line == f"gflowd: daemon.tls_key: others may read {key}; run: chmod 600 {key}"
        assert not daemon.socket.exists()
    finally:
        daemon.close()
