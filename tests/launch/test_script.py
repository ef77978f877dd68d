"""The wrapper by itself, under both shells that /bin/sh is: what it records, and what the job sees."""

import os
import secrets
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gflow.core.model import Job
from gflow.launch import cgroups
from gflow.launch.birthmark import mark_in, mark_of
from gflow.launch.program import program_of
from gflow.launch.run_directory import RunDirectory
from gflow.launch.script import UNCONFINED, Confinement, Places, render_environment, render_wrapper
from support.tmux_server import make_job
from support.wait import until


class Wrapper:
    """One launch without tmux; its "terminal" is a pipe."""

    def __init__(self, shell: str, root: Path) -> None:
        self.root, self.directory = root, RunDirectory(root / "7.run")
        self.confinement = UNCONFINED
        self.sleep = "/bin/true"
        self.work = root / "a dir $(x) 'q'"
        self.work.mkdir()
        sh = root / "sh"
        sh.symlink_to(f"/bin/{shell}")
        self.sh = str(sh)

    def prepare(self, job: Job, env: dict[str, str] | None = None, script: bytes | None = None) -> None:
        environment = self.root / "environment"
        environment.write_bytes(render_environment({"PATH": os.environ["PATH"], **(env or {})}))
        program = program_of(job, str(self.directory.path), script)
        places = Places(str(self.directory.path), str(environment), self.sleep, 200, self.confinement)
        self.directory.create(render_wrapper(job, program, places), program.files)

    def start(self, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [self.sh, str(self.directory.path / "run.sh")],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={
                "PATH": "/server",
                "TERM": "screen",
                "TMUX": "x",
                "TMUX_PANE": "%5",
                "GFLOW_RUN_ID": "run",
                "SHELL": "/s",
            },
            start_new_session=True,
            umask=0o077,
            **options,
        )

    def run(self, job: Job, **prepared: Any) -> str:
        self.prepare(job, **prepared)
        return self.start().communicate(timeout=30)[0].decode("utf-8", "surrogateescape")

    def job(self, *argv: str, **fields: Any) -> Job:
        kind: dict[str, Any] = {"argv": argv} if argv else {}
        return make_job(7, gpu_ids=(1, 3), run_dir=str(self.work), **kind, **fields)

    @property
    def ended(self) -> tuple[int | None, str | None]:
        return self.directory.record()[:2]


@pytest.fixture(params=["dash", "bash"])
def wrapper(request: pytest.FixtureRequest, tmp_path: Path) -> Wrapper:
    return Wrapper(request.param, tmp_path)


@pytest.mark.parametrize(
    ("command", "code", "printed"),
    [
        ("echo hi # a comment", 0, "hi\n"),
        ("exit 3", 3, ""),
        ("exec true", 0, ""),
        ("true &", 0, ""),
        ("echo 'a \"b\"' \"c 'd'\"", 0, "a \"b\" c 'd'\n"),
        ("echo $GFLOW_JOB_ID ${GFLOW_JOB_ID}!x", 0, "7 7!x\n"),
        ("echo a\n\necho b\n", 0, "a\nb\n"),
        ("echo 'a\tb'\t;", 0, "a\tb\n"),
        ("echo {a,b} {c}", 0, "a b {c}\n"),
        ("echo é ü 漢 \udcff", 0, "é ü 漢 \udcff\n"),
        ("kill -9 $$", 137, ""),
        ("kill -TERM $$", 143, ""),
        ("no-such-program 2>/dev/null", 127, ""),
    ],
)
def test_shell_lines(wrapper: Wrapper, command: str, code: int, printed: str) -> None:
    assert wrapper.run(wrapper.job(command=command)) == printed
    assert wrapper.ended == (code, None)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a  b", "$HOME", "`x`", "\\n", "\n", "'", '"', ";", "&", "*", "--opt", "", "# c", "é\udcff"],
        ["-n", "-e", "a\\tb"],
    ],
)
def test_arguments_arrive_as_they_are(wrapper: Wrapper, arguments: list[str]) -> None:
    assert wrapper.run(wrapper.job("printf", "<%s>", *arguments)) == "".join(f"<{argument}>" for argument in arguments)


