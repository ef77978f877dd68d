"""What systemd gives a daemon, and what it is told: sd_listen_fds(3) and sd_notify(3), with real sockets."""

import os
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from gflow.core.model import State
from gflow.daemon.systemd import Given, Manager, adopt, status_line, take
from gflow.daemon.wake import Wake


def test_outside_of_systemd_nothing_is_given():
    assert take({"PATH": "/bin"}, 7) == Given()


def test_what_is_given_is_taken_out_of_the_environment():
    environ = {
        "PATH": "/bin",
        "NOTIFY_SOCKET": "@a",
        "WATCHDOG_USEC": "2500000",
        "WATCHDOG_PID": "7",
        "LISTEN_FDS": "2",
        "LISTEN_PID": "7",
        "LISTEN_FDNAMES": "a:b",
        "SYSTEMD_EXEC_PID": "7",
    }
    assert take(environ, 7) == Given("@a", 2.5, (3, 4), unit=True)
    assert environ == {"PATH": "/bin"}


def test_what_is_meant_for_another_process_is_not_ours():
    """A daemon that somebody starts from a service, as a test or a job, inherits all of these."""
    environ = {"WATCHDOG_USEC": "1", "WATCHDOG_PID": "6", "LISTEN_FDS": "2", "LISTEN_PID": "6", "SYSTEMD_EXEC_PID": "6"}
    assert take(environ, 7) == Given()


@pytest.mark.parametrize("nonsense", ["", "-1", "many", "1.5", "²"])
def test_nonsense_is_as_good_as_nothing(nonsense):
    environ = {"LISTEN_FDS": nonsense, "LISTEN_PID": "7", "WATCHDOG_USEC": nonsense}
    assert take(environ, 7) == Given()


# -- sockets that are handed over ------------------------------------------------------------------------------------


@pytest.fixture
def made():
    """Makes sockets as systemd would; what is left of them is closed."""
    sockets = []

    def make(family, address, kind=socket.SOCK_STREAM, *, listen=True):
        sock = socket.socket(family, kind)
        sockets.append(sock)
        sock.bind(address)
        if listen:
            sock.listen()
        return sock.detach()

    yield make
    for sock in sockets:
        sock.close()


def test_the_socket_at_the_place_is_used_and_not_inherited(tmp_path, made):
    descriptor = made(socket.AF_UNIX, str(tmp_path / "s"))
    os.set_inheritable(descriptor, True)  # as after execve
    found = adopt(Given(sockets=(descriptor,)), tmp_path / "s")
    assert found is not None
    with found:
        assert (found.fileno(), found.getblocking(), found.get_inheritable()) == (descriptor, False, False)


def test_other_sockets_are_closed(tmp_path, made, caplog):
    others = (
        made(socket.AF_UNIX, str(tmp_path / "elsewhere")),
        made(socket.AF_INET, ("127.0.0.1", 0)),
        made(socket.AF_UNIX, str(tmp_path / "d"), socket.SOCK_DGRAM, listen=False),
    )
    assert adopt(Given(sockets=others), tmp_path / "s") is None
    assert caplog.text.count("not used") == len(others)
    for descriptor in others:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


# -- what is told ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    """A socket that hears what systemd would, and its address as NOTIFY_SOCKET has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        name = f"gflow-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "n")
        sock.bind("\0" + name if request.param == "abstract" else name)
        sock.settimeout(10)
        yield sock, ("@" + name if request.param == "abstract" else name)


def test_it_is_told(ear):
    sock, address = ear
    with closing(Manager(Given(address), Wake(), dict)) as manager:
        manager.tell("READY=1", "STATUS=here")
    assert sock.recv(100) == b"READY=1\nSTATUS=here"


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket", "@nobody-is-there"])
def test_nobody_to_tell_is_no_trouble(address):
    Manager(Given(address), Wake(), dict).tell("READY=1")


