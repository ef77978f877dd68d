"""The programs of gflow 0.4.18 with our daemon: every verb and every option they have, and what comes of it.

They come over TCP, from the package that their users have, with the configuration file that both read. What does not
work, and why, is in docs/moving-from-gflow.md; so is the table of what does, which is what this prints.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gflow.api.callers import user_name
from support.daemon import Daemon
from support.nvml import Driver, compile_stub
from support.runqd import Done, NotInstalled, Programs, Verb, install
from support.wait import until

pytestmark = pytest.mark.once

DOCUMENT = Path(__file__).parents[2] / "docs" / "moving-from-gflow.md"
MARKS = "<!-- verbs -->\n", "<!-- end of verbs -->"

WITHOUT: dict[tuple[Verb, str], int] = {
    (("gjob", "attach"), ""): 1,
    (("gqueue",), "--tmux"): 1,
    **{(("gjob", "close-sessions"), name): 2 for name in ("", "--all", "--jobs", "--state", "--pattern")},
}
"""What finds nothing to do, with the number of its reason in the document."""

HELD = "now+2h"


@dataclass
class Scene:
    """Its programs, our daemon, and what they do to it."""

    run: Programs
    daemon: Daemon

    def submit(self, *words: str, stdin: str | None = None) -> int:
        """The id of the job that its gbatch submitted."""
        return self.submit_all(*words, stdin=stdin)[0]

    def submit_all(self, *words: str, stdin: str | None = None) -> list[int]:
        told = self.run("gbatch", *words, stdin=stdin).out
        lines = [line for line in told.splitlines() if line.startswith("Submitted batch job ")]
        return [int(line.split()[3]) for line in lines]

    def waiting(self, *words: str) -> dict[str, Any]:
        """The record of a job that will wait for two hours."""
        return self.daemon.job(self.submit("--begin", HELD, *words))

    def ids(self, *words: str) -> list[int]:
        """The ids its gqueue shows."""
        return [int(row[0]) for row in self.run("gqueue", *words).rows]

    def state(self, job_id: int) -> str:
        return str(self.daemon.job(job_id)["state"])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return install(tmp_path_factory.mktemp("runqd"))
    except NotInstalled as reason:
        pytest.skip(f"{reason}; the clients of gflow 0.4.18 were not tried")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def foreign() -> Iterator[int]:
    """The id of a process from outside of gflow."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        yield process.pid
        process.kill()


def configured(daemon: Daemon, text: str) -> None:
    """Write the file that both gflows read."""
    path = daemon.root / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_every_verb_and_option_of_the_older_clients(programs: Path, tmp_path: Path) -> None:
    driver = Driver(tmp_path, compile_stub(tmp_path)).add(4)
    daemon = Daemon(environment={**driver.environment, "GFLOW_DAEMON_GPU_POLL_INTERVAL_SECS": "0.2"})
    port = free_port()
    configured(daemon, f'[daemon]\nhost = "localhost"\nport = {port}\nauth = "none"\n')
    environment = {**daemon.surroundings, "PATH": f"{programs}:{os.environ['PATH']}", "USER": "alice"}
    run = Programs(programs, daemon.work, environment)
    with foreign() as pid:
        driver.put(3, pid)
        with daemon:
            scene = Scene(run, daemon)
            submitting(scene)
            depending(scene)
            sweeping(scene)
            looking(scene)
            stopping(scene)
            changing(scene)
            doing_again(scene)
            steering_gpus(scene, pid)
            reserving(scene)
            setting_quotas(scene)
            counting(scene)
            what_there_is_not(scene)
            coming_ourselves(scene, f"http://localhost:{port}")
    table = verbs(run)
    sys.stdout.write(table + "\n")
    assert run.all - run.used - set(WITHOUT) == set(), "nothing was forgotten"
    if not DOCUMENT.exists():
        return  # installed without its documents
    documented = DOCUMENT.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    assert documented.strip() == table.strip(), f"this belongs into {DOCUMENT}:\n{table}"


