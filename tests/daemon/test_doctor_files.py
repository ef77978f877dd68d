"""What doctor says of files in the data directory that the daemon could not use: one finding, one command."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from gflow.config import Config
from gflow.daemon import doctor
from gflow.daemon.doctor import examine
from gflow.daemon.doctor_files import files
from gflow.daemon.finding import PROBLEM, Finding, Place

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave files of his")


@pytest.fixture
def data(monkeypatch):
    """The directory of somebody who is not root, as who the test goes on: root may read and write whatever there is."""
    was = os.geteuid()
    base = Path(tempfile.mkdtemp(dir="/tmp" if was == 0 else None))  # TMPDIR may be closed to him
    base.chmod(0o755)
    made = base / "gflow"
    for name in ("logs", "runs/1.aa", "spool/env"):
        (made / name).mkdir(parents=True)
    (made / "ids").touch()
    (made / "state.msgpack.backup.1").touch(0o400)
    if was == 0:
        for path in (made, *made.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(base / "config"))
    yield made
    os.seteuid(was)
    for path in made.rglob("*"):
        path.chmod(0o700)
    shutil.rmtree(base)


def place(data: Path) -> Place:
    return Place(data, data.parent / "run/s", Config)


def told(data: Path) -> Finding:
    (one,) = files(place(data))
    assert one.level == PROBLEM
    return one


def roots(*paths: Path) -> None:
    """What a `sudo gflowd` leaves."""
    was = os.geteuid()
    os.seteuid(0)
    for path in paths:
        if not path.is_dir():
            path.write_text("{}")
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.chown(path, 0, 0)
    os.seteuid(was)


def test_nothing_is_said_of_what_can_be_used(data):
    assert list(files(place(data))) == []
    assert list(files(place(data / "not-there"))) == []


def test_directories_of_the_wrong_mode(data):
    (data / "logs").chmod(0o500)
    (data / "spool/env").chmod(0o300)
    assert told(data).what == f"not usable for you in {data}: logs (mode 500), spool/env (mode 300)"
    assert told(data).remedy == f"run: chmod -R u+rwX {data}"


@as_root
def test_files_of_root_are_one_finding_with_one_command(data, monkeypatch):
    roots(data / "gflowd.lock", data / "gflowd.log", data / "logs", data / "wal-00000001.log")
    one = told(data)
    assert one.what == (
        f"not usable for you in {data}: gflowd.lock (of root), gflowd.log (of root), logs (of root) and 1 more"
    )
    assert one.remedy == f"run: sudo chown -R ada {data} && chmod -R u+rwX {data}"
    monkeypatch.setattr(doctor, "_CHECKS", (doctor.files, doctor._daemon))
    assert [found for found in examine(place(data)) if str(data) in found.what] == [one]


@as_root
def test_a_directory_elsewhere_is_mended_along(data):
    other = data.parent / "big"
    os.seteuid(0)
    other.mkdir()
    os.seteuid(NOBODY)
    (data / "logs").rmdir()
    (data / "logs").symlink_to(other)
    assert told(data).remedy == f"run: sudo chown -R ada {data} {other} && chmod -R u+rwX {data} {other}"
