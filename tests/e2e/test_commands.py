"""What is typed after gbatch reaches the program as typed, and a quoted line means what it means to bash."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.daemon import Daemon

ARGUMENTS = {
    "comment": "# comment",
    "exit": "exit 3",
    "exec": "exec true",
    "ampersand": "sleep 0 &",
    "single quotes": "it's 'so'",
    "double quotes": 'say "so"',
    "home": "$HOME ${HOME} `id` $(id)",
    "bang": "!x !! !$",
    "newlines": "one\ntwo\n\n",
    "tabs": "\tone\ttwo\t",
    "option": "--opt",
    "option with value": "--time=0:01",
    "semicolon": "one;",
    "lone semicolon": ";",
    "backslash": "one\\",
    "non-ASCII": "grüße, мир, 世界, 🐧",
    "braces": "{braces} {a,b} {} {{x}} #{pane_id} %1 ~",
    "blank": " ",
    "empty": "",
    "100 kB": "x" * 100_000,
}

SHOW = """\
import os, sys
with open(sys.argv[1], "wb") as file:
    file.write(b"\\0".join(map(os.fsencode, sys.argv[2:])))
"""


@pytest.fixture(scope="module")
def show(shared: Daemon) -> Path:
    """A program that writes its arguments into the file its first one names. It is no script for gbatch."""
    path = shared.work / "show"
    path.write_text(SHOW)
    return path


@pytest.mark.parametrize("argument", ARGUMENTS.values(), ids=ARGUMENTS.keys())
def test_an_argument_reaches_the_program_byte_for_byte(shared: Daemon, show: Path, tmp_path: Path, argument: str):
    seen = tmp_path / "seen"
    job_id = shared.gbatch(sys.executable, str(show), str(seen), "first", argument, argument)
    assert shared.wait_job(job_id)["exit_code"] == 0, shared.log(job_id)
    assert seen.read_bytes().split(b"\0") == [b"first", os.fsencode(argument), os.fsencode(argument)]
    assert shared.log(job_id) == b""


def test_an_argument_that_is_no_text_reaches_the_program_over_the_api(shared: Daemon, show: Path, tmp_path: Path):
    argument = "\udcff \udc80\n"
    job_id = shared.submit(argv=[sys.executable, str(show), str(tmp_path / "seen"), argument])
    assert shared.wait_job(job_id)["argv"][-1] == argument
    assert (tmp_path / "seen").read_bytes() == b"\xff \x80\n"


LINES = {
    "comment": "echo shown # not shown",
    "only a comment": "# comment",
    "exit": "exit 3",
    "exit in between": "echo one; exit 3; echo two",
    "exec": "exec true",
    "exec false": "exec false",
    "ampersand": "echo here &",
    "background and wait": "(exit 4) & wait $!",
    "single quotes": "echo 'a \"quoted\"   word' '#' ';'",
    "double quotes": 'echo "it\'s $((1 + 1)) \\"words\\""',
    "home": "echo $HOME ${HOME} '$HOME'",
    "bang": "echo !x '!!' \"!$\"",
    "newlines": "echo one\necho two\n\nfalse\n",
    "here-document": "cat <<END\na $((2 + 2))\nEND",
    "tabs": "\techo\tone\t'two\tthree'\t",
    "option": "--opt is a command",
    "short option": "-e is a command",
    "plus": "+x is a command",
    "semicolon": "echo one;",
    "pipe": "printf 'b\\na\\n' | sort",
    "non-ASCII": "echo grüße, мир, 世界, 🐧",
    "braces": "echo {a,b} {braces} {} ${#HOME} #{pane_id} | cat",
    "backslash": "echo one\\\\ \\$HOME two\\",
    "not found": "no-such-command x",
    "syntax error": "echo (",
    "killed": "kill -9 $$",
    "100 kB": f"echo {'x' * 100_000} | wc -c",
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_a_line_means_what_it_means_to_bash(shared: Daemon, line: str):
    expected = subprocess.run(
        ["bash", "-c", "--", line],
        cwd=shared.work,
        env=shared.surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    job_id = shared.gbatch("--", line)
    job = shared.wait_job(job_id)
    assert job["command"] == line
    assert job["exit_code"] == expected.returncode % 256 if expected.returncode >= 0 else 128 - expected.returncode
    assert shared.log(job_id) == expected.stdout


def test_a_command_that_is_a_word_is_no_line_for_the_shell(shared: Daemon, show: Path):
    job_id = shared.gbatch("printf", "%s.", "a b", "$HOME")
    assert shared.wait_job(job_id)["argv"] == ["printf", "%s.", "a b", "$HOME"]
    assert shared.log(job_id) == b"a b.$HOME."


def test_only_variables_of_gflow_are_filled_in(shared: Daemon):
    job_id = shared.gbatch("echo", "$GFLOW_JOB_ID", "${GFLOW_JOB_NAME}", "$GFLOW_NO_SUCH", "$USER", "-n", "--name=x")
    name = shared.wait_job(job_id)["run_name"]
    assert shared.log(job_id).decode() == f"{job_id} {name} $GFLOW_NO_SUCH $USER -n --name=x\n"


@pytest.mark.parametrize("words", [["--nosuch", "1"], ["--gpu", "1", "true"], ["-Z", "true"], ["--time", "0", "true"]])
def test_an_unknown_or_bad_option_never_becomes_a_job(shared: Daemon, words: list[str]):
    before = shared.jobs().keys()
    refused = shared.cli("gbatch", *words)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert len(refused.stderr.splitlines()) == 1
    assert words[0] in refused.stderr
    assert shared.jobs().keys() == before


def test_an_option_after_the_command_belongs_to_the_command(shared: Daemon):
    job_id = shared.gbatch("echo", "--time", "0:01", "--nosuch")
    job = shared.wait_job(job_id)
    assert (job["time_limit"], shared.log(job_id)) == (None, b"--time 0:01 --nosuch\n")
