"""In system mode every job is its submitter's through and through, and nobody else's."""

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess

import pytest

from gflow.launch.ending import KILLED, SERVER_LOST
from gflow.users import becoming
from gflow.users.accounts import account_of
from support.several_users import SystemDaemon, User
from support.wait import until

pytestmark = pytest.mark.once

ABOUT = """
import json, os, resource, signal
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
mask = os.umask(0)
print("ABOUT", json.dumps({
    "uids": os.getresuid(), "gids": os.getresgid(), "groups": sorted(os.getgroups()), "umask": mask,
    "env": dict(os.environ), "cwd": os.getcwd(), "nice": os.nice(0),
    "fds": {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")[:-1]},
    "ignored": [n for n in (1, 2, 3, 15) if int(status["SigIgn"], 16) >> (n - 1) & 1],
    "blocked": int(status["SigBlk"], 16), "score": int(open("/proc/self/oom_score_adj").read()),
    "caps": [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")],
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "tty": os.ttyname(0),
    "terminal_owner": os.fstat(0).st_uid, "keys": open("/proc/keys").read() if os.path.exists("/proc/keys") else "",
}))
"""


def about(system: SystemDaemon, user: User, **fields: object) -> dict:
    job_id = system.submit_as(user, argv=["/usr/bin/python3", "-c", ABOUT], **fields)
    assert system.wait_job(job_id)["exit_code"] == 0
    said = system.log(job_id).decode()
    return json.loads(said.split("ABOUT ", 1)[1].splitlines()[0].replace("\n", ""))


def test_a_job_is_its_submitter_through_and_through(system: SystemDaemon, ana: User) -> None:
    told = about(system, ana, umask=0o027, run_dir=str(ana.home))
    assert told["uids"] == [ana.uid] * 3
    assert told["gids"] == [ana.gid] * 3
    assert told["groups"] == sorted(os.getgrouplist(ana.name, ana.gid))
    assert len(told["groups"]) > 1
    assert told["umask"] == 0o027
    assert told["cwd"] == str(ana.home)
    assert told["terminal_owner"] == ana.uid