def test_one_that_does_not_listen_holds_nothing_up(ear):
    sock, address = ear
    with closing(Manager(Given(address), Wake(), dict)) as manager:
        for _ in range(10_000):  # more than any queue of datagrams holds
            manager.tell("READY=1")
    assert sock.recv(100) == b"READY=1"


async def test_the_watchdog_hears_of_passes_of_the_scheduler_only(ear, autojump_clock):
    sock, address = ear
    sock.settimeout(0)
    wake = Wake()
    manager = Manager(Given(address, watchdog_secs=20), wake, dict)
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run)
        await trio.testing.wait_all_tasks_blocked()
        assert sock.recv(100) == b"STATUS=no jobs"
        for _ in range(3):
            await wake.wait()  # it is asked for in time
            wake.clear()
            with pytest.raises(BlockingIOError):
                sock.recv(100)
            manager.beat()
            manager.beat()
            assert sock.recv(100) == b"WATCHDOG=1"
            with pytest.raises(BlockingIOError):
                sock.recv(100)
            await trio.sleep(10.5)
        nursery.cancel_scope.cancel()
    manager.close()


async def test_the_status_follows_the_queue_at_a_measured_pace(ear, autojump_clock):
    sock, address = ear
    sock.settimeout(0)
    counts = {State.RUNNING: 1}
    manager = Manager(Given(address), Wake(), lambda: counts)
    async with trio.open_nursery() as nursery:
        await nursery.start(manager.run)
        await trio.testing.wait_all_tasks_blocked()
        assert sock.recv(100) == b"STATUS=1 running"
        for number in range(2, 50):
            counts = {State.RUNNING: number}
            manager.beat()
            await trio.sleep(0.1)
        await trio.sleep(2)
        heard = []
        while True:
            try:
                heard.append(sock.recv(100))
            except BlockingIOError:
                break
        assert heard[-1] == b"STATUS=49 running"
        assert len(heard) < 10
        nursery.cancel_scope.cancel()
    manager.close()


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({}, "no jobs"),
        ({State.FINISHED: 5}, "no jobs"),
        ({State.RUNNING: 2, State.QUEUED: 5, State.HOLD: 1, State.FAILED: 3}, "2 running, 5 queued, 1 on hold"),
        ({State.QUEUED: 1, State.RUNNING: 0}, "1 queued"),
    ],
)
def test_the_status_in_words(counts, line):
    assert status_line(counts) == line


# -- a whole daemon --------------------------------------------------------------------------------------------------

_STARTER = """\
import os, socket, sys
path, notify = sys.argv[1], sys.argv[2]
listener = socket.socket(socket.AF_UNIX)
os.umask(0o177)
listener.bind(path)
listener.listen()
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), NOTIFY_SOCKET=notify, WATCHDOG_USEC="200000")
os.execv(sys.executable, [sys.executable, "-m", "gflow.cli.gflowd", "run", "--socket", path])
"""


@pytest.fixture
def run():
    """A directory with a short name, for sockets."""
    with tempfile.TemporaryDirectory(prefix="gf", dir="/tmp") as place:
        yield Path(place)


def test_a_daemon_takes_the_socket_says_that_it_is_ready_and_leaves_the_socket(tmp_path, run):
    path = run / "s"
    environ = {**os.environ, "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(run / "n"))
        ear.settimeout(30)
        command = [sys.executable, "-c", _STARTER, path, run / "n"]
        with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as daemon:
            try:
                heard = set()
                while not {"READY=1", "STATUS=no jobs", "WATCHDOG=1"} <= heard:
                    heard |= set(ear.recv(1000).decode().split("\n"))
            finally:
                daemon.terminate()
            log = daemon.communicate(timeout=30)[1]
        assert daemon.returncode == 0, log
        while "STOPPING=1" not in heard:
            heard |= set(ear.recv(1000).decode().split("\n"))
    assert path.is_socket(), "it belongs to systemd"
