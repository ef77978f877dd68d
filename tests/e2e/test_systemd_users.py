"""A real systemd hosts the daemon of all users: jobs are in scopes of their users, whatever is done to the daemon.

Those with limits are in a unit of their own, where there are the controllers for that, as under `contrib/cgroups`.
"""

import re

import pytest

from support import nspawn
from support.delegated import WHY_NOT

pytestmark = nspawn.MARKS

STEPS = (
    nspawn.WORDS
    + r"""
as() { user=$1; shift; runuser -u $user -- env -i PATH=$PATH HOME=/home/$user LC_ALL=C.UTF-8 "$@"; }
pid() { systemctl show --property=MainPID --value gflowd.service; }

cd /
useradd -m -s /bin/bash ana; useradd -m -s /bin/bash ben
say install
gflowd service install --system
say which
gflowd service status
gflowd up; as ana gflowd up; as ana gflowd down
gflowd reload
say restart
gflowd restart --simulated-gpus 1; as ana gflowd status
say submit
as ana gbatch --chdir /home/ana 'echo $$ >pid; until [ -e go ]; do sleep 0.1; done; exit 7'
soon test -s /home/ana/pid; job=$(cat /home/ana/pid)
grep '^0::' /proc/$job/cgroup
tr '\0' '\n' </proc/$job/environ | grep -E '^(NOTIFY_|LISTEN_|WATCHDOG_|SYSTEMD_|INVOCATION_|JOURNAL_)'
as ben gbatch --chdir /home/ben 'id -un'; as ben gjob wait 2; as ben gjob log 2
say limits
gflowd status --socket /run/gflow/gflowd.sock | grep ^Limits:
printf '#!/usr/bin/python3\nimport time; held = b"x" * (300 << 20); time.sleep(600)\n' >/home/ana/hog
chmod a+x /home/ana/hog
hogs='grep ^0:: /proc/self/cgroup >place; until [ -e eat ]; do sleep 0.1; done; exec ./hog'
as ana gbatch --memory 100M --chdir /home/ana "$hogs"
as ana gbatch --memory 1G --chdir /home/ana 'echo $$ >other; until [ -e go ]; do sleep 0.1; done; exit 8'
soon test -s /home/ana/other; other=$(cat /home/ana/other); soon test -s /home/ana/place; cat /home/ana/place
say cleaner
rm /run/gflow/users/*/tmux-*.sock
as ben gbatch --chdir /home/ben true; as ben gjob wait 5; kill -0 $job && echo the same process
say kill
old=$(pid); kill -9 $old; soon another $old; kill -0 $job && echo the same process
as ben gcancel 1
say eat
touch /home/ana/eat; as ana gjob wait 3; as ana gjob show 3 | grep -i memory:
say stop
systemctl stop gflowd.service gflowd.socket; kill -0 $job && kill -0 $other && echo the same process
touch /home/ana/go; while kill -0 $job 2>/dev/null; do sleep 0.05; done
systemctl start gflowd.socket; as ana gjob wait 1 2>/dev/null; as ana gjob wait 4
as ana gqueue -a -f JOBID,ST,EXIT,USER
journalctl --output=cat --unit=gflowd.service | grep -i -E 'left-over|share the daemon|no unit of their own'
systemctl stop gflowd.service gflowd.socket
none() { ! systemctl list-units --plain --no-legend 'gflow-jobs-*' | grep .; }
soon none
say 'taken over'
gflowd service uninstall --system >/dev/null; gflowd run --system >/dev/null 2>&1 & soon as ana gqueue; rm /home/ana/go
waits='echo $$ >pid3; until [ -e go ]; do sleep 0.1; done; exit 8'
id=$(as ana gbatch --parsable --chdir /home/ana "$waits"); echo $id
soon test -s /home/ana/pid3; job=$(cat /home/ana/pid3)
gflowd service install --system; pid
as ana gqueue -f JOBID,ST | tail -n 1; kill -0 $job && echo the same process
touch /home/ana/go; as ana gjob wait $id 2>/dev/null
"""
)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each step printed, by its name."""
    text = nspawn.run_in_systemd(STEPS, tmp_path_factory.mktemp("out"), as_root=True)
    parts = re.split(r"^== (.+)\n", text, flags=re.MULTILINE)
    assert len(parts) > 8, text
    assert "TOO LATE" not in text, text
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_commands_about_the_daemon_know_that_it_is_there(said: dict[str, str]) -> None:
    own, of_all, by_root, by_ana, refused, whose, changed = said["which"].splitlines()
    assert own.startswith("gflowd.service is not installed")
    assert of_all.startswith("For all users: /etc/systemd/system/gflowd.service, active (running), enabled")
    assert by_root == by_ana
    assert re.fullmatch(r"gflowd of all users \(pid \d+\) serves your commands; 'gflowd up --own' starts .*", by_ana)
    assert refused.startswith("gflowd: the daemon of all users is root's to stop")
    assert [whose, changed] == ["gflowd of all users (unix:/run/gflow/gflowd.sock):", "Nothing has changed."]


def test_sockets_that_a_cleaner_took_come_back(said: dict[str, str]) -> None:
    assert said["cleaner"].splitlines()[-2:] == ["Job 5 Finished (exit code 0)", "the same process"]


def test_started_anew_it_still_serves_all_users(said: dict[str, str]) -> None:
    stopped, started, running, whose, *status = said["restart"].splitlines()
    assert re.fullmatch(r"gflowd of all users stopped \(pid \d+\)\.", stopped)
    assert re.fullmatch(r"gflowd of all users started \(pid \d+\)\.", started)
    assert [running, whose] == ["Status: Running", "Daemon: of all users"]
    assert "GPUs: 1 of 1 available (simulated)" in status


def test_it_serves_all_users_each_as_himself(said: dict[str, str]) -> None:
    assert "gflowd runs as gflowd.service" in said["install"]
    lines = said["submit"].splitlines()
    assert re.fullmatch(r"0::/system\.slice/gflow-user-\d+-[0-9a-f]{8}\.scope", lines[1]), lines
    assert lines[-2:] == ["Job 2 Finished (exit code 0)", "ben"]


def test_one_that_runs_in_a_terminal_is_taken_over_with_the_jobs_of_all(said: dict[str, str]) -> None:
    job, stopped, *_, runs, pid, state, process, ended = said["taken over"].splitlines()
    assert re.fullmatch(r"gflowd \(pid \d+\) stopped; its jobs go on, and the unit takes its place\.", stopped)
    assert runs == f"gflowd runs as gflowd.service (pid {pid})."
    assert state.split() == [job, "R"]
    assert [process, ended] == ["the same process", f"Job {job} Failed (exit code 8)"]


def test_jobs_go_on_whatever_is_done_to_the_daemon(said: dict[str, str]) -> None:
    lines = said["kill"].splitlines()
    assert lines[0] == "the same process"
    assert "Job 1 belongs to ana; you are ben" in said["kill"]
    lines = [line for line in said["stop"].splitlines() if "does not answer" not in line]  # where all is slow
    assert lines[:3] == ["the same process", "Job 1 Failed (exit code 7)", "Job 4 Failed (exit code 8)"]
    assert [line.split() for line in lines[4:]] == [
        ["1", "F", "7", "ana"],
        ["3", "F", "137:SIGKILL", "ana"],
        ["4", "F", "8", "ana"],
    ]


def test_limits_are_kept_by_the_kernel_where_it_can_over_a_restart_of_the_daemon(said: dict[str, str]) -> None:
    by_kernel = "kept by the kernel (cgroup v2)" in said["limits"]
    assert by_kernel == (WHY_NOT is None), said["limits"]
    assert by_kernel or f"({WHY_NOT})" in said["limits"]
    unit = r"gflow-jobs-[0-9a-f]{8}\.service/gflow-[0-9a-f]{8}/3\.[0-9a-f]{16}/job"
    place = unit if by_kernel else r"gflow-user-\d+-[0-9a-f]{8}\.scope"
    assert re.search(rf"^0::/system\.slice/{place}$", said["limits"], re.MULTILINE), said["limits"]
    assert ("out of memory: its limit is 100M" if by_kernel else "out of memory: used ") in said["eat"]
