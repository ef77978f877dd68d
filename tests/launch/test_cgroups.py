"""Where there can be no cgroups it is said why; where there can, they keep what they are told, and leave nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gflow.launch import cgroups
from gflow.launch.cgroups import Cgroups, Own, Unavailable
from support.delegated import needs_memory_controller


def hierarchy(tmp_path: Path, path: str, controllers: str = "cpu memory pids") -> Path:
    """Directories that look like a cgroup of this path."""
    own = tmp_path / path
    own.mkdir(parents=True, exist_ok=True)
    for directory in (own, *own.parents):
        (directory / "cgroup.controllers").write_text(controllers)
        (directory / "cgroup.subtree_control").write_text("")
        if directory == tmp_path:
            return own
        (directory / "cgroup.type").write_text("domain\n")
    raise AssertionError(path)


@pytest.mark.parametrize(
    ("path", "controllers", "why"),
    [
        (
            "user.slice/session-2.scope",
            "cpu memory",
            "jobs have no unit of their own, and the daemon no cgroup of its own in session-2.scope",
        ),
        ("app.slice/gflowd.service", "cpu memory", "no cgroup of its own in gflowd.service"),
        ("gflowd.service/gflowd", "hugetlb", "cgroup v2 has no memory controller here"),
        ("unit", "", "cgroup v2 has no memory controller here"),
    ],
)
def test_it_is_said_why_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, controllers: str, why: str
) -> None:
    own = hierarchy(tmp_path, path, controllers)
    monkeypatch.setattr(cgroups, "_own", lambda _: Own(own, tmp_path))
    with pytest.raises(Unavailable) as told:
        Cgroups.open(tmp_path, os.getpid())
    assert why in str(told.value)
    assert not list(own.glob("gflow-*"))


def test_outside_of_the_hierarchy_that_is_seen_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own", lambda _: None)
    with pytest.raises(Unavailable, match="there is no cgroup v2 here"):
        Cgroups.open(tmp_path, os.getpid())
    leaf = hierarchy(tmp_path, "gflowd")
    monkeypatch.setattr(cgroups, "_own", lambda _: Own(leaf, leaf))
    with pytest.raises(Unavailable, match="outside of this container"):
        Cgroups.open(tmp_path, os.getpid())


def test_whatever_this_machine_has_the_answer_is_one_or_the_other(tmp_path: Path) -> None:
    own = cgroups._own(os.getpid())
    assert own is None or own.directory.is_dir()
    if own is None or "memory" not in (own.directory / "cgroup.controllers").read_text().split():
        with pytest.raises(Unavailable):
            Cgroups.open(tmp_path, os.getpid())


@needs_memory_controller
def test_a_cgroup_has_its_limits_and_goes_with_its_job(tmp_path: Path) -> None:
    made = Cgroups.open(tmp_path, os.getpid())
    try:
        assert made.make("7.run", 100, 2) == made.directory / "7.run/cgroup.procs"
        said = {name: (made.directory / "7.run" / name).read_text().strip() for name in ("memory.max", "cpu.max")}
        assert said == {"memory.max": str(100 << 20), "cpu.max": "200000 100000"}
        assert (made.directory / "7.run/memory.oom.group").read_text() == "1\n"
        made.hold("7.run", 50)
        assert (made.directory / "7.run/memory.max").read_text().strip() == str(50 << 20)
        made.hold("7.run", None)
        assert (made.directory / "7.run/memory.max").read_text().strip() == "max"
        assert made.ran_out_at("7.run") is None
        (made.directory / "7.run/of the job").mkdir()
        made.make("8.run", 100, None)
        made.sweep({"8.run"})
        assert (made.has("7.run"), made.has("8.run")) == (False, True)
        made.remove("8.run")
        made.hold("8.run", 5)
        assert list(made.directory.glob("*.run")) == []
    finally:
        made.directory.rmdir()


@needs_memory_controller
def test_the_unit_of_the_tmux_server_is_divided_with_all_that_is_in_it(tmp_path: Path) -> None:
    around = Cgroups.open(tmp_path, os.getpid()).directory
    unit = around / "gflow-jobs-12345678.service"
    unit.mkdir()
    server, job = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        for process in (server, job):
            (unit / "cgroup.procs").write_text(str(process.pid))
        made = Cgroups.open(tmp_path, server.pid)
        assert made.directory.parent == unit
        assert (unit / "gflowd/cgroup.procs").read_text().split() == [str(server.pid), str(job.pid)]
        made.make("7.run", 100, 1)
        assert Cgroups.open(tmp_path, server.pid).has("7.run"), "so a later daemon finds it"
        made.remove("7.run")
    finally:
        for process in (server, job):
            process.kill()
            process.wait()
        for directory in (*unit.glob("gflow*"), unit, around):
            directory.rmdir()


OPENS = """
import os, sys
from pathlib import Path
from gflow.launch.cgroups import Cgroups, Unavailable
os.write(os.open(sys.argv[1] + "/cgroup.procs", os.O_WRONLY), b"0")
try:
    print(Cgroups.open(Path(sys.argv[2]), os.getpid()).directory.parent)