def test_a_program_is_never_a_word_of_the_shell(wrapper: Wrapper) -> None:
    assert wrapper.run(wrapper.job("echo", "a\\tb", "-n")) == "a\\tb -n\n"
    assert wrapper.ended == (0, None)


def test_a_long_command_line(wrapper: Wrapper) -> None:
    assert wrapper.run(wrapper.job(command="echo " + "x" * 100_000)) == "x" * 100_000 + "\n"


@pytest.mark.parametrize(
    ("argv", "ended"),
    [
        (["no-such-program"], (127, "missing")),
        (["/no/such/program"], (127, "missing")),
        (["/etc/passwd"], (126, "refused")),
        (["/etc"], (126, "refused")),
        (["-no-such"], (127, "missing")),
    ],
)
def test_a_missing_program_is_recorded_and_not_printed(
    wrapper: Wrapper, argv: list[str], ended: tuple[int, str]
) -> None:
    assert wrapper.run(wrapper.job(*argv)) == ""
    assert wrapper.ended == ended


def test_what_the_job_sees(wrapper: Wrapper) -> None:
    job = wrapper.job(command="pwd; umask; ulimit -n; env", umask=0o027, task_id=3, parameters={"lr": "0.1 x"})
    cwd, umask, open_files, *pairs = wrapper.run(
        job, env={"A": "1", "B.c": "2", "PWD": "/old", "TERM": "vt100"}
    ).splitlines()
    env = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    assert (cwd, umask, open_files) == (str(wrapper.work), "0027", "200")
    assert env.pop("PWD") == str(wrapper.work)
    assert env.pop("_").endswith("env")
    assert env.pop("SHLVL") == "0"
    assert env == {
        "A": "1",
        "B.c": "2",
        "PATH": os.environ["PATH"],
        "TERM": "screen",
        "GFLOW_JOB_ID": "7",
        "GFLOW_JOB_NAME": job.run_name,
        "GFLOW_ARRAY_TASK_ID": "3",
        "GFLOW_RESTART_COUNT": "0",
        "GFLOW_RUN_ID": job.run_id,
        "GFLOW_PROGRESS_FILE": str(wrapper.directory.path / "progress"),
        "GFLOW_PARAM_LR": "0.1 x",
        "CUDA_VISIBLE_DEVICES": "1,3",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def test_files_of_the_job_get_the_usual_mode_where_the_umask_is_unknown(wrapper: Wrapper) -> None:
    assert wrapper.run(wrapper.job(command="umask")) == "0022\n"


def test_the_job_has_default_signals(wrapper: Wrapper) -> None:
    printed = wrapper.run(wrapper.job("grep", "-E", "Sig(Ign|Blk)", "/proc/self/status"))
    masks = [int(line.split()[1], 16) for line in printed.splitlines()]
    # signal 32 is the C library's own, and may be ignored where the tests run
    assert [mask & 0x7FFFFFFF for mask in masks] == [0, 0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_a_signal_to_the_terminals_processes_ends_the_job_and_not_the_wrapper(wrapper: Wrapper, number: int) -> None:
    wrapper.prepare(wrapper.job("dash", "-c", "ulimit -c 0; echo ready; exec tail -f /dev/null"))
    process = wrapper.start()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert wrapper.ended == (128 + number, None)


def test_a_signal_before_the_job_runs_keeps_it_from_running(wrapper: Wrapper, tmp_path: Path) -> None:
    conda, gate = tmp_path / "conda", tmp_path / "gate"
    os.mkfifo(gate)
    conda.write_text(
        f"#!/bin/sh\ntrap '' INT\necho ready >{tmp_path}/ready\nread -r line <{gate}\necho 'conda() {{ :; }}'\n"
    )
    conda.chmod(0o700)
    wrapper.prepare(wrapper.job("touch", "ran", conda_env="x"), env={"CONDA_EXE": str(conda)})
    process = wrapper.start()
    until((tmp_path / "ready").exists, "conda")
    os.kill(process.pid, signal.SIGINT)
    gate.write_text("go\n")
    process.communicate(timeout=30)
    assert wrapper.ended == (130, None)
    assert not (wrapper.work / "ran").exists()


def test_it_never_runs_twice(wrapper: Wrapper) -> None:
    assert wrapper.run(wrapper.job("echo", "once")) == "once\n"
    assert wrapper.start().communicate(timeout=30)[0] == b""
    assert wrapper.ended == (0, None)


def test_it_does_not_run_once_the_launch_was_given_up(wrapper: Wrapper) -> None:
    wrapper.prepare(wrapper.job("echo", "never"))
    assert wrapper.directory.claim() is True
    assert wrapper.start().communicate(timeout=30)[0] == b""
    assert wrapper.ended == (None, None)


def test_its_mark_says_who_it_is(wrapper: Wrapper) -> None:
    wrapper.prepare(wrapper.job("true"))
    process = wrapper.start()
    process.communicate(timeout=30)
    mark = wrapper.directory.mark()
    assert mark is not None
    assert mark[:3] == (process.pid, os.getpid(), "%5")


@pytest.mark.parametrize("name", ["missing", "a file"])
def test_a_directory_it_cannot_enter(wrapper: Wrapper, name: str) -> None:
    (wrapper.work / "a file").touch()
    job = make_job(7, argv=("echo", "no"), run_dir=str(wrapper.work / name))
    assert wrapper.run(job) == ""
    assert wrapper.ended == (1, "chdir")


def test_a_directory_it_may_not_enter(wrapper: Wrapper) -> None:
    """Root may enter everything: then the wrapper runs as somebody else."""
    wrapper.prepare(wrapper.job("echo", "no"))
    wrapper.work.chmod(0)
    user = 65534 if os.geteuid() == 0 else os.geteuid()
    for path in (wrapper.directory.path, *wrapper.directory.path.iterdir(), wrapper.root / "environment"):
        os.chown(path, user, -1)
    with _reachable(wrapper.root):
        process = wrapper.start(**({"user": user} if os.geteuid() == 0 else {}))
        assert process.communicate(timeout=30)[0] == b""
    assert wrapper.ended == (1, "chdir")


@contextmanager
def _reachable(path: Path) -> Iterator[None]:
    """Let everybody pass through the directories above `path` that are closed."""
    closed = [parent for parent in (path, *path.parents) if parent.stat().st_mode & 0o777 == 0o700]
    modes = [directory.stat().st_mode for directory in closed]
    for directory in closed:
        directory.chmod(0o711)
    yield
    for directory, mode in zip(closed, modes, strict=True):
        directory.chmod(mode)


def test_a_lost_environment(wrapper: Wrapper) -> None:
    wrapper.prepare(wrapper.job("echo", "no"))
    (wrapper.root / "environment").unlink()
    assert wrapper.start().communicate(timeout=30)[0] == b""
    assert wrapper.ended == (1, "environment")


CONDA = """#!/bin/sh
[ "$1 $2" = "shell.posix hook" ] || exit 9
echo 'conda() { [ "$1" = activate ] || return 1; [ "$2" = "my env" ] || { echo "no env $2" >&2; return 1; }
  export CONDA_DEFAULT_ENV="$2" CUDA_VISIBLE_DEVICES=all; }'
"""


@pytest.mark.parametrize("by", ["CONDA_EXE", "PATH"])
def test_a_conda_environment_is_activated(wrapper: Wrapper, tmp_path: Path, by: str) -> None:
    conda = tmp_path / "bin" / "conda"
    conda.parent.mkdir()
    conda.write_text(CONDA)
    conda.chmod(0o700)
    env = {"CONDA_EXE": str(conda)} if by == "CONDA_EXE" else {"PATH": f"{conda.parent}:{os.environ['PATH']}"}
    job = wrapper.job(command="echo $CONDA_DEFAULT_ENV, $CUDA_VISIBLE_DEVICES", conda_env="my env")
    assert wrapper.run(job, env=env) == "my env, 1,3\n"


@pytest.mark.parametrize(("prefix", "path", "asked"), [("", "bin", False), ("", "sbin", True), ("none", "bin", True)])
def test_a_conda_environment_that_came_along_is_not_activated_again(
    wrapper: Wrapper, tmp_path: Path, prefix: str, path: str, asked: bool
) -> None:
    (tmp_path / "bin").mkdir()
    conda = tmp_path / "conda"
    conda.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\necho 'conda() {{ :; }}'\n")
    conda.chmod(0o700)
    env = {"CONDA_EXE": str(conda), "CONDA_PREFIX": str(tmp_path / prefix), "CONDA_DEFAULT_ENV": "my env"}
    env["PATH"] = f"{tmp_path / path}:{os.environ['PATH']}"
    assert wrapper.run(wrapper.job("echo", "ran", conda_env="my env"), env=env) == "ran\n"
    assert (tmp_path / "asked").exists() == asked


@pytest.mark.parametrize("hook", [CONDA, "#!/bin/sh\nexit 1\n", "#!/bin/sh\necho 'if then'\n", None])
def test_a_conda_environment_that_cannot_be_activated(wrapper: Wrapper, tmp_path: Path, hook: str | None) -> None:
    conda = tmp_path / "conda"
    if hook:
        conda.write_text(hook)
        conda.chmod(0o700)
    assert wrapper.run(wrapper.job("echo", "no", conda_env="other"), env={"CONDA_EXE": str(conda)}) == ""
    assert wrapper.ended == (1, "conda")
    assert wrapper.directory.conda_output() == "no env other" or hook != CONDA


@pytest.mark.parametrize(
    ("name", "text", "printed"),
    [
        ("my job.sh", b"#!/bin/bash\r\necho $1\r\nfor x in 1; do echo $x; done\r\n", "a b\n1\n"),
        ("job", b"[[ 1 == 1 ]] && echo $1\n", "a b\n"),
        ("job.sh", b"#!/usr/bin/env -S bash -e\necho $1; false; echo no\n", "a b\n"),
        ("awk", b"#!/usr/bin/awk -f\nBEGIN { print ARGV[1] }\n", "a b\n"),
        ("é.sh", b"echo ${0##*/}\n", "é.sh\n"),
    ],
)
def test_scripts(wrapper: Wrapper, name: str, text: bytes, printed: str) -> None:
    job = wrapper.job(script=f"/some dir/{name}", script_digest="d", script_args=("a b",))
    assert wrapper.run(job, script=text) == printed


def test_a_script_learns_where_it_came_from(wrapper: Wrapper) -> None:
    job = wrapper.job(script="/some dir/job.sh", script_digest="d")
    assert wrapper.run(job, script=b'echo "$GFLOW_SCRIPT, $GFLOW_SCRIPT_DIR"\n') == "/some dir/job.sh, /some dir\n"


def test_a_script_with_a_missing_interpreter(wrapper: Wrapper) -> None:
    assert wrapper.run(wrapper.job(script="/x/job", script_digest="d"), script=b"#!/no/such\n") == ""
    assert wrapper.ended == (127, "missing")


@pytest.mark.parametrize("names", [["python"], ["python3"], ["python", "python3"], []])
def test_python_is_the_one_of_the_environment(wrapper: Wrapper, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} ${{1##*/}}\n")
        program.chmod(0o700)
    printed = wrapper.run(wrapper.job(script="/x/train.py", script_digest="d"), script=b"", env={"PATH": str(tmp_path)})
    assert printed == (f"{names[0]} train.py\n" if names else "")
    assert wrapper.ended == ((0, None) if names else (127, "missing"))


def test_a_job_enters_its_cgroup_and_its_cpus_before_its_first_instruction(wrapper: Wrapper, tmp_path: Path) -> None:
    cpu, cgroup = min(os.sched_getaffinity(0)), tmp_path / "a 'cgroup'"
    cgroup.touch()
    wrapper.confinement = Confinement(str(cgroup), str(cpu), shutil.which("taskset"))
    printed = wrapper.run(wrapper.job("sh", "-c", f"cat {shlex.quote(str(cgroup))}; nproc; echo $GFLOW_CPUS", cpus=1))
    assert printed == "0\n1\n1\n", "the subshell that becomes the program enters, not the wrapper"
    assert wrapper.ended == (0, None)


def test_a_job_is_born_with_the_mark_of_its_launch(wrapper: Wrapper) -> None:
    job = wrapper.job("sh", "-c", "setsid -w env -i cat /proc/self/limits")
    assert mark_in(wrapper.run(job).encode()) == mark_of(job.run_id or "")
    assert wrapper.ended == (0, None)


def test_without_its_cgroup_it_does_not_run(wrapper: Wrapper, tmp_path: Path) -> None:
    wrapper.confinement = Confinement(str(tmp_path / "gone"))
    assert wrapper.run(wrapper.job("echo", "ran")) == ""
    assert wrapper.ended == (1, "limits")


@pytest.fixture
def moved_to() -> Iterator[Path]:
    """A cgroup as root makes one for a job of a user; no limit is kept in it."""
    own = cgroups._own(os.getpid())
    if own is None or not os.access(own.directory / "cgroup.procs", os.W_OK) or os.geteuid() != 0:
        pytest.skip("there is no cgroup v2 here that may have others in it")
    place = own.directory / f"7.{secrets.token_hex(4)}"
    parts = [place, place / "wrapper", place / "job"]
    for part in parts:
        part.mkdir()
    yield place
    for part in reversed(parts):
        until(lambda part=part: subprocess.call(["rmdir", part], stderr=subprocess.DEVNULL) == 0, f"{part} is empty")


def test_a_wrapper_that_is_to_be_moved_begins_when_it_was(wrapper: Wrapper, moved_to: Path) -> None:
    wrapper.confinement = Confinement(str(moved_to / "job/cgroup.procs"), within=moved_to.name)
    wrapper.prepare(wrapper.job("sh", "-c", "grep ^0: /proc/self/cgroup"))
    process = wrapper.start()
    until(wrapper.directory.mark, "its mark")
    assert wrapper.ended == (None, None)
    (moved_to / "wrapper/cgroup.procs").write_text(str(process.pid))
    assert process.communicate(timeout=30)[0].decode().endswith(f"/{moved_to.name}/job\n")
    assert wrapper.ended == (0, None)


def test_a_wrapper_that_waits_to_be_moved_can_be_ended(wrapper: Wrapper) -> None:
    wrapper.sleep, wrapper.confinement = "/bin/false", Confinement("/gone", within="7.run")
    assert wrapper.run(wrapper.job("echo", "ran")) == ""
    assert wrapper.ended == (130, None)


def test_the_wrapper_is_plain_posix(tmp_path: Path) -> None:
    job = make_job(7, argv=("true",), conda_env="x", umask=0o077)
    confined = Confinement("/c/job/cgroup.procs", "0,1", "/usr/bin/taskset", within="7.run")
    places = Places("/d/7.run", "/d/environment", "/bin/sleep", 1024, confined)
    text = render_wrapper(job, program_of(job, "/d/7.run"), places).decode()
    for shell in ("dash", "bash --posix"):
        assert subprocess.run([*shlex.split(shell), "-n", "-c", text], capture_output=True, check=True).stderr == b""
