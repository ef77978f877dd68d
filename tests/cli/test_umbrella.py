"""gflow: every command under one name."""

import sys

import pytest

from gflow.cli import umbrella
from support.fake_daemon import reply


@pytest.fixture
def gflow(capsys, monkeypatch):
    def command(*argv):
        monkeypatch.setattr(sys, "argv", ["gflow", *argv])
        with pytest.raises(SystemExit) as left:
            umbrella.main()
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return command


@pytest.mark.parametrize("argv", [["--help"], ["-h"], []])
def test_help_lists_every_command(gflow, argv):
    status, out, _ = gflow(*argv)
    assert status == 0
    for name in ("gbatch", "gqueue", "gjob", "gcancel", "ginfo", "gctl", "gstats", "gflowd"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize("name", ["queue", "gqueue"])
def test_both_names_are_the_same_command(gflow, daemon, name):
    daemon.on("GET", "/queue", reply("", headers={"X-Total": "0"}))
    assert gflow(name, "-a") == (0, "No jobs found.\n", "")


def test_the_connection_options_may_stand_in_front(gflow, daemon):
    daemon.on("GET", "/queue", reply("", headers={"X-Total": "0"}))
    assert gflow("--url", f"unix:{daemon.path}", "queue")[0] == 0
    assert gflow("--url", "unix:/none", "queue")[0] == 1


def test_groups_and_their_verbs(gflow, daemon):
    daemon.on("POST", "/jobs/7/hold", reply(None))
    assert gflow("job", "hold", "7") == (0, "Job 7 put on hold.\n", "")


def test_commands_keep_their_own_words(gflow, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert gflow("batch", "new", "x")[0] == 0
    assert (tmp_path / "x.sh").exists()


@pytest.mark.parametrize("argv", [["nosuch"], ["qeueu"], ["--nosuch"], ["--nosuch", "queue"]])
def test_unknown_words_are_errors(gflow, argv):
    status, out, err = gflow(*argv)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1


def test_a_wrong_option_names_the_whole_command(gflow):
    status, _, err = gflow("queue", "--nosuch")
    assert status == 2
    assert err.startswith("gflow queue: No such option '--nosuch'.")


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["foo"], "gflow gflowd: No such command 'foo'. See 'gflow gflowd --help'.\n"),
        (["run", "--nosuch"], "gflow gflowd run: No such option '--nosuch'. See 'gflow gflowd run --help'.\n"),
        (["service", "foo"], "gflow gflowd service: No such command 'foo'. See 'gflow gflowd service --help'.\n"),
    ],
)
def test_the_daemon_s_command_complains_as_the_others_do(gflow, argv, complaint):
    assert gflow("gflowd", *argv) == (2, "", complaint)


def test_the_daemon_s_verbs_alone_show_their_help(gflow):
    status, out, err = gflow("gflowd", "service")
    assert (status or 0, err) == (0, "")
    assert "\n  install " in out


def test_every_complaint_names_its_command_in_full(gflow, daemon):
    daemon.on("POST", "/jobs/8/hold", reply({"error": "Job 8 does not exist", "code": "not_found"}, 404))
    assert gflow("job", "h", "8") == (1, "", "gflow job hold: Job 8 does not exist\n")
    assert gflow("job", "log", "8")[2].startswith("gflow job log: ")