def verbs(run: Programs) -> str:
    """Verb by verb what works, and what does not with the number of its reason."""
    lines = ["| command | options | | not |", "|---|---|---|---|"]
    for verb in sorted({verb for verb, _ in run.all}):
        names = sorted(name for of, name in run.used if of == verb and name and (verb, name) not in WITHOUT)
        without = sorted({f"`{name}` ({why})" for (of, name), why in WITHOUT.items() if of == verb and name})
        whole = WITHOUT.get((verb, ""))
        tick = f"no ({whole})" if whole else "✓"
        options = "" if whole else " ".join(f"`{name}`" for name in names)
        lines.append(f"| `{' '.join(verb)}` | {options} | {tick} | {'' if whole else ' '.join(without)} |")
    return "\n".join(lines)


# -- gbatch ----------------------------------------------------------------------------------------------------------


def submitting(scene: Scene) -> None:
    daemon = scene.daemon
    job_id = scene.submit("echo", "hello world")
    record = daemon.wait_job(job_id)
    assert (record["submitted_by"], record["state"], record["exit_code"]) == ("alice", "Finished", 0)
    assert daemon.log(job_id) == b"hello world\n"
    assert record["run_dir"] == str(daemon.work)

    script = daemon.work / "job.sh"
    script.write_text("#!/bin/bash\n# GFLOW --time 5\n# GFLOW --gpus 1\necho on $CUDA_VISIBLE_DEVICES\n")
    record = daemon.wait_job(job_id := scene.submit("job.sh"))
    assert (record["time_limit"]["secs"], record["gpus"], daemon.log(job_id)) == (300, 1, b"on 0\n")
    daemon.wait_job(job_id := scene.submit("-", stdin="echo from standard input\n"))
    assert daemon.log(job_id) == b"from standard input\n"
    scene.run("gbatch", "new", "mine")
    assert os.access(daemon.work / "mine.sh", os.X_OK)

    timed = scene.submit("--time", "0:01", "--auto-close", "sleep", "60")
    failing = scene.submit("--max-retries", "1", "false")
    record = scene.waiting(
        "--gpus", "2", "--priority", "20", "--name", "n1", "--project", "p", "--memory", "1G", "true"
    )
    asked = {"gpus": 2, "priority": 20, "run_name": "n1", "project": "p", "memory_limit_mb": 1024}
    assert {name: record[name] for name in asked} == asked
    assert (record["state"], record["reason"]) == ("Queued", "WaitingForStartTime")
    record = scene.waiting("--conda-env", "lab", "--notify-email", "a@b.cc", "--notify-on", "job_failed", "true")
    assert record["conda_env"] == "lab"
    assert record["notifications"] == {"emails": ["a@b.cc"], "events": ["job_failed"]}

    assert daemon.wait_job(timed)["state"] == "Timeout"
    assert daemon.wait_job(failing)["state"] == "Failed"
    again = until(lambda: [job for job in daemon.jobs().values() if job["retried_from"] == failing], "the retry")
    assert daemon.wait_job(again[0]["id"])["state"] == "Failed"

    before = len(daemon.jobs())
    assert "Would submit 3 array job(s)" in scene.run("gbatch", "--dry-run", "--array", "1-3", "true").out
    assert len(daemon.jobs()) == before
    array = scene.submit_all("--array", "1-3", "echo")
    assert [daemon.wait_job(each)["task_id"] for each in array] == [1, 2, 3]
    share = ("--gpus", "1", "--shared", "--gpu-memory", "10G", "sleep", "600")
    both = [daemon.wait_running(scene.submit(*share)) for _ in range(2)]
    assert [job["gpu_ids"] for job in both] == [[0], [0]]
    cancelled(scene, *(job["id"] for job in both))


def cancelled(scene: Scene, *job_ids: int) -> None:
    """Cancel these with its gcancel."""
    told = scene.run("gcancel", ",".join(map(str, job_ids))).out
    assert told.splitlines() == [f"Job {job_id} cancelled." for job_id in job_ids]
    assert {job["state"] for job in scene.daemon.wait_jobs([*job_ids])} == {"Cancelled"}


