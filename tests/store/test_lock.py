import errno
import fcntl
import json
import os
import stat
import subprocess
import sys

import pytest

from gflow.store.lock import NAME, DataLock, Held, forget, holder, socket_of_holder


def test_a_second_holder_is_told_who_has_it(tmp_path):
    with DataLock(tmp_path, socket="/run/first.sock", started=1.0), pytest.raises(Held) as caught:
        DataLock(tmp_path, socket="/run/second.sock", started=2.0)
    assert (caught.value.pid, caught.value.socket) == (os.getpid(), "/run/first.sock")
    message = str(caught.value)
    assert "\n" not in message
    assert all(fact in message for fact in (str(tmp_path), str(os.getpid()), "/run/first.sock"))


def test_a_refused_holder_takes_nothing_away(tmp_path):
    with DataLock(tmp_path, socket="/run/first.sock", started=1.0) as lock:
        body = lock.path.read_bytes()
        for _ in range(2):
            with pytest.raises(Held):
                DataLock(tmp_path, socket="/run/second.sock", started=2.0)
        assert lock.path.read_bytes() == body


@pytest.mark.parametrize("also_made_anew", [False, True])
def test_removing_the_file_lets_nobody_in(tmp_path, also_made_anew):
    with DataLock(tmp_path, socket="/run/first.sock", started=1.0) as lock:
        lock.path.unlink()
        if also_made_anew:
            lock.path.touch()
        with pytest.raises(Held, match="in use by another gflowd") as caught:
            DataLock(tmp_path, socket="b", started=2.0)
        assert caught.value.pid is None
    DataLock(tmp_path, socket="b", started=2.0).close()


def test_a_file_system_that_locks_no_directories_is_no_obstacle(tmp_path, monkeypatch):
    flock = fcntl.flock

    def files_only(descriptor, kind):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with DataLock(tmp_path, socket="a", started=1.0), pytest.raises(Held):
        DataLock(tmp_path, socket="b", started=2.0)


def test_the_next_one_gets_it_after_close(tmp_path):
    first = DataLock(tmp_path, socket="a" * 200, started=1.0)
    first.close()
    first.close()
    with DataLock(tmp_path, socket="b", started=2.0) as second:
        assert json.loads(second.path.read_bytes()) == {"pid": os.getpid(), "started": 2.0, "socket": "b"}


def test_where_a_daemon_listened_is_said_until_it_is_forgotten(tmp_path):
    with DataLock(tmp_path, socket="/s", started=1.0) as lock:
        forget(tmp_path)
        assert json.loads(lock.path.read_bytes())["pid"] == os.getpid(), "one that is there is left alone"
    assert json.loads(lock.path.read_bytes()) == {"socket": "/s"}
    assert (holder(tmp_path), socket_of_holder(tmp_path)) == (None, None)
    with DataLock(tmp_path, socket="", started=2.0):
        pass
    assert json.loads(lock.path.read_bytes()) == {"socket": "/s"}
    forget(tmp_path)
    assert lock.path.read_bytes() == b""
    forget(tmp_path / "none")


def test_a_holder_that_has_said_nothing_yet_is_still_one(tmp_path):
    with DataLock(tmp_path, socket="a", started=1.0) as lock:
        os.truncate(lock.path, 0)
        with pytest.raises(Held, match="in use by another gflowd") as caught:
            DataLock(tmp_path, socket="b", started=2.0)
    assert caught.value.pid is None


def test_missing_directories_are_made_private(tmp_path):
    with DataLock(tmp_path / "share" / "gflow", socket="a", started=1.0) as lock:
        assert stat.S_IMODE(lock.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(lock.path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(lock.path.parent.parent.stat().st_mode) == 0o700


def test_the_lock_is_not_inherited_by_programs_we_start(tmp_path):
    with DataLock(tmp_path, socket="a", started=1.0):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
    try:
        DataLock(tmp_path, socket="b", started=2.0).close()
    finally:
        child.kill()
        child.wait()


def test_the_lock_of_a_killed_holder_is_free(tmp_path):
    program = (
        "import sys, pathlib; from gflow.store.lock import DataLock;"
        "lock = DataLock(pathlib.Path(sys.argv[1]), socket='a', started=1.0);"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(Held) as caught:
            DataLock(tmp_path, socket="b", started=2.0)
        assert caught.value.pid == other.pid
        other.kill()
        other.wait()
    DataLock(tmp_path, socket="b", started=2.0).close()
    assert (tmp_path / NAME).exists()
