"""Starting, finding and stopping a daemon from outside, with stand-ins for the daemon."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest

from gflow.daemon import hosting
from gflow.daemon.hosting import HostingFailed, find, flags_of, start, stop
from gflow.gpu import aside
from gflow.gpu.base import ProbeReading
from support.fake_daemon import FakeDaemon, reply
from support.wait import until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s"


@pytest.fixture
def no_tmux(monkeypatch):
    monkeypatch.setattr(hosting.shutil, "which", lambda name: None)


@pytest.fixture(params=["missing", "without a server"])
def no_session(request, monkeypatch, tmp_path):
    tmux = tmp_path / "tmux"
    tmux.write_text("#!/bin/sh\necho 'error connecting to /tmp/tmux-1000/default (Permission denied)' >&2\nexit 1\n")
    tmux.chmod(0o700)
    monkeypatch.setattr(hosting.shutil, "which", lambda name: None if request.param == "missing" else os.fspath(tmux))


# -- asking ----------------------------------------------------------------------------------------------------------


def test_nobody_listens(path):
    assert find(path, path.parent) is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    assert find(path, path.parent) is None, "only a file is left of it"


def test_a_daemon_that_is_well(path):
    with FakeDaemon(path) as daemon:
        closing = {"connection": "close"}
        daemon.on("GET", "/health", reply({"status": "ok"}, headers=closing))
        daemon.on("GET", "/status", reply({"version": "1"}, headers=closing))
        found = find(path, path.parent)
    assert found is not None
    assert found.pid == os.getpid(), "as the kernel says"
    assert (found.health, found.status) == ({"status": "ok"}, {"version": "1"})


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nno", reply("no JSON")]
)
def test_something_that_listens_but_does_not_answer_properly(path, answer):
    with FakeDaemon(path) as daemon:
        daemon.on("GET", "/health", answer)
        found = find(path, path.parent)
    assert found is not None
    assert (found.pid, found.health, found.status) == (os.getpid(), None, None)


def test_something_that_listens_and_never_answers(path, monkeypatch):
    monkeypatch.setattr(hosting, "ANSWER_SECS", 0.05)
    go_on = threading.Event()
    with FakeDaemon(path) as daemon:
        daemon.on("GET", "/health", lambda asked: [b"" if go_on.wait(30) else b"x"])
        found = find(path, path.parent)
        go_on.set()
    assert found is not None
    assert found.health is None


# -- starting --------------------------------------------------------------------------------------------------------

_DAEMON = """#!{python} -I
import socket, sys
assert sys.argv[1:4] == ["-P", "-m", "gflow.cli.gflowd"], sys.argv
assert sys.argv[4:-2] == ["-v", "run", "--gpus", "0", "--socket", {path!r}], sys.argv
assert sys.argv[-2] == "--log-file" and sys.argv[-1].endswith("/data/gflow/gflowd.log"), sys.argv
listener = socket.socket(socket.AF_UNIX)
listener.bind({path!r})
listener.listen()
print("up", flush=True)
while True:
    client, _ = listener.accept()
    file = client.makefile("rwb")
    for _ in range(2):
        while file.readline().strip():
            pass
        file.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{{}}")
        file.flush()