except Unavailable as trouble:
    print(trouble)
print(Path("/proc/self/cgroup").read_text().strip().rpartition("/")[2])
"""


@needs_memory_controller
@pytest.mark.parametrize("alone", [True, False])
def test_a_daemon_that_is_alone_in_its_cgroup_divides_that(tmp_path: Path, *, alone: bool) -> None:
    around = Cgroups.open(tmp_path, os.getpid()).directory
    box = around / "box"
    box.mkdir()
    other = subprocess.Popen(["sleep", "600"])
    try:
        if not alone:
            (box / "cgroup.procs").write_text(str(other.pid))
        command = [sys.executable, "-c", OPENS, str(box), str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        assert said == ([str(box), "gflowd"] if alone else [f"{box} cannot be used: Device or resource busy", "box"])
    finally:
        other.kill()
        other.wait()
        for directory in (*box.glob("gflow*"), box, around):
            directory.rmdir()


@pytest.fixture
def standing_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroups:
    """Directories in the place of cgroups: what is written to them can be read, and nothing keeps any limit."""
    monkeypatch.setattr(cgroups, "_write", lambda path, text: path.write_text(text))
    monkeypatch.setattr(cgroups, "_most_processes", lambda: 99)
    monkeypatch.setattr(cgroups.os, "chown", lambda path, uid, _gid: path.with_name(f"of {uid}: {path.name}").touch())
    return Cgroups(tmp_path, frozenset({"memory", "cpu", "pids"}))


def test_of_a_job_of_another_user_root_keeps_all_but_the_way_inside(standing_in: Cgroups) -> None:
    top = standing_in.directory / "7.run"
    assert standing_in.make_for(1000, "7.run", 100, 2) == top / "job/cgroup.procs"
    standing_in.admit("7.run", 4711)
    said = {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()}
    assert said == {
        "cgroup.subtree_control": "+memory",
        "memory.max": str(100 << 20),
        "memory.swap.max": "0",
        "cpu.max": "200000 100000",
        "pids.max": "99",
        "job/memory.oom.group": "1",
        "wrapper/cgroup.procs": "4711",
        "of 1000: cgroup.procs": "",
        "job/of 1000: cgroup.procs": "",
    }
    assert [oct(place.stat().st_mode)[-3:] for place in (top.parent, top, top / "job")] == ["711", "755", "755"]
    standing_in.set_memory("7.run", None)
    assert [(top / name).read_text() for name in ("memory.max", "memory.swap.max")] == ["max", "max"]


def test_what_is_in_a_cgroup_is_found_whatever_is_below_it(standing_in: Cgroups) -> None:
    assert (standing_in.pids("7.run"), standing_in.held_bytes("7.run"), standing_in.names()) == (set(), 0, set())
    standing_in.make_for(1000, "7.run", 100, None)
    for place, pids in (("wrapper", "11"), ("job", "12\n13\n0"), ("job/its own", "14")):
        (standing_in.directory / "7.run" / place).mkdir(exist_ok=True)
        (standing_in.directory / "7.run" / place / "cgroup.procs").write_text(f"{pids}\n")
    (standing_in.directory / "7.run/memory.stat").write_text("anon 100\nfile 5000\nshmem 20\n")
    assert standing_in.pids("7.run") == {11, 12, 13, 14}
    assert standing_in.held_bytes("7.run") == 120
    assert standing_in.names() == {"7.run"}


def test_whether_any_cgroup_could_keep_memory_is_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = hierarchy(tmp_path, "system.slice/gflowd.service")
    monkeypatch.setattr(cgroups, "_own", lambda _: Own(own, tmp_path))
    assert cgroups.why_no_controller() is None
    (tmp_path / "cgroup.controllers").write_text("cpu pids\n")
    assert cgroups.why_no_controller() == "cgroup v2 has no memory controller here"
    monkeypatch.setattr(cgroups, "_own", lambda _: None)
    assert cgroups.why_no_controller() == "there is no cgroup v2 here"
