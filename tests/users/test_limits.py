"""Where root may have cgroups, a limit is the kernel's in system mode, too: nothing of a job is outside, or leaves.

`contrib/cgroups` runs these under a kernel that has them.
"""

import re
import subprocess
from pathlib import Path

import pytest

from support.delegated import needs_memory_controller
from support.scratch import lives
from support.several_users import SystemDaemon, User
from support.wait import until

pytestmark = [pytest.mark.once, needs_memory_controller]

HOG = '/usr/bin/python3 -c \'import sys, time; held = b"x" * ({} << 20); print("holds", flush=True); time.sleep(600)\''
CGROUPS = Path("/sys/fs/cgroup")


def cgroup_of(pid: int) -> Path:
    return CGROUPS / Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::/")


def begun(system: SystemDaemon, user: User, rest: str, **fields: object) -> tuple[int, int]:
    """A job that says its process id, and then does the rest; both its ids."""
    job_id = system.submit_as(user, f"echo pid $$; {rest}", **{"memory_limit_mb": 100, **fields})
    said = system.wait_log(job_id, b"\n").decode()
    return job_id, int(said.split()[1])


def gone(system: SystemDaemon, job_id: int) -> bool:
    return not list(CGROUPS.glob(f"gflowd.service/gflow-*/{job_id}.*"))


def test_it_is_said_that_the_kernel_keeps_them(system: SystemDaemon, ana: User) -> None:
    assert system.get("/status")["limits"] == {"memory": "cgroup", "cpus": "cgroup", "why": None}
    done = system.as_user(ana, "gbatch", "--chdir", "/", "--memory", "1G", "true")
    assert done.stderr == "gbatch: the memory limit of 1G is kept by the kernel (cgroup)\n"


@pytest.mark.parametrize(
    "line",
    [
        HOG.format(300),
        f"{HOG.format(60)} & {HOG.format(60)} & wait",
        f"(setsid env -i {HOG.format(300)} &) & sleep 600",
        f"trap '' TERM INT; {HOG.format(300)}; sleep 600",
    ],
    ids=["one", "two together", "one that hides", "one that ignores signals"],
)
def test_over_its_limit_a_job_is_ended_for_it(system: SystemDaemon, ana: User, ben: User, line: str) -> None:
    other = system.submit_as(ben, "exec sleep 600", memory_limit_mb=100)
    job_id = system.submit_as(ana, line, memory_limit_mb=100)
    job = system.wait_job(job_id, 90)
    assert (job["state"], job["exit_code"], job["signal"]) == ("Failed", 137, "SIGKILL")
    assert job["status_detail"] == "out of memory: its limit is 100M"
    assert job["reason"] == {"SystemError": job["status_detail"]}
    assert system.states(other) == ["Running"]
    system.http("POST", f"/jobs/{other}/fail")
    system.wait_job(other)
    until(lambda: gone(system, job_id), "the end of its cgroup")


def test_limits_are_roots_and_no_process_leaves(system: SystemDaemon, ana: User) -> None:
    job_id, pid = begun(system, ana, "exec sleep 600", cpus=1)
    inner, top = cgroup_of(pid), cgroup_of(pid).parent
    assert (inner.name, top.name.partition(".")[0]) == ("job", str(job_id))
    said = {name: (top / name).read_text().split() for name in ("memory.max", "memory.swap.max", "cpu.max")}
    assert said["memory.max"] == [str(100 << 20)]
    assert said["cpu.max"] == ["100000", "100000"]
    assert said.get("memory.swap.max") in (None, ["0"])
    assert 0 < int((top / "pids.max").read_text()) < int(Path("/proc/sys/kernel/pid_max").read_text())
    assert (inner / "memory.oom.group").read_text() == "1\n"
    tries = [
        f"echo {pid} >{place}/cgroup.procs" for place in (CGROUPS, *top.parents[: -len(CGROUPS.parents)], top.parent)
    ]
    tries += [f"echo max >{place}/{name}" for place in (top, inner) for name in ("memory.max", "memory.high")]
    tries += [
        f"echo 0 >{inner}/memory.oom.group",
        f"mkdir {top}/x",
        f"mkdir {inner}/x",
        f"echo {pid} >{top}/cgroup.procs",
    ]
    for line in tries:
        assert ana.shell(line).returncode != 0, line
    assert cgroup_of(pid) == inner
    system.http("POST", f"/jobs/{job_id}/fail")
    system.wait_job(job_id)
    until(lambda: gone(system, job_id), "the end of its cgroup")