def test_nothing_of_root_is_left_in_a_job(system: SystemDaemon, ana: User) -> None:
    told = about(system, ana)
    assert "swordfish" not in json.dumps(told)
    assert {name: told["env"][name] for name in ("HOME", "USER", "LOGNAME", "SHELL")} == {
        "HOME": str(ana.home),
        "USER": ana.name,
        "LOGNAME": ana.name,
        "SHELL": "/bin/bash",
    }
    assert not {"XDG_RUNTIME_DIR", "XDG_DATA_HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "SUDO_USER"} & told["env"].keys()
    assert {told["fds"][fd] for fd in ("0", "1", "2")} == {told["tty"]}
    assert all(target.startswith("/proc/") for fd, target in told["fds"].items() if int(fd) > 2)
    assert (told["ignored"], told["blocked"], told["nice"], told["score"]) == ([], 0, 0, 0)
    assert told["caps"] == [0, 0, 0, 0]
    assert told["files"] <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert all(f" {ana.uid} " in line for line in told["keys"].splitlines() if "_ses:" in line and " 3f03" in line) or (
        not told["keys"]
    )


def test_a_job_has_the_limits_that_pam_gives_its_user(system: SystemDaemon, dan: User) -> None:
    job_id = system.submit_as(dan, "ulimit -S -n; ulimit -H -n; ulimit -H -c; ulimit -n 700")
    job = system.wait_job(job_id)
    assert system.log(job_id).splitlines()[:3] == [b"321", b"654", b"0"]
    assert job["exit_code"] != 0, "nobody raises his own limits"


def test_the_environment_at_submission_comes_on_top_of_that_of_a_login(system: SystemDaemon, ana: User) -> None:
    told = about(system, ana, environment={"MODEL": "a b", "HOME": "/elsewhere"})["env"]
    assert (told["MODEL"], told["HOME"], told["USER"]) == ("a b", "/elsewhere", ana.name)


def test_ps_shows_the_jobs_of_two_users_as_theirs(system: SystemDaemon, ana: User, ben: User) -> None:
    jobs = {user: system.submit_as(user, "echo here; exec sleep 1000") for user in (ana, ben)}
    for user, job_id in jobs.items():
        system.wait_log(job_id)

        def shown(job_id: int = job_id, user: User = user) -> list[list[str]]:
            processes = system.ask(user, "GET", f"/jobs/{job_id}/processes").body["processes"]
            ps = ["ps", "-o", "uid=,args=", *(str(process["pid"]) for process in processes)]
            said = subprocess.run(ps, capture_output=True, text=True, check=False).stdout
            return [line.split(None, 1) for line in said.splitlines()]

        until(lambda user=user: shown() == [[str(user.uid), "sleep 1000"]], "the one process of the job")
        log = system.log_file(job_id).stat()
        assert (log.st_uid, log.st_gid, log.st_mode & 0o777) == (user.uid, user.gid, 0o600)
    for user, job_id in jobs.items():
        assert system.ask(user, "POST", f"/jobs/{job_id}/cancel").status == 200
        assert system.wait_job(job_id)["state"] == "Cancelled"


def test_a_script_of_odd_characters_runs_as_typed_and_nowhere_else(system: SystemDaemon, ana: User) -> None:
    odd = "$(touch /tmp/gflow-odd); `touch /tmp/gflow-odd` 'a' \"b\" \\ \n#{pane_id} ;"
    directory = ana.home / odd.replace("/", "_")
    directory.mkdir()
    os.chown(directory, ana.uid, ana.gid)
    text = 'printf "%s|" "$1" "$GFLOW_PARAM_WORD" "$ODD" "$GFLOW_JOB_NAME" "$PWD" >"$HOME/odd"\nid -u >"$HOME/who"\n'
    job_id = system.submit_as(
        ana,
        run_dir=str(directory),
        script="odd $(x).sh",
        script_text=text,
        script_args=[odd],
        parameters={"word": odd},
        environment={"ODD": odd, "PATH": "/usr/bin:/bin"},
        run_name="$(touch _gflow-odd) 'x' \"y\"",
        project="$(id) 'p'",
    )
    job = system.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Finished", 0)
    said = (ana.home / "odd").read_text()
    assert said == f"{odd}|{odd}|{odd}|$(touch _gflow-odd) 'x' \"y\"|{directory}|"
    assert (ana.home / "who").read_text() == f"{ana.uid}\n"
    assert not os.path.exists("/tmp/gflow-odd")


def test_a_directory_is_entered_as_the_user(system: SystemDaemon, ana: User, ben: User) -> None:
    private = ana.home / "private"
    private.mkdir(mode=0o700)
    os.chown(private, ana.uid, ana.gid)
    ours, theirs = (system.wait_job(system.submit_as(user, "pwd", run_dir=str(private))) for user in (ana, ben))
    assert ours["state"] == "Finished"
    assert theirs["state"] == "Failed"
    assert "Cannot change to the working directory" in theirs["status_detail"]


def test_jobs_go_on_and_are_accounted_exactly_over_kill_9(system: SystemDaemon, ana: User, ben: User) -> None:
    fifo = ana.home / "gate"
    os.mkfifo(fifo, 0o600)
    os.chown(fifo, ana.uid, ana.gid)
    ends, stays = system.submit_as(ana, f"echo up; cat {fifo}; exit 3"), system.submit_as(ben, "echo up; sleep 1000")
    for job_id in (ends, stays):
        system.wait_log(job_id, b"up\n")
    wrapper = next(p["pid"] for p in system.get(f"/jobs/{ends}/processes")["processes"])
    system.kill9()
    fifo.write_text("opened\n")
    until(lambda: not os.path.exists(f"/proc/{wrapper}"), "the end of the job while no daemon is there")
    system.start()
    job = system.wait_job(ends)
    assert (job["state"], job["exit_code"]) == ("Failed", 3)
    assert system.log(ends) == b"up\nopened\n"
    assert system.job(stays)["state"] == "Running"
    assert system.ask(ben, "POST", f"/jobs/{stays}/cancel").status == 200
    assert system.wait_job(stays)["state"] == "Cancelled"


def test_a_time_limit_holds_though_the_helper_is_stopped(system: SystemDaemon, ana: User, ben: User) -> None:
    job_id = system.submit_as(ana, "trap '' INT TERM; echo up; while :; do sleep 1000; done")
    system.wait_log(job_id, b"up\n")
    helper = system.helper_of(ana)
    os.kill(helper, signal.SIGSTOP)
    try:
        assert system.wait_job(system.submit_as(ben, "true"))["state"] == "Finished"
        assert system.ask(ana, "POST", f"/jobs/{job_id}/cancel").status == 200

        def gone() -> bool:
            return not system.http("GET", f"/jobs/{job_id}/processes").body.get("processes")

        until(gone, "the end of its processes")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(helper, signal.SIGCONT)
    assert system.wait_job(job_id)["state"] == "Cancelled"


def test_a_job_is_accounted_though_its_helper_was_killed(system: SystemDaemon, ana: User) -> None:
    job_id = system.submit_as(ana, "echo up; read line; exit 4")
    system.wait_log(job_id, b"up\n")
    os.kill(system.helper_of(ana), signal.SIGKILL)
    argv = until(
        lambda: (answer := system.ask(ana, "GET", f"/jobs/{job_id}/attach")).status == 200 and answer.body["argv"],
        "a helper",
    )
    socket = argv[argv.index("-S") + 1]
    assert (
        ana.run("tmux", "-S", socket, "send-keys", "-t", argv[argv.index("-t") + 1] + ":", "x", "Enter").returncode == 0
    )
    job = system.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Failed", 4)


def test_who_has_no_shell_or_no_home_is_refused(system: SystemDaemon, cem: User) -> None:
    def refusal() -> str:
        answer = system.ask(cem, "POST", "/jobs", {"command": "true", "run_dir": "/"})
        assert answer.status == 422, answer
        return answer.body["error"]

    subprocess.run(["usermod", "-s", "/usr/sbin/nologin", cem.name], check=True)
    assert "has no shell to run jobs with (/usr/sbin/nologin)" in refusal()
    subprocess.run(["usermod", "-s", "/bin/sh", cem.name], check=True)
    shutil.rmtree(cem.home)
    assert f"The home directory of '{cem.name}', {cem.home}, does not exist" in refusal()


def test_commands_of_users_work_as_with_a_daemon_of_their_own(system: SystemDaemon, ana: User) -> None:
    script = ana.home / "run.sh"
    script.write_text("#!/bin/sh\necho hello from $USER\n")
    made = system.as_user(ana, "gbatch", "--parsable", str(script))
    assert made.returncode == 0, made
    assert system.as_user(ana, "gjob", "wait", made.stdout.strip()).returncode == 0
    assert system.as_user(ana, "gjob", "log", made.stdout.strip()).stdout == f"hello from {ana.name}\n"
    with contextlib.suppress(FileNotFoundError):
        script.unlink()


def test_a_job_tells_how_far_it_is_by_its_file(system: SystemDaemon, ana: User) -> None:
    job_id = system.submit_as(ana, 'echo "3/4 epoch" >"$GFLOW_PROGRESS_FILE"; echo up; exec sleep 1000')
    system.wait_log(job_id)
    told = until(lambda: system.get(f"/progress?ids={job_id}"), "its progress")
    assert (told[0]["percent"], told[0]["note"]) == (75, "epoch")
    directory = system.run_directory(ana, job_id)
    assert ana.shell(f"ln -sf /etc/passwd {directory}/progress").returncode == 0
    until(lambda: not system.get(f"/progress?ids={job_id}"), "no progress from another file")
    system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
    system.wait_job(job_id)


def test_the_socket_is_for_all_and_the_state_for_root(system: SystemDaemon, ana: User) -> None:
    modes = {path: path.stat().st_mode & 0o7777 for path in (system.socket, system.socket.parent, system.data)}
    assert list(modes.values()) == [0o666, 0o755, 0o700]
    assert system.as_user(ana, "ginfo").returncode == 0


def test_only_root_may_run_it(system: SystemDaemon, ana: User) -> None:
    done = system.as_user(ana, "gflowd", "run", "--system")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gflowd: --system is for root")
    assert done.stderr.count("\n") == 1


def test_it_does_not_start_where_anybody_may_be_anybody(system: SystemDaemon) -> None:
    other = ("--system", "--data-dir", str(system.root / "other"), "--socket", str(system.root / "system/other/s"))
    done = system.cli("gflowd", "run", *other, "--auth", "none", PYTHONPATH=system.environment["PYTHONPATH"])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert 'daemon.auth = "none"' in done.stderr


def test_jobs_of_root_run_as_root(system: SystemDaemon) -> None:
    job_id = system.submit("id -u", run_dir="/")
    assert system.wait_job(job_id)["state"] == "Finished"
    assert system.log(job_id) == b"0\n"


def test_ctrl_c_reaches_the_terminal_of_a_job(system: SystemDaemon, ana: User) -> None:
    job_id = system.submit_as(ana, "trap 'echo caught; exit 7' INT; echo up; while :; do sleep 0.1; done")
    system.wait_log(job_id, b"up\n")
    system.ask(ana, "POST", f"/jobs/{job_id}/cancel")
    job = system.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Cancelled", 7)
    assert system.log(job_id).endswith(b"caught\n")


def test_who_ends_his_tmux_server_loses_his_own_jobs(system: SystemDaemon, ana: User, ben: User) -> None:
    lost, stays = (system.submit_as(user, "echo up; exec sleep 1000") for user in (ana, ben))
    for job_id in (lost, stays):
        system.wait_log(job_id)
    argv = until(lambda: system.ask(ana, "GET", f"/jobs/{lost}/attach").body.get("argv"), "its terminal")
    assert ana.run("tmux", "-S", argv[argv.index("-S") + 1], "kill-server").returncode == 0
    job = system.wait_job(lost)
    assert job["state"] == "Failed"
    assert job["status_detail"] in (SERVER_LOST, KILLED), "the server may be seen to go after its terminals"
    assert system.wait_job(system.submit_as(ana, "true"))["state"] == "Finished"
    assert system.job(stays)["state"] == "Running"
    assert system.ask(ben, "POST", f"/jobs/{stays}/cancel").status == 200
    system.wait_job(stays)


def test_a_memory_limit_holds_for_processes_of_users_by_whoever_is_said_to_keep_it(
    system: SystemDaemon, ana: User
) -> None:
    by_kernel = system.get("/status")["limits"]["memory"] == "cgroup"
    eats = "import time; kept = bytearray(300 << 20); time.sleep(1000)"
    job_id = system.submit_as(ana, argv=["/usr/bin/python3", "-c", eats], memory_limit_mb=64)
    job = system.wait_job(job_id)
    assert job["state"] == "Failed"
    assert job["status_detail"].startswith("out of memory: its limit is" if by_kernel else "out of memory: used ")


@pytest.mark.parametrize("pam", [True, False], ids=["with PAM", "without PAM"])
def test_a_user_is_become_with_pam_and_without(ana: User, monkeypatch: pytest.MonkeyPatch, *, pam: bool) -> None:
    if not pam:
        monkeypatch.setattr(becoming, "_PAM", ())
    caps = "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status"
    line = f"{{ id -ru; id -rg; id -G; ulimit -S -n; ulimit -H -n; pwd; {caps}; }} >&0"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = becoming.start_as(account_of(ana.uid, ana.name), ["/bin/sh", "-c", line], theirs, (256, 512), None)
        theirs.close()
        said = b"".join(iter(lambda: ours.recv(65536), b"")).decode().splitlines()
        assert process.stderr is not None
        assert (process.wait(20), process.stderr.read()) == (0, b"")
        process.stderr.close()
    assert said[:2] == [str(ana.uid), str(ana.gid)]
    assert set(map(int, said[2].split())) == set(os.getgrouplist(ana.name, ana.gid))
    assert said[3:6] == ["256", "512", "/"]
    assert [line.split()[1] for line in said[6:]] == ["0" * 16] * 4
