"""Completion offers what the tables and the daemon know, in each shell, and stays silent about everything else."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gflow.cli import gbatch, gcancel, gctl, ginfo, gjob, gqueue, gstats, ids, states, umbrella
from gflow.cli.command import Command
from gflow.cli.completion import choices, live
from gflow.cli.completion.position import locate
from gflow.cli.completion.scripts import PROGRAMS, script
from gflow.cli.completion.shells import answer, escaped, unquoted
from support.fake_daemon import reply
from support.shell import Shell

TABLES = {table.COMMAND.name: table.COMMAND for table in (gbatch, gcancel, gctl, ginfo, gjob, gqueue, gstats, umbrella)}
KNOWN = {
    "jobs": [("12", "train (R)"), ("7", "eval (PD)"), ("123", "x (PD)")],
    "names": [("train", ""), ("eval", "")],
    "users": [("ana", ""), ("ben", "")],
    "projects": [("p1", "")],
    "groups": [("lr", "")],
    "reservations": [("3", "of ana, Active")],
}


def offered(line, shell="fish"):
    """The answer for a command line with the cursor at its end; the first line only if it has something to say."""
    words = line.split(" ")
    asked = ["2", shell, str(len(words) - 1), "", *words]
    own, *found = answer(TABLES[words[0]], asked, lambda kind, _: KNOWN.get(kind, [])).splitlines()
    return found if own == ":words" else [own, *found]


def values(line):
    return [value.partition("\t")[0] for value in offered(line)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gqueue --sta", ["--states", "--state"]),
        ("gqueue --states R", ["Running"]),
        ("gqueue --states=r", ["--states=Running"]),
        ("gqueue -sq", ["-sQueued"]),
        ("gqueue -s Running,F", ["Running,Finished", "Running,Failed"]),
        ("gqueue -f JOBID,N", ["JOBID,NAME", "JOBID,NODES", "JOBID,NODELIST(REASON)"]),
        ("gqueue -o ", ["table", "json", "csv", "yaml"]),
        ("gqueue -u ", ["ana", "ben"]),
        ("gqueue -u ana,", ["ana,ben"]),
        ("gqueue -P ", ["p1"]),
        ("gqueue -N t", ["train"]),
        ("gqueue -j 7,", ["7,12", "7,123"]),
        ("gqueue -j 12", ["12", "123"]),
        ("gqueue comp", ["completion"]),
        ("gqueue completion ", ["bash", "zsh", "fish"]),
        ("gqueue -a comp", []),
        ("gqueue --config ", [":files"]),
        ("gjob rel", ["release"]),
        ("gjob show 7 1", ["12", "123"]),
        ("gjob s 1", ["12", "123"]),
        ("gjob log --fo", ["--follow"]),
        ("gjob log 7 ", []),
        ("gjob nosuch ", []),
        ("gjob --url unix:/s show 1", ["12", "123"]),
        ("gcancel ", ["12", "7", "123"]),
        ("gcancel -- ", ["12", "7", "123"]),
        ("gcancel -- -", []),
        ("gctl reserve cancel ", ["3"]),
        ("gctl set-limit 12", ["12", "123"]),
        ("gctl set-limit l", ["lr"]),
        ("gqueue --group ", ["lr"]),
        ("gqueue --group --by", ["--by-state"]),
        ("gqueue --group --sort na", ["name"]),
        ("gcancel --group=l", ["--group=lr"]),
        ("gctl set-limit 12 ", []),
        ("gctl reserve create --user b", ["ben"]),
        ("gbatch --depends-on ", ["12", "7", "123"]),
        ("gbatch --dependency afterok:", ["afterok:12", "afterok:7", "afterok:123"]),
        ("gbatch --dependency=afterok:7:1", ["--dependency=afterok:7:12", "--dependency=afterok:7:123"]),
        ("gcancel --state ", ["Queued", "Hold", "Running"]),
        ("gbatch --depends-on-any 7,1", ["7,12", "7,123"]),
        ("gbatch -P ", ["p1"]),
        ("gbatch --chdir ", [":directories"]),
        ("gbatch --notify-on job_failed,group_c", ["job_failed,group_completed"]),
        ("gbatch --name ", []),
        ("gbatch ne", [":command 1", "new"]),
        ("gbatch --gpus 1 py", [":command 3"]),
        ("gbatch --gpus 1 python --gp", [":command 3"]),
        ("gbatch -- --gp", [":command 2"]),
        ("gflow que", ["queue"]),
        ("gflow gq", ["gqueue"]),
        ("gflow queue -s R", ["Running"]),
        ("gflow gjob lo", ["log"]),
        ("gflow --url unix:/s batch --dep", ["--depends-on", "--depends-on-all", "--depends-on-any", "--dependency"]),
        ("gflow gflowd st", ["status", "start", "stop"]),
        ("gflow gflowd up --so", ["--socket"]),
    ],
)
def test_what_may_come_next_is_offered(line, expected):
    assert sorted(values(line)) == sorted(expected)


def test_fish_and_zsh_are_told_what_things_mean():
    assert "7\teval (PD)" in offered("gjob show ")
    assert offered("gjob sh") == ["show\tShow the details of jobs."]
    assert [line for line in offered("gjob log --fol") if "ends" in line]
    assert offered("gjob sh", "bash") == ["show"]


@pytest.mark.parametrize(
    ("line", "split", "expected"),
    [
        ("gqueue --states=", "gqueue --states =", ["Queued", "Hold"]),
        ("gqueue --states=R", "gqueue --states = R", ["Running"]),
        ("gqueue --states=PD,R", "gqueue --states = PD,R", ["PD,Running"]),
        ("gqueue  -f  NODEL", "gqueue -f NODEL", ["NODELIST\\(REASON\\)"]),
        ("gqueue --url unix:/s -s R", "gqueue --url unix : /s -s R", ["Running"]),
        ("gqueue --url 'unix:/s' -s R", "gqueue --url 'unix:/s' -s R", ["Running"]),
        ("gbatch env A=1 x", "gbatch env A = 1 x", [":command 1"]),
    ],
)
def test_the_words_that_bash_splits_are_one_again(line, split, expected):
    words = split.split(" ")
    found = answer(TABLES[words[0]], ["2", "bash", str(len(words) - 1), line, *words], lambda *_: [])
    assert found.removeprefix(":words\n").splitlines()[: len(expected)] == expected


_CALLS = {
    "bash": "compopt() { :; }; COMP_WORDS=(./asked ''); COMP_CWORD=1; _gflow_complete ./asked ''",
    "zsh": "_normal() { :; }; _describe() { :; }; words=(./asked ''); CURRENT=2; _gflow",
    "fish": "function commandline; test $argv[1] = -opc; and echo ./asked; or echo ''; end; __gflow_complete",
}


@pytest.mark.parametrize("shell", list(_CALLS))
@pytest.mark.parametrize(
    "line", [":command psvar[$(touch run)]", ":command 1;touch run", ":command TMOUT=1", ":command"]
)
def test_no_shell_computes_with_anything_but_digits(shell, line, tmp_path):
    """Whatever a command should print, the script does not run it."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "asked").write_text(f"#!/bin/sh\ncat <<'END'\n{line}\nEND\n")
    (tmp_path / "asked").chmod(0o755)
    begin = "compdef() { :; }\n" if shell == "zsh" else ""
    tell = "echo over $TMOUT"
    done = subprocess.run(
        [shell, "-c", f"{begin}{script('gqueue', shell)}\n{_CALLS[shell]}\n{tell}"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["over"], done
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "asked",
    [
        [],
        ["2", "bash"],
        ["2", "bash", "x", "", "gqueue"],
        ["2", "bash", "9", "", "gqueue", ""],
        ["bash", "1", "", "gqueue", "", ""],
        ["3", "bash", "1", "", "gqueue", ""],
    ],
)
def test_what_is_no_question_of_a_shell_is_an_error_of_usage(run, asked):
    done = run(gqueue.COMMAND, "__complete", *asked)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


@pytest.mark.parametrize(
    ("word", "plain"), [("a", "a"), ("'a b", "a b"), ('"a\\"b"', 'a"b'), ("a\\ b", "a b"), ("'a\\b'", "a\\b")]
)
def test_quotes_of_the_shell_do_not_count(word, plain):
    assert unquoted(word) == plain
    assert unquoted(escaped(plain)) == plain


def _commands(table):
    if isinstance(table, Command):
        return [table]
    return [command for name in table.members for command in _commands(table.load(name))]


def test_every_value_that_is_a_job_or_a_state_is_completed():
    """By their converters; a new option has nothing to do for it."""
    items = [item for table in TABLES.values() for one in _commands(table) for item in (*one.options, *one.arguments)]
    jobs = [item for item in items if item.convert in (ids.parse, ids.parse_one)]
    assert len(jobs) > 20
    assert {choices.kinds(item)[-1] for item in jobs} == {"jobs"}
    assert {choices._fixed(item) for item in items if item.convert is states.parse} == {
        tuple(states.STATES),
        ("Queued", "Hold", "Running"),
    }


def test_jobs_are_asked_of_the_daemon(daemon):
    daemon.on("GET", "/queue", reply("3\x1ftrain\x1fR\n9\x1feval\x1fR\n"))
    found = answer(TABLES["gjob"], ["2", "zsh", "2", "", "gjob", "attach", ""])
    assert found == ":words\n9\teval (R)\n3\ttrain (R)\n"
    (asked,) = daemon.asked
    assert asked.query["states"] == "R"
    assert ("mine" in asked.query) == (os.geteuid() != 0)


@pytest.mark.parametrize(
    ("kind", "path", "body", "expected"),
    [
        ("users", "/queue", "ana\nben\nana\n", ["ana", "ben"]),
        ("projects", "/queue", "p1\n-\n", ["p1"]),
        ("groups", "/queue", "lr\n-\nlr\n", ["lr"]),
        ("names", "/queue", "train\n", ["train"]),
        ("reservations", "/reservations", [{"id": 3, "user": "ana", "status": "Active"}], ["3"]),
        ("jobs", "/queue", "", []),
        ("nosuch", "/queue", "", []),
    ],
)
def test_what_else_the_daemon_knows(daemon, kind, path, body, expected):
    daemon.on("GET", path, reply(body))
    assert [value for value, _ in live.known(kind, locate(gqueue.COMMAND, [], ""))] == expected


def test_a_daemon_that_is_not_there_or_refuses_is_no_news(home, daemon):
    assert live.known("jobs", locate(gqueue.COMMAND, ["--url", "unix:/none"], "")) == []
    assert live.known("jobs", locate(gqueue.COMMAND, ["--url", "nonsense"], "")) == []
    daemon.on("GET", "/queue", reply({"error": "no", "code": "forbidden"}, 403))
    assert live.known("jobs", locate(gqueue.COMMAND, [], "")) == []


def test_a_slow_daemon_is_not_waited_for(daemon, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE_SECS", 0.05)
    gone = []
    daemon.on("GET", "/queue", lambda asked: gone.append(1) or [b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"] * 1)
    begun = time.monotonic()
    assert live.known("jobs", locate(gqueue.COMMAND, [], "")) == []
    assert gone
    assert time.monotonic() - begun < 5


@pytest.fixture
def bin_dir(home):
    """A directory with the programs as executables."""
    directory = home / "bin"
    directory.mkdir()
    for name in PROGRAMS:
        module = "umbrella" if name == "gflow" else name
        code = f"import sys; sys.argv[0] = {name!r}; from gflow.cli.{module} import main; main()"
        program = directory / name
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
        program.chmod(0o700)
    return directory


def _environment(bin_dir):
    kept = {name: os.environ[name] for name in ("FPATH", "LD_LIBRARY_PATH") if name in os.environ}
    source = Path(gqueue.__file__).parents[2]
    return kept | {
        "PATH": f"{bin_dir}:{os.environ['PATH']}",
        "HOME": str(bin_dir.parent),
        "XDG_RUNTIME_DIR": str(bin_dir.parent),
        "PYTHONPATH": str(source),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
    }


@pytest.mark.parametrize("shell", choices.SHELLS)
def test_gflow_completes_every_program_and_each_itself(run, shell):
    assert all(name in script("gflow", shell) for name in PROGRAMS)
    assert run(gqueue.COMMAND, "completion", shell).out == script("gqueue", shell)
    assert "gbatch" not in script("gqueue", shell)


def test_gflowd_is_asked_like_the_others(bin_dir):
    def gflowd(*words):
        environ = _environment(bin_dir)
        return subprocess.run(["gflowd", *words], env=environ, capture_output=True, text=True, check=True).stdout

    assert gflowd("completion", "zsh") == script("gflowd", "zsh")
    assert gflowd("__complete", "2", "bash", "2", "gflowd up --so", "gflowd", "up", "--so") == ":words\n--socket\n"


def test_a_shell_that_is_not_known_is_refused(run):
    done = run(gqueue.COMMAND, "completion", "cmd")
    assert (done.status, done.out) == (2, "")
    assert "bash, zsh, fish" in done.err


def test_completion_in_bash(bin_dir, daemon):
    daemon.on("GET", "/queue", reply("41\x1ftrain\x1fR\n"))
    (bin_dir / "c.bash").write_text(script("gflow", "bash"))
    terminal = Shell(["bash", "--norc", "--noprofile"], _environment(bin_dir))
    terminal.type(f"PS1='>'; bind 'set bell-style none'; . {bin_dir}/c.bash; echo rea''dy\n".encode(), b"ready\r\n")
    for typed, there in (
        (b"gqueue --states=PD,Ru\t", b"--states=PD,Running "),
        (b"gqueue -f NODEL\t", b"NODELIST\\(REASON\\) "),
        (b"gjob show 4\t", b"show 41 "),
        (b"gbatch --gpus 1 --chdir " + str(bin_dir).encode()[:-1] + b"\t", str(bin_dir).encode() + b"/"),
    ):
        assert there in terminal.type(typed, there)
        terminal.type(b"\x15\n", b">")
    terminal.close()


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_completion_in_zsh(bin_dir, daemon):
    daemon.on("GET", "/queue", reply("41\x1ftrain\x1fR\n"))
    (bin_dir / "_gflow").write_text(script("gflow", "zsh"))
    terminal = Shell(["zsh", "-f"], _environment(bin_dir))
    terminal.type(f"autoload -U compinit; compinit -D -u; . {bin_dir}/_gflow; echo rea''dy\n".encode(), b"ready\r\n")
    for typed, there in ((b"gqueue --states=PD,Ru\t", b"PD,Running "), (b"gjob show 4\t", b"show 41 ")):
        assert there in terminal.type(typed, there)
        terminal.type(b"\x15\n", b"\n")
    terminal.close()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_completion_in_fish(bin_dir, daemon):
    daemon.on("GET", "/queue", reply("41\x1ftrain\x1fR\n"))
    (bin_dir / "c.fish").write_text(script("gflow", "fish"))
    for line, expected in (("gqueue --states=PD,Ru", "--states=PD,Running\n"), ("gjob show 4", "41\ttrain (R)\n")):
        asked = f"source {bin_dir}/c.fish; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", asked],
            env=_environment(bin_dir),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.stdout == expected, done