def depending(scene: Scene) -> None:
    daemon = scene.daemon
    first = scene.waiting("true")["id"]
    second = daemon.job(scene.submit("--depends-on", "@", "true"))
    assert (second["depends_on_ids"], second["reason"]) == ([first], "WaitingForDependency")
    either = daemon.job(scene.submit("--depends-on-any", f"1,{first}", "--no-auto-cancel", "true"))
    assert (either["dependency_mode"], either["auto_cancel_on_dependency_failure"]) == ("Any", False)
    all_of = daemon.job(scene.submit("--depends-on-all", f"{first},@~1", "true"))
    assert all_of["depends_on_ids"] == [first, second["id"]]
    assert daemon.wait_job(either["id"])["state"] == "Finished"
    cancelled(scene, first)
    ended = daemon.wait_jobs([second["id"], all_of["id"]])
    assert [job["reason"] for job in ended] == [{"DependencyFailed": first}] * 2
    refused = scene.run("gbatch", "--depends-on", "999", "true", status=1)
    assert "999 does not exist" in refused.err


def sweeping(scene: Scene) -> None:
    daemon = scene.daemon
    words = ("--param", "x=1,2", "--param", "y=a,b", "--max-concurrent", "1", "--name-template", "t{x}{y}")
    jobs = scene.submit_all(*words, "sh", "-c", "echo {x} {y}; sleep 600")
    assert [daemon.job(each)["run_name"] for each in jobs] == ["t1a", "t1b", "t2a", "t2b"]
    daemon.wait_log(jobs[0])
    assert daemon.states(*jobs) == ["Running", "Queued", "Queued", "Queued"]
    assert "(2 jobs affected)" not in scene.run("gctl", "set-limit", str(jobs[0]), "2").out
    daemon.wait_running(jobs[1])
    assert daemon.wait_log(jobs[1]) == b"1 b\n"
    group = daemon.job(jobs[0])["group_id"]
    scene.run("gctl", "set-limit", group, "3")
    daemon.wait_running(jobs[2])
    (daemon.work / "p.csv").write_text("a,b\n1,2\n3,4\n")
    rows = scene.submit_all("--param-file", "p.csv", "echo", "{a}-{b}")
    daemon.wait_jobs(rows)
    assert [daemon.log(each) for each in rows] == [b"1-2\n", b"3-4\n"]
    cancelled(scene, *jobs)


# -- gqueue ----------------------------------------------------------------------------------------------------------


def looking(scene: Scene) -> None:
    daemon, run = scene.daemon, scene.run
    jobs = daemon.jobs()
    live = [job_id for job_id, job in jobs.items() if job["state"] in ("Queued", "Hold", "Running")]
    over = [job_id for job_id in jobs if job_id not in live]
    assert scene.ids() == live
    assert scene.ids("--all", "--user", "alice") == [*jobs]
    assert scene.ids("--all", "--user", "bob") == []
    assert scene.ids("--completed") == over
    assert scene.ids("--all", "--since", "1h") == [*jobs]
    assert scene.ids("--states", "F,Timeout") == [i for i in over if jobs[i]["state"] in ("Failed", "Timeout")]
    assert scene.ids("--all", "--jobs", "1,2") == [1, 2]
    assert scene.ids("--names", "n1") == scene.ids("--project", "p") != []
    assert scene.ids("--sort", "priority")[-1] == scene.ids("--names", "n1")[0]
    limited = run("gqueue", "--states", "CD", "--limit", "2").out
    assert limited.startswith("Showing first 2 of ")
    columns = run("gqueue", "--all", "--jobs", "2", "--format", "JOBID,ST,TIMELIMIT,USER").out.split()
    assert columns == ["JOBID", "ST", "TIMELIMIT", "USER", "2", "CD", "00:05:00", "alice"]
    assert "Queued (" in run("gqueue", "--group").out
    pair = scene.waiting("true")["id"]
    child = scene.submit("--depends-on", str(pair), "true")
    tree = run("gqueue", "--tree", "--jobs", f"{pair},{child}").out
    assert f"╰─{child}" in tree
    waits = {row[0]: row[-1] for row in run("gqueue").rows}
    assert (waits[str(pair)], waits[str(child)]) == ("(BeginTime)", "(Dependency)")
    told = json.loads(run("gqueue", "--all", "--jobs", "1", "--output", "json").out)
    assert [(job["id"], job["state"], job["user"]) for job in told["jobs"]] == [(1, "Finished", "alice")]
    watching = run.start("gqueue", "--watch", "--interval", "1")
    with watching:
        assert watching.stdout is not None
        seen = next(line for line in watching.stdout if line.split()[:1] == [str(pair)])
        watching.kill()
    assert "(BeginTime)" in seen
    run.note("gqueue", "--watch", "--interval")
    cancelled(scene, pair)


