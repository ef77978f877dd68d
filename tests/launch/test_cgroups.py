"""Where there can be no cgroups it is said why; where there can, they keep what they are told, and leave nothing."""

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
        ("user.slice/session-2.scope", "cpu memory", "the daemon has no cgroup of its own in session-2.scope"),
        ("app.slice/gflowd.service", "cpu memory", "(systemd: DelegateSubgroup=gflowd)"),
        ("gflowd.service/gflowd", "hugetlb", "cgroup v2 has no memory controller here"),
        ("unit", "", "cgroup v2 has no memory controller here"),
    ],
)
def test_it_is_said_why_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, controllers: str, why: str
) -> None:
    own = hierarchy(tmp_path, path, controllers)
    monkeypatch.setattr(cgroups, "_own", lambda: Own(own, tmp_path))
    with pytest.raises(Unavailable) as told:
        Cgroups.open(tmp_path)
    assert why in str(told.value)
    assert not list(own.glob("gflow-*"))


def test_outside_of_the_hierarchy_that_is_seen_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_own", lambda: None)
    with pytest.raises(Unavailable, match="there is no cgroup v2 here"):
        Cgroups.open(tmp_path)
    leaf = hierarchy(tmp_path, "gflowd")
    monkeypatch.setattr(cgroups, "_own", lambda: Own(leaf, leaf))
    with pytest.raises(Unavailable, match="is not one of this container"):
        Cgroups.open(tmp_path)


def test_whatever_this_machine_has_the_answer_is_one_or_the_other(tmp_path: Path) -> None:
    own = cgroups._own()
    assert own is None or own.directory.is_dir()
    if own is None or "memory" not in (own.directory / "cgroup.controllers").read_text().split():
        with pytest.raises(Unavailable):
            Cgroups.open(tmp_path)


@needs_memory_controller
def test_a_cgroup_has_its_limits_and_goes_with_its_job(tmp_path: Path) -> None:
    made = Cgroups.open(tmp_path)
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
