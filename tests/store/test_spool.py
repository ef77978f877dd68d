import errno
import hashlib
import os
import shutil
import stat
import threading

import pytest

from gflow.store.spool import Spool
from support.faulty_disk import FaultyDisk


@pytest.fixture
def disk():
    return FaultyDisk()


@pytest.fixture
def spool(tmp_path, disk):
    return Spool(tmp_path / "spool", disk=disk)


def stored(spool, kind):
    return {path.name for path in spool.path(kind, "0" * 64).parent.iterdir()}


def test_content_is_kept_under_its_digest(spool):
    digest = spool.put("env", b"SECRET=1\0")
    assert digest == hashlib.sha256(b"SECRET=1\0").hexdigest()
    assert spool.path("env", digest).read_bytes() == b"SECRET=1\0"


def test_files_and_directories_are_private(spool):
    path = spool.path("script", spool.put("script", b"#!/bin/sh\n"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


def test_a_directory_that_somebody_removed_is_made_again(spool, tmp_path):
    digest = spool.put("env", b"A=1\0")
    shutil.rmtree(tmp_path / "spool")
    assert not spool.pin("env", digest)
    for data in (b"A=1\0", b"B=1\0"):
        assert spool.path("env", spool.put("env", data)).read_bytes() == data
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_kinds_are_kept_apart(spool):
    digest = spool.put("env", b"x")
    assert not spool.path("script", digest).exists()


def test_content_and_name_are_on_disk_before_put_returns(spool, disk):
    disk.calls.clear()
    spool.put("env", b"x")
    assert disk.calls == ["create", "write", "sync", "replace", "sync_directory"]


def test_what_is_there_already_costs_no_sync(spool, disk):
    spool.put("env", b"x")
    disk.calls.clear()
    spool.put("env", b"x")
    assert disk.calls == []


def test_what_an_earlier_daemon_stored_costs_no_sync(spool, tmp_path):
    spool.put("env", b"x")
    disk = FaultyDisk()
    again = Spool(tmp_path / "spool", disk=disk)
    assert disk.calls == ["sync_directory", "sync_directory"], "its names are made durable once"
    again.put("env", b"x")
    assert disk.calls == ["sync_directory", "sync_directory"]


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_content_that_was_spoilt_is_stored_anew(spool, spoil):
    path = spool.path("env", spool.put("env", b"x"))
    spoil(path)
    spool.put("env", b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize(
    "digest", ["", "..", "../../etc/passwd", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n", "0" * 63 + "/"]
)
def test_what_is_no_digest_names_no_file(spool, digest):
    with pytest.raises(ValueError, match="not a SHA-256"):
        spool.path("env", digest)


def test_a_failed_put_leaves_nothing(spool, disk):
    disk.failing = {"sync": errno.EIO}
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        spool.put("env", b"x")
    assert stored(spool, "env") == set()
    disk.failing = {}
    digest = spool.put("env", b"x")
    spool.unpin("env", digest)
    spool.sweep("env", set())
    assert stored(spool, "env") == set(), "the failed put keeps no pin"


def test_leftovers_of_a_crash_are_cleared_away(spool, tmp_path):
    (tmp_path / "spool" / "env" / ".new-3").write_bytes(b"half")
    Spool(tmp_path / "spool")
    assert stored(spool, "env") == set()


def test_sweep_keeps_what_is_needed(spool):
    live, dead = (spool.put("env", content) for content in (b"live", b"dead"))
    spool.unpin("env", live)
    spool.unpin("env", dead)
    spool.sweep("env", {live})
    assert stored(spool, "env") == {live}


def test_sweep_leaves_other_files_alone(spool, tmp_path):
    (tmp_path / "spool" / "env" / "notes.txt").touch()
    spool.sweep("env", set())
    assert stored(spool, "env") == {"notes.txt"}


def test_a_submission_in_flight_is_never_swept(spool):
    digest = spool.put("env", b"x")
    spool.put("env", b"x")
    spool.unpin("env", digest)
    spool.sweep("env", set())
    assert stored(spool, "env") == {digest}
    spool.unpin("env", digest)
    spool.sweep("env", set())
    assert stored(spool, "env") == set()


def test_pinning_what_is_there_costs_no_write_and_keeps_it(spool, disk):
    digest = spool.put("env", b"x")
    spool.unpin("env", digest)
    disk.calls.clear()
    assert spool.pin("env", digest)
    assert disk.calls == []
    spool.sweep("env", set())
    assert stored(spool, "env") == {digest}
    spool.unpin("env", digest)
    spool.sweep("env", set())
    assert stored(spool, "env") == set()
    assert not spool.pin("env", digest)


def test_what_was_removed_or_is_elsewhere_cannot_be_pinned(spool):
    digest = spool.put("env", b"x")
    assert not spool.pin("script", digest)
    spool.path("env", digest).unlink()
    assert not spool.pin("env", digest)
    spool.unpin("env", digest)
    assert spool.condemn("env", set()) == {digest}, "a pin that failed leaves none behind"


def test_what_is_stored_anew_while_a_sweep_is_under_way_stays(spool):
    digest = spool.put("env", b"x")
    spool.unpin("env", digest)
    condemned = spool.condemn("env", set())
    assert condemned == {digest}
    spool.put("env", b"x")
    spool.unpin("env", digest)
    spool.remove("env", condemned)
    assert spool.path("env", digest).read_bytes() == b"x"


def test_many_submissions_and_a_sweep_at_once(spool):
    """Whoever has put something finds it until the pin is gone, however busy the sweeper is."""
    missing = []
    done = threading.Event()

    def submit():
        for n in range(100):
            digest = spool.put("env", b"%d" % (n % 5))
            if not spool.path("env", digest).exists():
                missing.append(digest)
            spool.unpin("env", digest)

    def sweep():
        while not done.is_set():
            spool.sweep("env", set())

    submitters = [threading.Thread(target=submit) for _ in range(3)]
    sweeper = threading.Thread(target=sweep)
    for thread in (sweeper, *submitters):
        thread.start()
    for thread in submitters:
        thread.join(60)
    done.set()
    sweeper.join(60)
    assert missing == []
