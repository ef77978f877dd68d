import errno
import os
import signal
import socket
import stat
from contextlib import closing

import pytest

from gflow.store.disk import DISK, private_directory, read_regular, write_new
from gflow.store.log import Log
from gflow.store.records import encode
from gflow.store.recovery.opening import open_state
from gflow.store.upkeep.check import check
from support.faulty_disk import FaultyDisk
from support.ledger import Ledger


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


def test_files_are_born_private_whatever_the_umask(tmp_path, open_umask):
    write_new(DISK, tmp_path / "file", [b"secret"])
    assert mode(tmp_path / "file") == 0o600


def test_directories_are_born_private_all_the_way_down(tmp_path, open_umask):
    private_directory(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o700
    assert mode(tmp_path / "a" / "b") == 0o700


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new(DISK, tmp_path / "file", [b"new"])
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        write_new(DISK, tmp_path / "link", [b"new"])
    assert not (tmp_path / "elsewhere").exists()


def test_a_write_that_fails_half_way_leaves_no_file(tmp_path):
    disk = FaultyDisk()
    disk.room = 5
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_new(disk, tmp_path / "file", [b"abc", b"defg"])
    assert list(tmp_path.iterdir()) == []


def test_short_writes_are_continued(tmp_path):
    disk = FaultyDisk()
    real_write = disk.write
    disk.write = lambda fd, data: real_write(fd, data[:2])
    write_new(disk, tmp_path / "file", [b"abcdefg"])
    assert (tmp_path / "file").read_bytes() == b"abcdefg"


def test_a_long_file_is_synced_as_it_grows(tmp_path):
    disk = FaultyDisk()
    write_new(disk, tmp_path / "file", [b"x" * 10] * 10, sync_every=40)
    assert disk.calls.count("sync") == 3
    assert disk.calls[-1] == "sync"


def test_bytes_written_again_change_nothing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abcdefg")
    DISK.write_again(path, 2, b"cd")
    assert path.read_bytes() == b"abcdefg"
    with pytest.raises(FileNotFoundError):
        DISK.write_again(tmp_path / "missing", 0, b"a")
    assert not (tmp_path / "missing").exists()


def test_the_name_of_a_new_directory_is_synced_and_that_of_the_one_it_is_in(tmp_path):
    disk = FaultyDisk()
    private_directory(tmp_path / "a", disk=disk)
    assert disk.calls == ["sync_directory", "make_directory", "sync_directory"]
    private_directory(tmp_path / "a", disk=disk)
    assert len(disk.calls) == 3


def test_a_directory_above_that_may_not_be_read_is_in_nobodys_way(tmp_path):
    disk = FaultyDisk()
    disk.failing = {"sync_directory": errno.EACCES}
    private_directory(tmp_path / "a", disk=disk)
    assert (tmp_path / "a").is_dir()
    disk.failing = {"sync_directory": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        private_directory(tmp_path / "b", disk=disk)


@pytest.fixture
def hang_guard():
    """What would wait for ever raises instead."""

    def give_up(number, frame):
        raise AssertionError("it waits")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def test_only_files_are_read(tmp_path, hang_guard):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"content"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    listening = socket.socket(socket.AF_UNIX)
    with closing(listening):
        listening.bind(str(tmp_path / "socket"))
        for name in ("pipe", "zeros", "socket"):
            with pytest.raises(OSError, match="is not a regular file") as caught:
                read_regular(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "ids",
        "ids.latest",
        "wal.acknowledged",
        "state.msgpack",
        "state.journal.jsonl",
        "wal-00000001.log",
        "wal-00000050.log",
    ],
)
def test_a_pipe_in_the_place_of_a_file_of_the_state_is_waited_for_by_nobody(tmp_path, hang_guard, name):
    ledger = Ledger()
    with closing(Log(tmp_path, 0)) as log:
        log.append([encode(ledger.submitted(2))], 1)
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    opened = open_state(tmp_path, 1e9)
    assert any(name in warning for warning in opened.loaded.warnings)
    assert (opened.recovery is None) == (not name.startswith(("wal-", "state.msgpack")))
    found = check(tmp_path, running=False)
    assert any(not finding.well for finding in found if finding.name == name)
    with closing(Log(tmp_path, 0x100)) as log:
        log.append([encode(ledger.submitted(1))], 2)
