"""Commands that talk to a daemon on another machine: what goes along, what does not, and what is said about it."""

import shlex
import sys

import pytest

from gflow.cli import gbatch, gctl, gjob
from gflow.cli.completion.shells import answer
from support.fake_daemon import FakeRemote, reply


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in ("GFLOW_TOKEN", "GFLOW_TOKEN_FILE", "GFLOW_CACERT", "GFLOW_SSH_HOST", "GFLOW_DAEMON_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def remote(monkeypatch):
    with FakeRemote() as fake:
        monkeypatch.setenv("GFLOW_URL", fake.url())
        fake.on("POST", "/jobs", reply({"id": 7, "run_name": "x", "dropped_env": []}, 201))
        yield fake


def submitted(remote):
    """The bodies that came."""
    return [asked.json for asked in remote.asked if asked.method == "POST"]


REMARK = "{}: the job runs on gpubox, with the environment it finds there; --export NAMES takes along more\n"


def test_the_environment_stays_here(run, remote, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "ml")
    monkeypatch.setenv("CONDA_EXE", sys.executable)
    done = run(gbatch.COMMAND, "train")
    assert (done.status, done.out) == (0, "Submitted batch job 7 (x)\n")
    assert done.err == REMARK.format("gbatch")
    (job,) = submitted(remote)
    assert "environment" not in job
    assert "conda_env" not in job
    assert job["run_dir"] == str(tmp_path)


@pytest.mark.parametrize(
    ("export", "sent"), [("NONE", None), ("FIRST", {"FIRST": "1"}), ("FIRST,A=2", {"FIRST": "1", "A": "2"})]
)
def test_what_is_asked_for_goes_along_without_a_word(run, remote, monkeypatch, export, sent):
    monkeypatch.setenv("FIRST", "1")
    done = run(gbatch.COMMAND, "--export", export, "train")
    assert (done.status, done.err) == (0, "")
    assert submitted(remote)[0].get("environment") == sent


def test_all_of_it_can_be_asked_for(run, remote, monkeypatch):
    monkeypatch.setenv("FIRST", "1")
    run(gbatch.COMMAND, "--export", "ALL", "train")
    assert submitted(remote)[0]["environment"]["FIRST"] == "1"


def test_a_script_that_says_what_it_exports_is_heard(run, remote, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRST", "1")
    script = tmp_path / "s.sh"
    script.write_text("# GFLOW --export FIRST\ntrue\n")
    assert run(gbatch.COMMAND, str(script)).err == ""
    assert submitted(remote)[0]["environment"] == {"FIRST": "1"}


def test_a_directory_is_one_of_that_machine(run, remote, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(gbatch.COMMAND, "--export", "NONE", "--chdir", "/only/there", "true").status == 0
    assert submitted(remote)[0]["run_dir"] == "/only/there"
    said = "The working directory '/only/there' does not exist, or is not a directory"
    remote.on("POST", "/jobs", reply({"error": said, "code": "impossible"}, 422))
    done = run(gbatch.COMMAND, "--export", "NONE", "--chdir", "/only/there", "true")
    assert (done.status, done.err) == (1, f"gbatch: {said} on gpubox; --chdir DIR names one that is there\n")
    remote.on("POST", "/jobs", reply({"error": "No such project", "code": "impossible"}, 422))
    assert run(gbatch.COMMAND, "--export", "NONE", "true").err == "gbatch: No such project\n"


def test_one_question_tells_all_that_is_to_be_known(run, remote):
    run(gbatch.COMMAND, "true")
    assert [asked.path for asked in remote.asked] == ["/status", "/jobs"]


def test_what_is_only_looked_at_asks_nobody(run, remote):
    assert run(gbatch.COMMAND, "--dry-run", "true").status == 0
    assert remote.asked == []


def test_a_job_done_again_takes_nothing_along_either(run, remote):
    remote.on("GET", "/jobs", reply([{"id": 7, "run_dir": "/w", "state": "Failed"}]))
    remote.on("POST", "/jobs/7/redo", reply({"id": 8, "run_name": "x", "dropped_env": []}, 201))
    done = run(gjob.COMMAND, "redo", "7", "--chdir", "/only/there")
    assert (done.status, done.err) == (0, REMARK.format("gjob redo"))
    assert submitted(remote) == [{"run_dir": "/only/there", "environment": None}]


def test_the_same_machine_by_another_way_is_this_one(run, remote, monkeypatch):
    with open("/proc/sys/kernel/random/boot_id") as file:
        remote.on("GET", "/status", reply({"endpoint": "unix:/s", "host": "here", "boot_id": file.read().strip()}))
    monkeypatch.setenv("FIRST", "1")
    assert run(gbatch.COMMAND, "true").err == ""
    assert submitted(remote)[0]["environment"]["FIRST"] == "1"
    assert "is not a directory" in run(gbatch.COMMAND, "--chdir", "/only/there", "true").err


def test_without_a_terminal_the_command_is_said(run, remote, monkeypatch):
    monkeypatch.setenv("GFLOW_SSH_HOST", "gpubox")
    remote.on("GET", "/jobs/7", reply({"id": 7, "state": "Running"}))
    done = run(gjob.COMMAND, "attach", "7")
    assert done.status == 1
    line = done.err.partition("; in a terminal, run: ")[2]
    assert shlex.split(line) == ["ssh", "-t", "--", "gpubox", "gjob", "attach", "7", "--url", "'unix:/run/far away/s'"]


def test_a_daemon_that_was_named_is_never_stood_in_for(run, home, monkeypatch):
    """The files of this machine are not those of the daemon that the configuration names."""
    config = home / "gflow.toml"
    config.write_text("[client]\nurl = 'http://127.0.0.1:1'\n")
    done = run(gctl.COMMAND, "state", "compact", "--config", str(config))
    assert done.status == 1
    assert done.err.startswith("gctl state compact: cannot reach gflowd at http://127.0.0.1:1 (")


def test_jobs_of_a_daemon_elsewhere_are_completed(remote, monkeypatch):
    monkeypatch.delenv("GFLOW_URL")
    remote.on("GET", "/queue", reply("7\x1fx\x1fR\n"))
    from gflow.cli.umbrella import COMMAND

    table = COMMAND.load("gjob")
    assert table is not None
    said = answer(table, ["2", "zsh", "4", "", "gjob", "--url", remote.url(), "show", ""])
    assert said.startswith(":words\n7\t")
    assert "--cacert" in answer(table, ["2", "zsh", "2", "", "gjob", "show", "--ca"])
