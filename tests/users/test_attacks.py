"""What users might do to each other, and to root, by what is theirs: files, process ids, environments, their helper."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from support.scratch import lives
from support.several_users import SystemDaemon, User
from support.wait import until

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def running(system: SystemDaemon, ana: User) -> Iterator[int]:
    """A job of ana's that runs, with something to hide."""
    secret = {"SECRET_OF_ANA": "open sesame", "PATH": "/usr/bin:/bin"}
    job_id = system.submit_as(ana, "echo secret words; exec sleep 1000", environment=secret)
    system.wait_log(job_id)
    yield job_id
    system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
    system.wait_job(job_id)


@pytest.fixture
def victim(ben: User) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ben's that nobody else may end."""
    process = ben.start("sleep", "1000")
    yield process
    process.kill()
    process.wait()


def waiting(system: SystemDaemon, user: User) -> int:
    job_id = system.submit_as(user, "true", hold=True)
    assert system.job(job_id)["state"] == "Hold"
    return job_id


ROUTES = [
    ("GET", "attach", None),
    ("POST", "cancel", None),
    ("POST", "fail", None),
    ("POST", "signal", {"signal": 15}),
    ("POST", "redo", {}),
    ("DELETE", "terminal", None),
]


@pytest.mark.parametrize(("method", "verb", "body"), ROUTES)
def test_nobody_else_acts_on_a_running_job(system: SystemDaemon, ben: User, running: int, method, verb, body) -> None:
    answer = system.ask(ben, method, f"/jobs/{running}/{verb}", body)
    assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert system.job(running)["state"] == "Running"


@pytest.mark.parametrize(
    ("method", "verb", "body"),
    [
        ("POST", "/hold", None),
        ("POST", "/release", None),
        ("PATCH", "", {"priority": 20}),
        ("PATCH", "", {"command": "id"}),
    ],
)
def test_nobody_else_acts_on_a_waiting_job(system: SystemDaemon, ana: User, ben: User, method, verb, body) -> None:
    job_id = waiting(system, ana)
    assert system.ask(ben, method, f"/jobs/{job_id}{verb}", body).status == 403
    assert system.job(job_id)["state"] == "Hold"


def test_files_of_a_job_are_closed_to_others(system: SystemDaemon, ana: User, ben: User, running: int) -> None:
    directory = system.run_directory(ana, running)
    kept = next((system.jobs_dir / f"users/{ana.uid}/kept/environment").iterdir())
    assert "open sesame" in kept.read_text()
    for path in (system.log_file(running), kept, directory / "run.sh", directory / "record", directory):
        assert ana.run("cat" if path.is_file() else "ls", str(path)).returncode == 0
        assert "Permission denied" in ben.run("cat" if path.is_file() else "ls", str(path)).stderr
    for path in (system.data, system.data / "spool/env", system.jobs_dir / "logs", system.jobs_dir / "users"):
        assert "Permission denied" in ben.run("ls", str(path)).stderr


@pytest.mark.parametrize("what", ["log", "log/content", "log/stream", "processes"])
def test_where_jobs_are_not_to_be_looked_into_nobody_else_does(
    system: SystemDaemon, ana: User, ben: User, running: int, what: str
) -> None:
    assert system.ask(ana, "GET", f"/jobs/{running}/{what}").status == 200
    answer = system.ask(ben, "GET", f"/jobs/{running}/{what}")
    assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert "sleep" not in str(system.ask(ben, "GET", f"/jobs/{running}").body)


def test_only_the_owner_comes_to_the_terminal(system: SystemDaemon, ana: User, ben: User, running: int) -> None:
    argv = system.ask(ana, "GET", f"/jobs/{running}/attach").body["argv"]
    looks = ["tmux", "-S", argv[argv.index("-S") + 1], "has-session", "-t", argv[argv.index("-t") + 1]]
    assert ana.run(*looks).returncode == 0
    assert "Permission denied" in ben.run(*looks).stderr
    answer = system.http("GET", f"/jobs/{running}/attach")  # root, who could, but at the mercy of another's server
    assert (answer.status, "is for" in answer.body["error"]) == (403, True)


