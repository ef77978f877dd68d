"""Which argument vector a job runs: `#!` first, then the suffix; never more than Linux takes."""

from typing import Any

import pytest

from gflow.core.errors import Impossible
from gflow.launch.program import Program, job_variables, program_of
from support.tmux_server import make_job

VALUE = "$(touch RAN)"
REFERENCE = '"${GFLOW_PARAM_P}"'


def script(text: bytes, path: str = "/home/ana/my job.sh", **fields: Any) -> Program:
    return program_of(make_job(script=path, script_digest="d", **fields), "/run", text)


def test_an_argv_is_taken_as_it_is() -> None:
    job = make_job(7, argv=("echo", "a b", "$HOME", "{x}", "$GFLOW_JOB_ID", "é;"), parameters={"y": "1"})
    assert program_of(job, "/run").argv == ("echo", "a b", "$HOME", "{x}", "7", "é;")


def test_a_command_is_a_line_for_bash() -> None:
    job = make_job(command="echo $GFLOW_JOB_ID {x}", parameters={"x": "a b"})
    assert program_of(job, "/run").argv == ("bash", "-c", "--", 'echo $GFLOW_JOB_ID "${GFLOW_PARAM_X}"')


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (("bash", "-c", "echo $GFLOW_JOB_NAME"), ("bash", "-c", "echo $GFLOW_JOB_NAME")),
        (("bash", "-lc", 'echo "{p}"'), ("bash", "-lc", 'echo "${GFLOW_PARAM_P}"')),
        (("/bin/sh", "-e", "-c", "echo {p}"), ("/bin/sh", "-e", "-c", 'echo "${GFLOW_PARAM_P}"')),
        (
            ("env", "A=1", "zsh", "-c", "--", "echo {p}", "{p}"),
            ("env", "A=1", "zsh", "-c", "--", f"GFLOW_PARAM_P='{VALUE}'; echo {REFERENCE}", VALUE),
        ),
        (
            ("timeout", "5", "bash", "-c", "{p}"),
            ("timeout", "5", "bash", "-c", f"GFLOW_PARAM_P='{VALUE}'; {REFERENCE}"),
        ),
        (("echo", "-c", "{p}"), ("echo", "-c", VALUE)),
        (("python", "-c", "{p}"), ("python", "-c", VALUE)),
        (("bash", "run.sh", "{p}"), ("bash", "run.sh", VALUE)),
    ],
)
def test_a_value_is_no_command_in_a_line_for_a_shell(argv: tuple[str, ...], expected: tuple[str, ...]) -> None:
    job = make_job(7, argv=argv, parameters={"p": VALUE}, name="$(id)")
    assert program_of(job, "/run").argv == expected


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        (b"#!/bin/sh\ntrue\n", ("/bin/sh",)),
        (b"#! /usr/bin/env  bash  \ntrue\n", ("/usr/bin/env", "bash")),
        (b"#!/usr/bin/perl -w -T\n", ("/usr/bin/perl", "-w -T")),
        (b"#!/bin/bash\r\ntrue\n", ("/bin/bash",)),
        (b"\xef\xbb\xbf#!/bin/sh\n", ("/bin/sh",)),
        (b"true\n", ("bash",)),
        (b"#!\ntrue\n", ("bash",)),
        (b"", ("bash",)),
    ],
)
def test_a_script_runs_by_its_first_line_else_with_bash(text: bytes, argv: tuple[str, ...]) -> None:
    program = script(text, script_args=("a b", "$GFLOW_JOB_ID"))
    assert program.argv == (*argv, "/run/script/my job.sh", "a b", "1")
    assert [name for name, _ in program.files] == ["script/my job.sh"]


def test_carriage_returns_are_removed_where_every_line_has_one() -> None:
    assert script(b"#!/bin/bash\r\necho a\r\n").files[0][1] == b"#!/bin/bash\necho a\n"
    assert script(b"#!/bin/bash\r\necho a\n").files[0][1] == b"#!/bin/bash\r\necho a\n"
    assert script(b"#!/usr/bin/perl\r\nprint 1\r\n").files[0][1] == b"#!/usr/bin/perl\r\nprint 1\r\n"


@pytest.mark.parametrize(
    ("text", "path", "argv", "any_python"),
    [
        (b"print(1)\n", "/x/train.py", ("python",), True),
        (b"#!/usr/bin/env python3\n", "/x/train", ("/usr/bin/env", "python3"), False),
        (b"#!/usr/bin/env -S python3 -u\n", "/x/train", ("/usr/bin/env", "-S python3 -u"), False),
        (b"#!/opt/venv/bin/python3.11 -u\n", "/x/train.py", ("/opt/venv/bin/python3.11", "-u"), False),
    ],
)
def test_python_runs_a_file_of_the_same_name_that_runs_the_text(
    text: bytes, path: str, argv: tuple[str, ...], any_python: bool
) -> None:
    program = script(text, path)
    name = path.rpartition("/")[2]
    assert program.argv == (*argv, f"/run/script/{name}")
    assert program.any_python is any_python
    assert [name for name, _ in program.files] == [f"script/{name}", "source"]
    assert program.files[1][1] == text


def test_another_interpreter_gets_a_py_file_itself() -> None:
    program = script(b"#!/usr/bin/env -S uv run --script\n", "/x/train.py")
    assert program.argv == ("/usr/bin/env", "-S uv run --script", "/run/script/train.py")
    assert program.any_python is False


def test_variables_of_a_job() -> None:
    job = make_job(7, "calm-lynx", (2, 3), task_id=4, restart_count=1, parameters={"lr-max": "0.1"}, script="a/b.sh")
    assert job_variables(job, "/run") == {
        "GFLOW_JOB_ID": "7",
        "GFLOW_JOB_NAME": "calm-lynx",
        "GFLOW_ARRAY_TASK_ID": "4",
        "GFLOW_RESTART_COUNT": "1",
        "GFLOW_RUN_ID": job.run_id,
        "GFLOW_PROGRESS_FILE": "/run/progress",
        "CUDA_VISIBLE_DEVICES": "2,3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "GFLOW_SCRIPT": "/a/b.sh",
        "GFLOW_SCRIPT_DIR": "/a",
        "GFLOW_PARAM_LR_MAX": "0.1",
    }
    assert job_variables(make_job(), "/run")["GFLOW_ARRAY_TASK_ID"] == "0"
    assert job_variables(make_job(), "/run")["CUDA_VISIBLE_DEVICES"] == ""


LIMIT = 128 * 1024


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "x" * LIMIT},
        {"argv": ("echo", "x" * LIMIT)},
        {"argv": ("echo", "ü" * (LIMIT // 2))},
        {"argv": ("echo", *(["x" * 1024] * 1025))},
        {"script": "a.sh", "script_digest": "d", "script_args": ("x" * LIMIT,)},
        {"command": "echo {p}", "parameters": {"p": "x" * LIMIT}},
        {"argv": ("a\0b",)},
        {"argv": ()},
    ],
)
def test_what_linux_cannot_start_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(Impossible):
        program_of(make_job(**fields), "/run", b"")


def test_the_largest_command_linux_takes_is_allowed() -> None:
    program_of(make_job(command="x" * (LIMIT - 1)), "/run")
    program_of(make_job(argv=("echo", *(["x" * 1000] * 1000))), "/run")


def test_a_job_without_anything_to_run_is_refused() -> None:
    with pytest.raises(Impossible):
        program_of(make_job(script="a.sh", script_digest="d"), "/run", None)
