"""A real systemd hosts the daemon: whatever is done to the unit, the job runs on and is accounted.

The steps are one script, because a container is booted for them; the tests read what it printed.
"""

import re

import pytest

from support import nspawn

pytestmark = nspawn.MARKS

STEPS = (
    nspawn.WORDS
    + r"""
pid() { systemctl --user show --property=MainPID --value gflowd.service; }
job() { gqueue -j 1 -f ST | tail -n 1; kill -0 "$job" && echo the same process; }

cd
say install
gflowd service install
say submit
gbatch 'echo $$ >pid; until [ -e go ]; do sleep 0.1; done; exit 7'
soon test -s pid; job=$(cat pid)
grep '^0::' /proc/$job/cgroup
tr '\0' '\n' </proc/$job/environ | grep -E '^(NOTIFY_|LISTEN_|WATCHDOG_|SYSTEMD_|INVOCATION_|JOURNAL_)'
say restart
old=$(pid); systemctl --user restart gflowd.service; another "$old" && job
say cleaner
rm "$XDG_RUNTIME_DIR"/gflow/tmux-*.sock
old=$(pid); systemctl --user restart gflowd.service; another "$old" && job
say kill
old=$(pid); kill -9 "$old"; soon another "$old"; job
say watchdog
mkdir -p .config/systemd/user/gflowd.service.d
printf '[Service]\nWatchdogSec=2\nTimeoutAbortSec=1\n' >.config/systemd/user/gflowd.service.d/quick.conf
systemctl --user daemon-reload; systemctl --user restart gflowd.service
old=$(pid); sleep 4.5; [ "$old" = "$(pid)" ] && echo it gives signs of life
kill -STOP "$old"; soon another "$old"; job
journalctl --user --output=cat --unit=gflowd.service | grep 'Watchdog timeout'
say down
gflowd service status; gflowd down
systemctl --user is-active gflowd.service gflowd.socket; kill -0 "$job" && echo the same process
touch go; while kill -0 "$job" 2>/dev/null; do sleep 0.05; done
say up
gflowd up --simulated-gpus 2; gjob wait 1; echo "exit code $?"; ginfo
say socket
gflowd down; gflowd up; ginfo
systemctl --user stop gflowd.service 2>/dev/null; gflowd status; gqueue -a -f JOBID,ST,EXIT; gflowd status | grep Status
say broken
printf '[Unit]\nStartLimitBurst=1\n' >.config/systemd/user/gflowd.service.d/limit.conf
mkdir .config/gflow; echo '[' >.config/gflow/gflow.toml
systemctl --user reload gflowd.service 2>/dev/null; echo "reload: exit code $?"
journalctl --user --priority=err --output=cat --unit=gflowd.service | grep toml
say failed
systemctl --user daemon-reload; systemctl --user reset-failed gflowd.service
systemctl --user restart gflowd.service 2>/dev/null; soon systemctl --user is-failed gflowd.service
gflowd service status; gflowd status 2>/dev/null; gflowd up
rm .config/gflow/gflow.toml; gflowd up; gflowd status | grep Status
journalctl --user --output=short --unit=gflowd.service | grep -c ' gflowd.[0-9]*.: .* 1 jobs known: Failed 1$'
XDG_RUNTIME_DIR=/run/nowhere gflowd service status
say 'gave up'
kill -9 "$(pid)"; soon systemctl --user is-failed gflowd.service
gflowd service status; gflowd up >/dev/null
say uninstall
gflowd service uninstall; gflowd service status; echo "exit code $?"
systemctl --user list-units 'gflow*' --all --no-legend | grep -v ' not-found inactive '  # until it is collected
rm -r .config/systemd go
say 'of another'
systemd-run --user --quiet --unit=mine "--setenv=PATH=$PATH" gflowd run; soon gqueue
gflowd service install; ls .config/systemd
systemctl --user stop mine.service
say 'taken over'
gflowd up --simulated-gpus 3 >/dev/null
gbatch 'echo $$ >pid2; until [ -e go ]; do sleep 0.1; done; exit 7'; soon test -s pid2; job=$(cat pid2)
gflowd service install
pid; kill -0 "$job" && echo the same process; ginfo
say 'at its place'
gflowd down >/dev/null; gflowd run >/dev/null 2>&1 & soon gqueue
systemctl --user start gflowd.socket 2>/dev/null; echo "exit code $?"
journalctl --user --output=cat --unit=gflowd.socket | grep pid
gflowd up; gflowd service uninstall | tail -n 1; touch go; gjob wait 2; gflowd down >/dev/null
say 'all stops'
gflowd service install >/dev/null; gflowd restart --simulated-gpus 1 >/dev/null
gbatch --gpus 1 'echo $$ >pid3; exec sleep 600' >/dev/null; gbatch --gpus 1 'touch next' >/dev/null
soon test -s pid3; job=$(cat pid3); systemctl --user show --property=Before --value 'gflow-jobs-*'
systemctl --user exit; soon eval '! kill -0 "$job"'; soon eval '! systemctl is-active user@4711.service'
ls next; journalctl --user --output=cat --unit=gflowd.service | grep -c -E 'share the daemon|remains running'
cat .local/share/gflow/left
export XDG_RUNTIME_DIR="$HOME/run"; mkdir -m 700 run
gflowd run --simulated-gpus 1 >/dev/null 2>&1 & soon gqueue; gjob wait 4; gjob wait 3; gjob show 3 | grep Reason
"""
)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each step printed, by its name."""
    text = nspawn.run_in_systemd(STEPS, tmp_path_factory.mktemp("out"))
    assert "== uninstall" in text, text
    assert "TOO LATE" not in text, text
    parts = text.split("== ")
    return {part.partition("\n")[0]: part.partition("\n")[2].splitlines() for part in parts[1:]}


def test_it_is_installed_and_started(said):
    assert said["install"][0] == "Wrote /home/gfuser/.config/systemd/user/gflowd.service"
    assert said["install"][-1].startswith("gflowd runs as gflowd.service (pid ")


def test_jobs_have_a_unit_of_their_own_and_nothing_of_the_daemons(said):
    _, cgroup, *variables = said["submit"]
    assert "/gflow-jobs-" in cgroup
    assert variables == []


@pytest.mark.parametrize("step", ["restart", "cleaner", "kill", "watchdog"])
def test_whatever_happens_to_the_daemon_the_job_runs_on(said, step):
    lines = [line.strip() for line in said[step]]
    assert lines[lines.index("R") + 1] == "the same process"


def test_the_watchdog_ends_a_daemon_that_hangs_and_no_other(said):
    assert said["watchdog"][0] == "it gives signs of life"
    assert "Watchdog timeout" in said["watchdog"][-1]


def test_the_status_of_the_unit(said):
    told = dict(line.split(": ", 1) for line in said["down"] if ": " in line)
    assert told["State"] == "active (running), enabled"
    assert told["Jobs"] == "1 running"
    assert told["Lingering"] == "yes"


def test_down_stops_the_socket_too_and_no_job(said):
    assert said["down"][-3:] == ["inactive", "inactive", "the same process"]


def test_what_ended_while_nobody_looked_is_accounted_and_options_of_up_reach_the_daemon(said):
    assert said["up"][1:3] == ["Job 1 Failed (exit code 7)", "exit code 7"]
    assert "simulated" in said["up"][-1]


def test_without_options_up_is_as_installed_and_whoever_calls_the_socket_starts_the_daemon(said):
    text = "\n".join(said["socket"])
    assert "simulated" not in text
    assert "Status: Not running" in text, "asking for the status starts nothing"
    assert said["socket"][-2].split() == ["1", "F", "7"]
    assert said["socket"][-1] == "Status: Running"


def test_a_refused_reload_is_an_error_in_the_journal_of_the_daemon_and_of_the_command(said):
    code, *lines = said["broken"]
    assert code == "reload: exit code 1"
    assert lines[0].startswith("gflow.daemon.in_force: the configuration stays as it is: /home/gfuser/.config/gflow/")
    assert lines[1].startswith("gflowd: /home/gfuser/.config/gflow/gflow.toml: ")


def test_a_unit_that_failed_says_why_and_up_starts_it_once_that_is_mended(said):
    lines = said["failed"]
    why = "gflowd.service has failed: /home/gfuser/.config/gflow/gflow.toml: "
    assert any(line.startswith(f"Why: {why}") for line in lines), lines
    assert any(line.startswith(f"Status: Not running ({why}") for line in lines), lines
    assert any(line.startswith("gflowd: /home/gfuser/.config/gflow/gflow.toml: ") for line in lines), "what up says"
    started, status, known, *_ = lines[-5:]
    assert started.startswith("gflowd started (pid ")
    assert status == "Status: Running"
    assert int(known) > 0, "the journal calls it gflowd"


def test_without_the_users_manager_one_line_says_what_to_do(said):
    assert said["failed"][-1].startswith("gflowd: no systemd of gfuser runs here: log in anew")


def test_when_systemd_has_given_up_it_is_said_why_and_what_to_do(said):
    why = "gflowd.service has failed: it was ended by SIGKILL; systemd does not try again by itself"
    assert f"Why: {why}" in said["gave up"], said["gave up"]
    assert "To do: once that is mended: gflowd up" in said["gave up"]


def test_a_daemon_that_another_unit_keeps_running_is_left_alone(said):
    refused, no_units = said["of another"]
    assert re.fullmatch(
        r"gflowd: gflowd \(pid \d+\) is kept running by mine.service of systemd; stop .* first", refused
    )
    assert "No such file" in no_units


def test_a_daemon_that_runs_is_taken_over_with_its_flags_and_its_jobs(said):
    _, stopped, *_, runs, pid, process = said["taken over"][:7]
    assert re.fullmatch(r"gflowd \(pid \d+\) stopped; its jobs go on, and the unit takes its place\.", stopped)
    flags = "with --simulated-gpus 3, until the next boot or 'gflowd up'"
    assert runs == f"gflowd runs as gflowd.service (pid {pid}) {flags}."
    assert process == "the same process"
    assert "simulated" in said["taken over"][-1]


def test_the_unit_takes_nothing_from_a_daemon_that_serves_in_its_place(said):
    code, refused, up, uninstall, job = said["at its place"]
    assert code == "exit code 1"
    assert "which is not of the unit, serves on /run/user/4711/gflow/gflowd.sock; not taken from it" in refused
    assert up.startswith("gflowd is already running (pid ")
    assert re.fullmatch(r"gflowd \(pid \d+\), which was not of the unit, goes on\.", uninstall)
    assert job == "Job 2 Failed (exit code 7)"


def test_it_is_removed_without_a_rest(said):
    removed = [line for line in said["uninstall"] if line.startswith("Removed")]
    assert len(removed) == 2
    assert said["uninstall"][-1] == "exit code 4"


def test_when_all_stops_the_daemon_does_first_and_starts_no_other_job(said):
    before, missing, trouble, left, following, stopped, *_ = said["all stops"]
    assert "gflowd.service" in before.split()
    assert "No such file" in missing, "no other job was started"
    assert trouble == "0"
    assert left.endswith(" no"), "the user's systemd went down, not the machine"
    assert following.startswith("Job 4 Finished")
    assert stopped.startswith("Job 3 Failed (")
    assert "restarted" not in stopped