# -- gcancel ---------------------------------------------------------------------------------------------------------


def stopping(scene: Scene) -> None:
    daemon, run = scene.daemon, scene.run
    running = scene.submit("sleep", "600")
    daemon.wait_running(running)
    assert run("gcancel", str(running), "--dry-run").out == f"{running}\tRunning\tok\n"
    assert scene.state(running) == "Running"
    waiting = [scene.waiting("true")["id"] for _ in range(2)]
    run("gcancel", f"{running}-{waiting[-1]}")
    assert {job["state"] for job in daemon.wait_jobs([running, *waiting])} == {"Cancelled"}
    for option, state in (("--finish", "Finished"), ("--fail", "Failed")):
        job_id = scene.submit("sleep", "600")
        daemon.wait_running(job_id)
        run("gcancel", option, str(job_id))
        assert daemon.wait_job(job_id)["state"] == state
    assert "does not exist" in run("gcancel", "9999", status=1).err
    assert "has ended already: Cancelled" in run("gcancel", str(running), status=1).err


# -- gjob ------------------------------------------------------------------------------------------------------------


def changing(scene: Scene) -> None:
    daemon, run = scene.daemon, scene.run
    for words, lines in ((("1",), 3), (("--first", "1", "1"), 1), (("--last", "2", "1"), 2)):
        (daemon.data / "logs" / "1.log").write_text("a\nb\nc\n")
        assert len(run("gjob", "log", *words).out.splitlines()) == lines
    job_id = scene.waiting("true")["id"]
    run("gjob", "hold", str(job_id))
    assert scene.state(job_id) == "Hold"
    assert "scheduled to start at" in run("gjob", "release", str(job_id), "--at", "now+3h").out
    assert daemon.job(job_id)["reason"] == "WaitingForStartTime"
    run("gjob", "hold", str(job_id))
    updating(scene, job_id)
    shown = run("gjob", "show", f"1,{job_id}").out
    assert f"ID={job_id}\n  State=Hold (H)\n  Priority=3" in shown
    run("gjob", "release", str(job_id))
    cancelled(scene, job_id)
    assert "cannot be updated" in run("gjob", "update", "1", "--priority", "1").err


