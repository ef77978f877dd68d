import errno
import os
import stat

import pytest

from gflow.store.disk import DISK, private_directory, write_new
from support.faulty_disk import FaultyDisk


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