def test_no_administrator_chooses_what_runs_as_another_user(system: SystemDaemon, ana: User, running: int) -> None:
    job_id = waiting(system, ana)
    assert system.http("PATCH", f"/jobs/{job_id}", {"priority": 20}).status == 200
    for change in ({"command": "id"}, {"run_dir": "/tmp"}, {"parameters": {"x": "y"}}):
        answer = system.http("PATCH", f"/jobs/{job_id}", change)
        assert (answer.status, answer.body["code"]) == (403, "forbidden")
    assert system.ask(ana, "PATCH", f"/jobs/{job_id}", {"command": "true"}).status == 200


def test_no_administrator_runs_what_another_user_chose(system: SystemDaemon, ana: User) -> None:
    job_id = system.submit_as(ana, "exit 1")
    system.wait_job(job_id)
    assert system.http("POST", f"/jobs/{job_id}/redo", {}).status == 403
    made = system.ask(ana, "POST", f"/jobs/{job_id}/redo", {})
    assert made.status == 201
    assert system.wait_job(made.body["id"])["exit_code"] == 1


def test_root_reads_no_script_for_anybody(system: SystemDaemon, ana: User) -> None:
    answer = system.ask(ana, "POST", "/jobs", {"script": "/etc/shadow", "run_dir": "/"})
    assert (answer.status, "script_text" in answer.body["error"]) == (422, True)
    job_id = waiting(system, ana)
    assert system.ask(ana, "PATCH", f"/jobs/{job_id}", {"script": "/etc/shadow"}).status == 422


def test_nobody_learns_which_directories_there_are(system: SystemDaemon, ana: User, ben: User) -> None:
    """A directory that is not there, and one that may not be looked into, are the same to who asks."""
    (ana.home / "closed").mkdir()
    ana.home.chmod(0o700)
    for name in ("closed", "none"):
        job_id = system.submit_as(ben, "true", run_dir=str(ana.home / name / "deeper"))
        said = system.wait_job(job_id)["status_detail"].replace(name, "X")
        assert said.startswith(f"Cannot change to the working directory '{ana.home}/X/deeper'")


def test_a_log_cannot_be_made_a_way_to_other_files(system: SystemDaemon, ana: User) -> None:
    path = "${LOG}"
    tries = [
        f"ln -sf /etc/shadow {path}",
        f"rm -f {path}",
        f"mv {path} {path}x",
        f"ln {path} {path}x",
        f"mkfifo {path}y",
    ]
    line = "; ".join(f"({attempt}) 2>&1 | tail -n 1" for attempt in tries)
    job_id = system.submit_as(ana, f"LOG={system.jobs_dir}/logs/$GFLOW_JOB_ID.log; {line}; ls -l $LOG")
    system.wait_job(job_id)
    said = system.http("GET", f"/jobs/{job_id}/log/content").body["content"]
    assert said.count("Permission denied") == len(tries)
    assert "root:" not in said
    assert os.listdir(system.jobs_dir / "logs").count(f"{job_id}.logx") == 0


def test_a_log_that_looks_endless_costs_no_memory(system: SystemDaemon, ana: User) -> None:
    job_id = system.submit_as(ana, f"truncate -s 1T {system.jobs_dir}/logs/$GFLOW_JOB_ID.log")
    system.wait_job(job_id)
    assert system.http("GET", f"/jobs/{job_id}/log/content").body["size"] == 1 << 40
    before = resident_mb(system.pid)
    with contextlib.closing(system.connection()) as connection:
        connection.request("GET", f"/jobs/{job_id}/log/stream?last=5")
        assert connection.getresponse().read(1000) == b"\0" * 1000
    assert resident_mb(system.pid) < before + 64