def updating(scene: Scene, job_id: int) -> None:
    def update(*words: str) -> dict[str, Any]:
        told = scene.run("gjob", "update", str(job_id), *words)
        assert told.out.startswith(f"Job {job_id} updated successfully."), told
        return scene.daemon.job(job_id)

    update("--command", "echo {a}", "--param", "a=1", "--gpus", "1", "--conda-env", "lab", "--priority", "3")
    update("--time-limit", "10", "--memory-limit", "1G", "--gpu-memory", "2G", "--max-retries", "2")
    job = update("--depends-on", "1", "--no-auto-cancel-on-dep-failure")
    asked = {
        "command": "echo {a}",
        "parameters": {"a": "1"},
        "gpus": 1,
        "conda_env": "lab",
        "priority": 3,
        "memory_limit_mb": 1024,
        "gpu_memory_limit_mb": 2048,
        "max_retries": 2,
        "depends_on_ids": [1],
        "auto_cancel_on_dependency_failure": False,
    }
    assert {name: job[name] for name in asked} == asked
    assert job["time_limit"]["secs"] == 600
    assert update("--depends-on-any", "1,2")["dependency_mode"] == "Any"
    job = update("--depends-on-all", "1,2", "--auto-cancel-on-dep-failure")
    assert (job["dependency_mode"], job["auto_cancel_on_dependency_failure"]) == ("All", True)
    job = update("--clear-conda-env", "--clear-time-limit", "--clear-memory-limit", "--clear-gpu-memory-limit")
    assert (job["conda_env"], job["time_limit"], job["memory_limit_mb"], job["gpu_memory_limit_mb"]) == (None,) * 4
    assert update("--clear-max-retries")["max_retries"] == 0
    job = update("--script", str(scene.daemon.work / "job.sh"))
    assert (job["command"], job["script"]) == (None, str(scene.daemon.work / "job.sh"))
    grouped = scene.submit_all("--array", "1-2", "--begin", HELD, "--max-concurrent", "1", "true")
    scene.run("gjob", "update", str(grouped[0]), "--max-concurrent", "2")
    assert scene.daemon.job(grouped[1])["max_concurrent"] == 2
    scene.run("gjob", "update", str(grouped[0]), "--clear-max-concurrent")
    assert scene.daemon.job(grouped[1])["max_concurrent"] is None
    cancelled(scene, *grouped)


def doing_again(scene: Scene) -> None:
    def redo(*words: str) -> list[int]:
        told = scene.run("gjob", "redo", *words).out
        return [int(line.split()[3]) for line in told.splitlines() if line.startswith("Submitted batch job ")]

    (again,) = redo("1")
    job = scene.daemon.wait_job(again)
    assert (job["redone_from"], job["command"], job["state"]) == (1, "echo 'hello world'", "Finished")
    begin = scene.waiting("true")["id"]
    options = ("--gpus", "1", "--priority", "7", "--time", "5", "--memory", "100M", "--gpu-memory", "1G")
    (again,) = redo("1", *options, "--conda-env", "lab", "--depends-on", str(begin))
    job = scene.daemon.job(again)
    asked = {"gpus": 1, "priority": 7, "memory_limit_mb": 100, "gpu_memory_limit_mb": 1024, "conda_env": "lab"}
    assert {name: job[name] for name in asked} == asked
    assert (job["depends_on_ids"], job["time_limit"]["secs"]) == ([begin], 300)
    cancelled(scene, begin)
    (free,) = redo(str(again), "--clear-deps")
    assert scene.daemon.job(free)["depends_on_ids"] == []
    told = scene.run("gjob", "redo", "--cascade", str(begin)).out
    assert f"Job {again} → Job " in told
    running = [job["id"] for job in scene.daemon.jobs().values() if job["redone_from"] is not None]
    scene.daemon.wait_jobs(running)


# -- gctl, ginfo -----------------------------------------------------------------------------------------------------