"""


def program(tmp_path, monkeypatch, text):
    """Let `text` be what runs instead of Python."""
    script = tmp_path / "python"
    script.write_text(text)
    script.chmod(0o700)
    monkeypatch.setattr(hosting.sys, "executable", os.fspath(script))


def test_what_is_for_everybody_to_see_has_no_token(monkeypatch):
    """The command line of tmux stays that of its server."""
    asked = []

    def run(words, **_options):
        asked.extend(words)
        return subprocess.CompletedProcess(words, 1 if "list-panes" in words else 0, "", "")

    monkeypatch.setattr(hosting.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(hosting.subprocess, "run", run)
    monkeypatch.setenv("GFLOW_TOKEN", "gflow_1_secret")
    monkeypatch.setenv("GFLOW_DAEMON_PORT", "59001")
    assert hosting._start_in_tmux(["gflowd", "run"]) is not None
    assert "-eGFLOW_DAEMON_PORT=59001" in asked
    assert "secret" not in " ".join(asked)


@pytest.mark.usefixtures("no_session")
def test_a_daemon_is_started_detached_and_found(tmp_path, path, monkeypatch):
    text = _DAEMON.format(python=sys.executable, path=os.fspath(path))
    program(tmp_path, monkeypatch, text)
    data_dir = tmp_path / "data" / "gflow"
    started = []
    detached = hosting._start_detached
    monkeypatch.setattr(hosting, "_start_detached", lambda *args: started.append(detached(*args)) or started[0])
    running = start(["-v"], ["--gpus", "0"], path, data_dir)
    try:
        assert running.pid != os.getpid()
        assert os.getsid(running.pid) == running.pid, "a session of its own"
        assert os.readlink(f"/proc/{running.pid}/cwd") == "/"
        log = data_dir / "gflowd.log"
        assert log.read_text() == "up\n"
        assert [stat.S_IMODE(file.stat().st_mode) for file in (log, data_dir)] == [0o600, 0o700]
    finally:
        started[0]._process.kill()
        started[0]._process.wait()


@pytest.mark.usefixtures("no_tmux")
def test_a_daemon_that_ends_at_once_is_quoted(tmp_path, path, monkeypatch):
    program(tmp_path, monkeypatch, "#!/bin/sh\necho noise\necho 'gflowd: the data is in use' >&2\nexit 1\n")
    with pytest.raises(HostingFailed, match=r"^gflowd did not start; the data is in use \(log: .*/gflowd\.log\)$"):
        start([], [], path, tmp_path)


@pytest.mark.usefixtures("no_tmux")
def test_a_daemon_that_says_nothing(tmp_path, path, monkeypatch):
    program(tmp_path, monkeypatch, "#!/bin/sh\nexit 1\n")
    with pytest.raises(HostingFailed, match="it left no word"):
        start([], [], path, tmp_path)


@pytest.mark.usefixtures("no_tmux")
def test_what_was_logged_on_the_way_is_no_reason(tmp_path, path, monkeypatch):
    lines = ["gflowd: no room", "2026-11-28 08:00:00,123 INFO    gflow.daemon.limits: limits are watched"]
    program(tmp_path, monkeypatch, f"#!/bin/sh\nprintf '%s\\n' {' '.join(map(repr, lines))}\nexit 1\n")
    with pytest.raises(HostingFailed, match=r"^gflowd did not start; no room \("):
        start([], [], path, tmp_path)


@pytest.mark.usefixtures("no_tmux")
@pytest.mark.parametrize(
    ("name", "seen", "said"),
    [
        ("SEGV", ProbeReading(), r"ended by signal 11 \(SIGSEGV\); see dmesg"),
        ("SEGV", aside.Crash(trouble="it crashes", signal=11), "while it looked for GPUs: it crashes"),
        ("KILL", aside.Crash(trouble="it crashes", signal=11), r"ended by signal 9 \(SIGKILL\); see dmesg"),
    ],
)
def test_a_daemon_that_is_ended_by_a_signal(tmp_path, path, monkeypatch, name, seen, said):
    program(tmp_path, monkeypatch, f"#!/bin/sh\necho noise\nkill -{name} $$\n")
    monkeypatch.setattr(aside, "look", lambda secs: seen)
    with pytest.raises(HostingFailed, match=said):
        start([], [], path, tmp_path)


def test_a_daemon_in_tmux_that_is_ended_by_a_signal(tmp_path, path, monkeypatch):
    monkeypatch.setenv("TMUX_TMPDIR", os.fspath(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    kept = "until tmux show-options -w remain-on-exit | grep -q on; do :; done"  # no daemon dies sooner
    program(tmp_path, monkeypatch, f"#!/bin/sh\n{kept}\nkill -KILL $$\n")
    with pytest.raises(HostingFailed, match=r"ended by signal 9 \(SIGKILL\)"):
        start([], [], path, tmp_path)


def test_a_tmux_that_hangs_is_no_host(tmp_path, path, monkeypatch):
    hanging = tmp_path / "tmux"
    hanging.write_text("#!/bin/sh\nexec sleep 30\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(hosting, "TMUX_SECS", 0.1)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, monkeypatch, "#!/bin/sh\necho 'gflowd: tmux does not run'\nexit 1\n")
    with pytest.raises(HostingFailed, match=r"tmux does not run \(log: "):
        start([], [], path, tmp_path)


# -- flags -----------------------------------------------------------------------------------------------------------


def test_the_flags_of_a_daemon_however_they_were_written():
    words = ["-v", "run", "--gpus=0,2", "--system", "--gpu-poll-interval-secs", "3", "--socket", "/s", "--log-file=/l"]
    waits = [sys.executable, "-Ic", "input()", *words]
    with subprocess.Popen(waits, stdin=subprocess.PIPE) as process:
        found = until(lambda: flags_of(process.pid), "the arguments, which a process has shortly after its start")
        assert found == {"gpus": "0,2", "system": "", "gpu_poll_interval_secs": "3"}
        process.communicate(b"\n")


# -- stopping --------------------------------------------------------------------------------------------------------

_LISTENER = """
import signal, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
listener.listen()
signal.pause()
"""


@pytest.fixture
def listener(path, monkeypatch):
    """Starts something that listens, answers nothing, and ends at SIGTERM unless it is stubborn."""
    monkeypatch.setattr(hosting, "ANSWER_SECS", 0.05)
    started = []

    def begin(manner):
        process = subprocess.Popen([sys.executable, "-Ic", _LISTENER, os.fspath(path), manner])
        started.append(process)
        until(lambda: find(path, path.parent), "the listener")
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("no_tmux")
def test_stopping_waits_until_it_is_gone(path, listener):
    process = listener("gentle")
    assert stop(path, path.parent) == process.pid
    assert process.wait(0) == -signal.SIGTERM
    assert stop(path, path.parent) is None


@pytest.mark.usefixtures("no_tmux")
def test_one_that_does_not_stop_is_told_of(path, listener, monkeypatch):
    monkeypatch.setattr(hosting, "STOP_SECS", 0.1)
    process = listener("stubborn")
    with pytest.raises(HostingFailed, match=rf"pid {process.pid}\) is still there"):
        stop(path, path.parent)


def test_one_that_belongs_to_somebody_else(monkeypatch):
    def refuse(descriptor, number):
        raise PermissionError

    before = os.listdir("/proc/self/fd")
    monkeypatch.setattr(hosting.signal, "pidfd_send_signal", refuse)
    with pytest.raises(HostingFailed, match="belongs to another user"):
        hosting._end(os.getpid())
    assert os.listdir("/proc/self/fd") == before


def test_one_that_is_gone_already():
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    assert hosting._end(process.pid) is True