def resident_mb(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20


def test_directories_of_a_user_lead_root_nowhere(system: SystemDaemon, ben: User, ana: User) -> None:
    """The user replaces his directories by links to what only root may change; nothing is made, changed or removed."""
    target = system.root / "roots"
    target.mkdir(mode=0o700)
    (target / "1.deadbeef").mkdir()
    mine = system.jobs_dir / f"users/{ben.uid}"
    job_id = system.submit_as(ben, "true")
    system.wait_job(job_id)
    assert ben.shell(f"mv {mine}/runs {mine}/runs.old && ln -s {target} {mine}/runs").returncode == 0
    try:
        job = system.wait_job(system.submit_as(ben, "true"))
        assert (job["state"], "runs" in job["status_detail"]) == ("Failed", True)
        system.restart()
        assert system.wait_job(system.submit_as(ben, "true"))["state"] == "Failed"
        assert [path.name for path in target.iterdir()] == ["1.deadbeef"]
        assert system.wait_job(system.submit_as(ana, "true"))["state"] == "Finished"
    finally:
        assert ben.shell(f"rm {mine}/runs && mv {mine}/runs.old {mine}/runs").returncode == 0
    assert until(lambda: system.wait_job(system.submit_as(ben, "true"))["state"] == "Finished", "a job of ben's")


def test_pipes_in_place_of_files_stop_nobody_else(system: SystemDaemon, ben: User, ana: User) -> None:
    job_id = system.submit_as(ben, "echo up; exec sleep 1000")
    system.wait_log(job_id)
    directory = system.run_directory(ben, job_id)
    assert ben.shell(f"cd {directory} && rm -f record started && mkfifo record started progress").returncode == 0
    for path in ("/progress", f"/jobs/{job_id}", f"/jobs/{job_id}/log/content", "/jobs"):
        assert system.http("GET", path).status == 200
    assert system.wait_job(system.submit_as(ana, "true"))["state"] == "Finished"
    assert system.ask(ben, "POST", f"/jobs/{job_id}/cancel").status == 200
    assert system.wait_job(job_id)["state"] == "Cancelled"


def test_a_forged_process_id_ends_nobody_else(
    system: SystemDaemon, ana: User, victim: "subprocess.Popen[bytes]"
) -> None:
    """Told that the job's main process is another user's, the next daemon does not touch that one, and ends the job."""
    job_id = system.submit_as(ana, "echo up; exec sleep 1000")
    system.wait_log(job_id)
    pid = until(lambda: system.get(f"/jobs/{job_id}/processes")["processes"], "its process")[0]["pid"]
    system.kill9()
    directory = system.run_directory(ana, job_id)
    assert ana.shell(f"cd {directory} && rm started && echo {victim.pid} {victim.pid} %0 >started").returncode == 0
    system.start()
    system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
    job = system.wait_job(job_id)
    assert job["state"] in ("Failed", "Cancelled")
    until(lambda: not lives(pid), "the end of the real process")
    assert victim.poll() is None


def test_who_claims_another_users_job_is_neither_ended_nor_waited_for(
    system: SystemDaemon, ana: User, ben: User
) -> None:
    """A process of ben's with the mark of ana's job: no process of that job."""
    job_id = system.submit_as(ana, "echo up; exec sleep 1000")
    system.wait_log(job_id)
    run_id = system.run_directory(ana, job_id).name.partition(".")[2]
    impostor = ben.start("sleep", "1000", env={"GFLOW_RUN_ID": run_id})
    try:
        pids = [process["pid"] for process in system.get(f"/jobs/{job_id}/processes")["processes"]]
        assert impostor.pid not in pids
        system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
        assert system.wait_job(job_id)["state"] == "Cancelled"
        assert impostor.poll() is None
    finally:
        impostor.kill()
        impostor.wait()


def test_a_user_id_that_means_somebody_else_by_now_runs_nothing(system: SystemDaemon, cem: User) -> None:
    job_id = waiting(system, cem)
    subprocess.run(["usermod", "-l", f"{cem.name}x", cem.name], check=True)
    try:
        assert system.http("POST", f"/jobs/{job_id}/release").status == 200
        job = system.wait_job(job_id)
    finally:
        subprocess.run(["usermod", "-l", cem.name, f"{cem.name}x"], check=True)
    assert job["state"] == "Failed"
    assert f"The user id {cem.uid} was '{cem.name}' and is '{cem.name}x' now" in job["status_detail"]


def test_nobody_has_a_terminal_of_another_users_job(system: SystemDaemon, ana: User, ben: User) -> None:
    theirs = system.submit_as(ana, "true")
    system.wait_job(theirs)
    mine = system.submit_as(ben, "echo up; exec sleep 1000")
    system.wait_log(mine)
    argv = system.ask(ben, "GET", f"/jobs/{mine}/attach").body["argv"]
    forged = ["tmux", "-S", argv[argv.index("-S") + 1], "new-session", "-d", "-s", f"gjob-{theirs}", "sleep", "1000"]
    assert ben.run(*forged).returncode == 0
    there = {terminal["id"] for terminal in system.get("/terminals")}
    assert (mine in there, theirs in there) == (True, False)
    assert ben.run(*forged[:3], "kill-session", "-t", f"=gjob-{theirs}").returncode == 0
    system.ask(ben, "POST", f"/jobs/{mine}/cancel")
    system.wait_job(mine)