def steering_gpus(scene: Scene, pid: int) -> None:
    run, daemon = scene.run, scene.daemon
    assert run("ginfo").rows == [
        ["gpu", "3", "0,1,2", "idle"],
        ["gpu", "1", "3", "allocated", f"(unmanaged(pid={pid}))"],
    ]
    process = ("--gpu", "3", "--pid", str(pid))
    run("gctl", "gpu-process", "ignore", *process)
    assert run("gctl", "gpu-process", "list").out == f"gpu=3\tpid={pid}\n"
    holder = daemon.wait_running(scene.submit("--gpus", "4", "sleep", "600"))
    assert holder["gpu_ids"] == [0, 1, 2, 3]
    assert run("gqueue", "--jobs", str(holder["id"])).rows[0][-1] == "0,1,2,3"
    assert run("ginfo").rows == [["gpu", "4", "0,1,2,3", "allocated", str(holder["id"]), f"({holder['run_name']})"]]
    cancelled(scene, holder["id"])
    run("gctl", "gpu-process", "unignore", *process)
    assert run("gctl", "gpu-process", "list").out == "No ignored GPU processes\n"
    assert "only GPUs [0, 1] will be used" in run("gctl", "set-gpus", "0,1").out
    shown = [line.split("\t")[:3] for line in run("gctl", "show-gpus").out.splitlines()]
    assert shown[:3] == [["0", "available"], ["1", "available"], ["2", "in_use", "restricted"]]
    assert "Invalid GPU indices [9]" in run("gctl", "set-gpus", "0,9", status=1).err
    run("gctl", "set-gpus", "all")
    assert daemon.get("/info")["allowed_gpu_indices"] is None


def reserving(scene: Scene) -> None:
    run = scene.run

    def reserve(*words: str) -> str:
        return run("gctl", "reserve", "create", *words).out.rpartition("ReservationID=")[2].strip()

    first = reserve("--user", "alice", "--gpus", "1", "--start", "2031-01-28T14:00:00Z", "--duration", "2h")
    zone = ("--timezone", "Asia/Shanghai")
    second = reserve("--user", "bob", "--gpu-spec", "0,2", "--start", "2031-01-29 14:00", "--duration", "30m", *zone)
    start = scene.daemon.get(f"/reservations/{second}")["start_time"]["secs_since_epoch"]
    assert start == 1927432800, "six in the morning, in UTC"

    def listed(*words: str) -> list[str]:
        told = run("gctl", "reserve", "list", *words)
        return [] if told.out == "No reservations found.\n" else [row[0] for row in told.rows]

    assert listed() == [first, second]
    assert listed("--user", "bob", "--status", "pending") == [second]
    assert listed("--active") == []
    line = ("gctl", "reserve", "list", "--timeline")
    assert "0 active, 2 pending" in run(*line, "--range", "48h").out
    assert "bob (GPU: GPU[0,2])" in run(*line, "--from", "2031-01-28 00:00", "--to", "2031-01-30 00:00").out
    assert "User=alice\n  GPUCount=1\n" in run("gctl", "reserve", "get", first).out
    run("gctl", "reserve", "cancel", first)
    assert scene.daemon.get(f"/reservations/{first}")["status"] == "Cancelled"
    assert "99 does not exist" in run("gctl", "reserve", "cancel", "99", status=1).err


def setting_quotas(scene: Scene) -> None:
    run = scene.run
    limits = ("--max-running-jobs", "3", "--max-running-gpus", "2", "--max-queued-jobs", "50")
    subjects = (("--user", "carol"), ("--project", "q"), ("--default-user",), ("--default-project",))
    for subject in subjects:
        run("gctl", "quota", "set", *subject, *limits)
    told = {row["scope"] + row["name"]: row["limits"] for row in scene.daemon.get("/quotas")["quotas"]}
    limit = {"max_running_jobs": 3, "max_running_gpus": 2, "max_queued_jobs": 50}
    assert [told[name] for name in ("usercarol", "projectq", "default_user", "default_project")] == [limit] * 4
    assert ["user", "carol", "0/3", "0/2", "0/50"] in run("gctl", "quota", "list").rows
    for subject in subjects:
        run("gctl", "quota", "remove", *subject)
    assert scene.daemon.get("/quotas")["overrides"] == {}
    assert "no matching quota" in run("gctl", "quota", "remove", "--default-user", status=1).err


# -- gstats ----------------------------------------------------------------------------------------------------------


def counting(scene: Scene) -> None:
    jobs = len(scene.daemon.jobs())

    def total(done: Done) -> int:
        return int(json.loads(done.out)["total_jobs"])

    assert f"Total Jobs:      {jobs}\n" in scene.run("gstats").out
    assert total(scene.run("gstats", "--all-users", "--output", "json")) == jobs
    assert total(scene.run("gstats", "--user", "bob", "--output", "json")) == 0
    assert total(scene.run("gstats", "--since", "1h", "--output", "json")) == jobs


