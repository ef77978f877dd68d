"""A captured environment reaches the job byte for byte, through either shell."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gflow.core.errors import Malformed
from gflow.launch.environment import render_environment

SHELLS = [["dash"], ["bash", "--posix"]]
SHOW = "import os, sys; sys.stdout.buffer.write(b'\\0'.join(b'%s=%s' % pair for pair in os.environb.items()))"


def restored(env: dict[str, str], shell: list[str], tmp_path: Path) -> dict[str, str]:
    """The environment of a program started after the file was sourced."""
    file = tmp_path / "environment"
    file.write_bytes(render_environment(env))
    show = shlex.join([sys.executable, "-I", "-S", "-c", SHOW])
    text = f'gflow_exec() {{ exec "$@"; }}\nunset PWD OLDPWD\n. {file}\n( gflow_exec {show} )\n'
    done = subprocess.run([*shell, "-c", text], env={}, capture_output=True, check=True)
    assert done.stderr == b""
    pairs = (entry.split(b"=", 1) for entry in done.stdout.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}


@pytest.fixture(params=SHELLS, ids=["dash", "bash"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return list(request.param)


def test_values_arrive_byte_for_byte(shell: list[str], tmp_path: Path) -> None:
    every_byte = bytes(set(range(1, 256))).decode("utf-8", "surrogateescape")
    env = {"PLAIN": "a b", "QUOTES": "'\"`$(x)\\", "TEXT": "a\n\nb\n", "BYTES": every_byte, "EMPTY": "", "lower_1": "ü"}
    assert restored(env, shell, tmp_path).items() >= env.items()


def test_names_a_shell_cannot_export_arrive_too(shell: list[str], tmp_path: Path) -> None:
    env = {
        "BASH_FUNC_greet%%": "() {  echo 'hello \"you\"'\n}",
        "with.dot": "1",
        "UID": "7",
        "PPID": "8",
        "SHELLOPTS": "braceexpand",
        "OPTIND": "no number",
        "IFS": "x",
        "PLAIN": "p",
    }
    assert restored(env, shell, tmp_path).items() >= env.items()


def test_exported_functions_work_in_the_jobs_bash(tmp_path: Path) -> None:
    file = tmp_path / "environment"
    file.write_bytes(render_environment({"BASH_FUNC_greet%%": "() {  echo hello $1\n}", "PATH": os.environ["PATH"]}))
    text = f". {file}\n( gflow_exec bash -c 'greet you' )"
    assert subprocess.run(["dash", "-c", text], capture_output=True, check=True).stdout == b"hello you\n"


def test_what_describes_the_submitting_shell_is_left_out() -> None:
    kept = {"GFLOW_DAEMON_SOCKET": "/x", "HOME": "/root", "TERMINFO": "/t"}
    dropped = dict.fromkeys(["PWD", "OLDPWD", "SHLVL", "_", "TMUX", "TMUX_PANE", "TERM", "COLUMNS"], "x")
    of_an_outer_job = dict.fromkeys(["GFLOW_JOB_ID", "GFLOW_RUN_ID", "GFLOW_PARAM_LR", "GFLOW_ARRAY_TASK_ID"], "x")
    assert render_environment(kept | dropped | of_an_outer_job) == render_environment(kept)


def test_equal_environments_give_equal_bytes() -> None:
    assert render_environment({"A": "1", "B.x": "2", "C": "3"}) == render_environment({"C": "3", "B.x": "2", "A": "1"})


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A\0": "x"}, {"A": "x\0y"}])
def test_what_no_process_can_have_is_refused(env: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        render_environment(env)