def test_nobody_else_moves_anything_into_it(system: SystemDaemon, ana: User, ben: User) -> None:
    job_id, pid = begun(system, ana, "exec sleep 600")
    mine, others = ana.start("sleep", "600"), ben.start("sleep", "600")
    try:
        for user, moved in ((ana, mine), (ana, others), (ben, others)):
            for place in (cgroup_of(pid), cgroup_of(pid).parent):
                assert user.shell(f"echo {moved.pid} >{place}/cgroup.procs").returncode != 0
    finally:
        for process in (mine, others):
            process.kill()
            process.wait()
    system.http("POST", f"/jobs/{job_id}/fail")
    system.wait_job(job_id)


def test_what_hides_from_everybody_ends_with_its_job(system: SystemDaemon, ana: User) -> None:
    hides = "(setsid env -i setsid sh -c 'echo $$ >hides; exec sleep 600' &) &"
    job_id, _ = begun(system, ana, f"{hides} exec sleep 600", run_dir=str(ana.home))
    pid = int(until(lambda: (ana.home / "hides").exists() and (ana.home / "hides").read_text(), "its process id"))
    system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
    assert system.wait_job(job_id)["state"] == "Cancelled"
    assert not lives(pid)


def test_what_somebody_moved_out_counts_all_the_same(system: SystemDaemon, ana: User) -> None:
    job_id, pid = begun(system, ana, f"until [ -e {ana.home}/out ]; do sleep 0.1; done; {HOG.format(300)}")
    (CGROUPS / "gflowd.service/elsewhere").mkdir(exist_ok=True)
    (CGROUPS / "gflowd.service/elsewhere/cgroup.procs").write_text(str(pid))
    (ana.home / "out").touch()
    job = system.wait_job(job_id, 90)
    assert job["state"] == "Failed"
    assert re.fullmatch(r"out of memory: used \d{3}M of 100M", job["status_detail"])
    until(lambda: subprocess.call(["rmdir", CGROUPS / "gflowd.service/elsewhere"]) == 0, "nothing there")


def test_limits_hold_over_a_restart_of_the_daemon(system: SystemDaemon, ana: User) -> None:
    wait = f"until [ -e {ana.home}/go ]; do sleep 0.1; done"
    job_id, pid = begun(system, ana, f"{wait}; {HOG.format(300)}")
    well, _ = begun(system, ana, f"{wait}; exit 3")
    left = cgroup_of(pid).parent.with_name("9999.left")
    left.mkdir()
    system.kill9()
    system.start()
    assert not left.exists()
    assert cgroup_of(pid).parent.exists()
    (ana.home / "go").touch()
    assert system.wait_job(job_id, 90)["status_detail"] == "out of memory: its limit is 100M"
    assert system.wait_job(well)["exit_code"] == 3
    until(lambda: gone(system, job_id), "the end of its cgroup")


def test_a_launch_that_was_cut_off_before_its_cgroup_was_entered_goes_on(system: SystemDaemon, ana: User) -> None:
    job_id, pid = begun(system, ana, "exec sleep 600")
    wrapper = int((cgroup_of(pid).parent / "wrapper/cgroup.procs").read_text().split()[0])
    (CGROUPS / "gflowd.service/gflowd/cgroup.procs").write_text(str(wrapper))
    system.kill9()
    system.start()
    until(lambda: cgroup_of(wrapper).name == "wrapper", "it is in its place")
    system.http("POST", f"/jobs/{job_id}/fail")
    system.wait_job(job_id)


def test_a_running_job_can_be_given_a_lower_limit(system: SystemDaemon, ana: User) -> None:
    job_id, _ = begun(system, ana, HOG.format(150), memory_limit_mb=900)
    system.wait_log(job_id, b"holds")
    assert system.ask(ana, "PATCH", f"/jobs/{job_id}", {"memory_limit_mb": 100}).status == 200
    assert system.wait_job(job_id, 90)["status_detail"] == "out of memory: its limit is 100M"


def test_what_was_printed_before_it_ran_out_is_in_the_log(system: SystemDaemon, ana: User) -> None:
    prints = "import sys; print('y' * 100 * 8000 + 'last words', flush=True); held = b'x' * (300 << 20)"
    job_id = system.submit_as(ana, argv=["/usr/bin/python3", "-c", prints], memory_limit_mb=100)
    assert system.wait_job(job_id, 90)["status_detail"] == "out of memory: its limit is 100M"
    assert system.log(job_id).endswith(b"last words\n")
