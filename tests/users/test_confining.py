"""What root does about limits of users' jobs; directories stand for cgroups, which `test_limits` has."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.core.model import Exit, Job
from gflow.launch import cgroups
from gflow.launch.cgroups import Cgroups
from gflow.launch.confined import confined_over
from gflow.launch.patience import Patience
from gflow.launch.processes import Process, read_stat
from gflow.launch.script import UNCONFINED
from gflow.users import confining, holder
from gflow.users.confining import Confining
from support.tmux_server import make_job

HERE = os.getpid()


def process_of(pid: int) -> Process:
    stat = read_stat(pid)
    assert stat is not None
    return stat.process


@pytest.fixture
def standing_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cgroups:
    monkeypatch.setattr(cgroups, "_write", lambda path, text: path.write_text(text))
    (tmp_path / "cgroups").mkdir()
    return Cgroups(tmp_path / "cgroups", frozenset({"memory", "cpu"}))


@pytest.fixture
def kept(standing_in: Cgroups, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Confining:
    monkeypatch.setattr(cgroups.os, "chown", lambda *_: None)
    made = Confining(tmp_path, lambda _: standing_in)
    made.begin()
    return made


@pytest.fixture
def job() -> Job:
    return make_job(7, uid=os.geteuid(), memory_mb=100, cpus=1)


@pytest.fixture
def sleeper() -> Iterator[Process]:
    with subprocess.Popen(["sleep", "600"]) as child:
        yield process_of(child.pid)
        child.kill()


def name(job: Job) -> str:
    return f"{job.id}.{job.run_id}"


def test_a_job_with_limits_is_awaited_in_its_cgroup(kept: Confining, standing_in: Cgroups, job: Job) -> None:
    made = kept.make(job, 1000)
    assert made.cgroup == str(standing_in.directory / name(job) / "job/cgroup.procs")
    assert made.within == name(job)
    assert kept.make(make_job(8), 1000) == UNCONFINED


async def test_without_cgroups_it_is_awaited_nowhere(tmp_path: Path, job: Job, sleeper: Process) -> None:
    watched = Confining(tmp_path, lambda _: None)
    watched.begin()
    made = watched.make(job, 1000)
    assert (made.cgroup, made.within) == (None, None)
    watched.admit(job, sleeper)
    assert watched.with_all_in_it(job, [sleeper], None) == [sleeper]
    assert watched.judge(job, Exit(137, 1.0, None)) == Exit(137, 1.0, None)
    assert await watched.memory_over(make_job(8, memory_mb=1 << 20), [process_of(HERE)], Patience()) is None
    assert (await watched.memory_over(make_job(8, memory_mb=1), [process_of(HERE)], Patience()) or 0) > 0
    watched.drop(job)
    watched.sweep([])
    watched.close()


def test_jobs_of_different_users_have_cpus_of_their_own(
    kept: Confining, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    monkeypatch.setattr(confining, "usable_cpus", lambda: frozenset({0, 1}))
    kept = Confining(Path("/"), lambda _: None)
    other = replace(make_job(8, uid=2, cpus=1), run_id="other")
    assert [kept.make(job, 1).cpus, kept.make(other, 2).cpus] == ["0", "1"]
    kept.drop(job)
    assert kept.make(replace(other, run_id="again"), 2).cpus == "0"


def test_only_a_process_of_the_jobs_user_is_moved(
    kept: Confining, standing_in: Cgroups, job: Job, sleeper: Process
) -> None:
    kept.make(job, 1000)
    moved = standing_in.directory / name(job) / "wrapper/cgroup.procs"
    kept.admit(make_job(7, uid=os.geteuid() + 1, memory_mb=100), sleeper)
    kept.admit(job, sleeper._replace(start_ticks=1))
    assert not moved.exists()
    kept.take_up(job, sleeper)
    assert moved.read_text() == str(sleeper.pid)


def test_what_is_in_the_cgroup_is_the_jobs_but_for_its_wrapper(
    kept: Confining, standing_in: Cgroups, job: Job, sleeper: Process
) -> None:
    kept.make(job, 1000)
    (standing_in.directory / name(job) / "wrapper/cgroup.procs").write_text(f"{HERE}\n")
    (standing_in.directory / name(job) / "job/cgroup.procs").write_text(f"{sleeper.pid}\n")
    assert kept.with_all_in_it(job, [], process_of(HERE)) == [sleeper]
    assert kept.with_all_in_it(job, [sleeper], process_of(HERE)) == [sleeper]


def test_it_ran_out_if_the_kernel_says_so(kept: Confining, standing_in: Cgroups, job: Job) -> None:
    kept.make(job, 1000)
    events = standing_in.directory / name(job) / "memory.events"
    events.write_text("low 0\noom 1\noom_kill 0\n")
    how = Exit(137, 1.0, None)
    assert kept.judge(job, how) == how
    events.write_text("low 0\noom 1\noom_kill 2\n")
    assert kept.judge(job, how).text == "out of memory: its limit is 100M"
    assert kept.judge(job, how).memory_ran_out
    assert kept.judge(job, Exit(0, 1.0, None)).text is None


async def test_what_is_outside_of_the_cgroup_counts_with_what_is_in_it(standing_in: Cgroups) -> None:
    outside = process_of(HERE)
    standing_in.make("7.x", 1, None)
    (standing_in.directory / "7.x/memory.stat").write_text(f"anon {1 << 20}\n")
    assert (await confined_over(standing_in, "7.x", 1, [outside], None, Patience()) or 0) > 1 << 20
    assert await confined_over(standing_in, "7.x", 1 << 20, [outside], None, Patience()) is None
    (standing_in.directory / "7.x/cgroup.procs").write_text(f"{outside.pid}\n")
    assert await confined_over(standing_in, "7.x", 1, [outside], None, Patience()) is None
    assert await confined_over(standing_in, "7.x", None, [outside], None, Patience()) is None


def test_what_does_not_go_at_once_goes_later(kept: Confining, standing_in: Cgroups, job: Job) -> None:
    stays = replace(make_job(8, memory_mb=1), run_id="stays")
    for one in (job, stays):
        kept.make(one, 1000)
        for file in (path for path in (standing_in.directory / name(one)).rglob("*") if path.is_file()):
            file.unlink()  # the kernel's own, which are no obstacle
    busy = standing_in.directory / name(stays) / "busy"
    busy.touch()
    kept.drop(stays)
    assert standing_in.names() == {name(job), name(stays)}
    busy.unlink()
    kept.drop(job)
    assert standing_in.names() == set()


def test_systemd_is_asked_for_a_unit_only_where_that_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int | None] = []
    monkeypatch.setattr(holder, "hold", lambda _: 4711)
    for why in ("no controller", None):
        monkeypatch.setattr(confining, "why_no_controller", lambda why=why: why)
        Confining(tmp_path, asked.append, own_unit=True).begin()
    monkeypatch.setattr(holder, "hold", refuse)
    Confining(tmp_path, asked.append, own_unit=True).begin()
    assert asked == [HERE, 4711, HERE]


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What it was asked; of the main process it says what is in the file `pid` beside."""
    asked, program = tmp_path / "asked", tmp_path / "systemctl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{asked}\nread -r pid <{tmp_path}/pid && echo $pid\n')
    program.chmod(0o700)
    (tmp_path / "pid").write_text("0\n")
    monkeypatch.setattr(holder, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    return asked


def test_a_unit_is_held_by_the_process_that_is_there_or_one_that_sleeps(
    tmp_path: Path, systemctl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[tuple[Path, list[str]]] = []

    def start(place: Path, command: list[str], *_: object) -> str | None:
        started.append((place, command[1:]))
        if len(started) == 1:
            return "no room"
        (tmp_path / "pid").write_text("4711\n")
        return None

    monkeypatch.setattr(holder, "start_in_unit", start)
    with pytest.raises(holder.NotHeld, match="no room"):
        holder.hold(tmp_path)
    assert [holder.hold(tmp_path), holder.hold(tmp_path)] == [4711, 4711]
    assert started == [(tmp_path, ["infinity"])] * 2
    holder.let_go(tmp_path)
    assert systemctl.read_text().splitlines()[-1].startswith("stop gflow-jobs-")


def test_without_systemctl_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holder, "_ENVIRONMENT", {"PATH": str(tmp_path)})
    monkeypatch.setattr(holder, "start_in_unit", lambda *_: "systemd-run is not installed")
    with pytest.raises(holder.NotHeld, match="systemd-run is not installed"):
        holder.hold(tmp_path)


def refuse(_place: Path) -> int:
    raise holder.NotHeld("no reason given")


def test_a_unit_that_somebody_has_ended_is_asked_for_again(
    kept: Confining, standing_in: Cgroups, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    standing_in.directory.rmdir()
    monkeypatch.setattr(Confining, "_place", lambda _: standing_in.directory.mkdir())
    assert kept.make(job, 1000).within == name(job)


def test_a_unit_that_no_job_needs_is_let_go(
    tmp_path: Path, standing_in: Cgroups, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    gone: list[Path] = []
    monkeypatch.setattr(holder, "hold", lambda _: 4711)
    monkeypatch.setattr(holder, "let_go", gone.append)
    monkeypatch.setattr(confining, "why_no_controller", lambda: None)
    monkeypatch.setattr(cgroups.os, "chown", lambda *_: None)
    kept = Confining(tmp_path, lambda _: standing_in, own_unit=True)
    kept.begin()
    kept.make(job, 1000)
    kept.close()
    assert gone == []
    (standing_in.directory / name(job)).rename(tmp_path / "over")
    kept.close()
    assert gone == [tmp_path]