# -- what does not work ----------------------------------------------------------------------------------------------


def what_there_is_not(scene: Scene) -> None:
    """They look for terminals in the user's own tmux server, where ours are not."""
    run = scene.run
    job_id = scene.submit("sleep", "600")
    scene.daemon.wait_running(job_id)
    assert "does not exist" in run("gjob", "attach", str(job_id)).err
    assert run("gqueue", "--tmux").out == "No jobs found.\n"
    told = run("gjob", "close-sessions", "--all")
    assert "no sessions to close" in told.out + told.err
    run("gjob", "close-sessions", "--jobs", "1", "--state", "Finished", "--pattern", "x")
    cancelled(scene, job_id)


# -- our own commands over TCP ---------------------------------------------------------------------------------------


def coming_ourselves(scene: Scene, url: str) -> None:
    """Our own commands take the same way, under their user's name."""
    daemon = scene.daemon

    def ours(*words: str, status: int = 0) -> str:
        done = daemon.cli(*words, GFLOW_URL=url)
        assert done.returncode == status, done
        return done.stderr if status else done.stdout

    job_id = int(ours("gbatch", "--parsable", "echo", "over TCP"))
    assert ours("gjob", "log", "-f", "@") == "over TCP\n"
    assert daemon.wait_job(job_id)["submitted_by"] == user_name(os.getuid())
    assert str(job_id) in ours("gqueue", "-a")
    assert "GFLOW_SSH_HOST" in ours("gjob", "attach", "@", status=1)
    assert f"TCP: {url} (without authentication)\n" in daemon.cli("gflowd", "status").stdout


def test_our_commands_and_the_older_daemon(programs: Path) -> None:
    """What both know works; what it would not understand is not sent to it."""
    scratch = Daemon()
    port = free_port()
    configured(scratch, f'[daemon]\nhost = "127.0.0.1"\nport = {port}\n')
    url = f"http://127.0.0.1:{port}"
    environment = {**scratch.environment, "PATH": f"{programs}:{os.environ['PATH']}", "USER": "alice"}
    run = Programs(programs, scratch.work, environment)

    def ours(*words: str, status: int = 0) -> str:
        done = scratch.cli(*words, GFLOW_URL=url)
        assert done.returncode == status, done
        assert status == 0 or done.stderr.count("\n") == 1, done
        return done.stderr if status else done.stdout

    try:
        with (scratch.root / "older.log").open("wb") as log, run.start("gflowd", stdout=log) as older:
            until(lambda: scratch.cli("ginfo", GFLOW_URL=url).returncode == 0, "the older daemon")
            run("gbatch", "--begin", HELD, "true")
            assert "older gflow" in ours("gbatch", "true", status=1)
            assert "older gflow" in ours("gqueue", status=1)
            assert json.loads(run("gqueue", "--output", "json").out)["total"] == 1
            ours("gjob", "hold", "1")
            assert "State=Hold" in ours("gjob", "show", "1")
            ours("gjob", "release", "1")
            ours("gctl", "quota", "set", "--user", "bob", "--max-running-jobs", "2")
            assert "bob" in ours("gctl", "quota", "list")
            ours("gcancel", "1")
            assert "Total:           1\n" in ours("gstats", "-a")
            older.terminate()
    finally:
        scratch.close()


def test_a_port_for_other_machines_stops_the_start() -> None:
    daemon = Daemon("--host", "0.0.0.0", "--auth", "none")
    try:
        daemon.begin()
        assert daemon.process is not None
        assert daemon.process.wait(20) == 1
        (line,) = daemon.said().splitlines()[-1:]
        assert line.startswith("gflowd: daemon.host: 0.0.0.0 is 0.0.0.0, and with daemon.auth")
        assert not daemon.socket.exists()
    finally:
        daemon.close()
