"""What a job runs, as an exact argument vector and the files it needs. Pure.

A script runs by its `#!`, else by its suffix. The `#!` is read here instead of by the kernel, so a script need not
be executable, its directory may be mounted noexec, and a carriage return at the end of the line does no harm.
"""

import posixpath
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from gflow.core.errors import Impossible
from gflow.core.model import Job, JobSpec
from gflow.launch.placeholders import fill_argument, fill_line, parameter_variables, referred_to
from gflow.launch.python_shim import render_shim

MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux' limit for one argument (MAX_ARG_STRLEN), without its final NUL."""

MAX_COMMAND_BYTES = 1024 * 1024
"""All arguments together. Linux allows 2 MiB for arguments and environment at the usual stack limit."""

PROGRESS_VARIABLE = "GFLOW_PROGRESS_FILE"
PROGRESS_FILE = "progress"
"""In the run directory, made by the job if it likes to say how far it is."""

_PYTHON = re.compile(r"(python|pypy)[0-9.]*")
_SHELLS = frozenset("sh bash dash ksh mksh zsh ash fish busybox".split())
_LINE_OPTION = re.compile(r"-[A-Za-z]*c")


@dataclass(frozen=True, slots=True)
class Program:
    """`files` are names, relative to the run directory, and contents the program needs there.

    `any_python`: argv[0] is "python"; "python3" does as well.
    """

    argv: tuple[str, ...]
    files: tuple[tuple[str, bytes], ...] = ()
    any_python: bool = False


def job_variables(job: Job, run_directory: str) -> dict[str, str]:
    """The environment variables gflow sets for `job`."""
    spec = job.spec
    variables = {
        "GFLOW_JOB_ID": str(job.id),
        "GFLOW_JOB_NAME": job.run_name,
        "GFLOW_ARRAY_TASK_ID": str(spec.task_id or 0),
        "GFLOW_RESTART_COUNT": str(spec.restart_count),
        "GFLOW_RUN_ID": job.run_id or "",
        PROGRESS_VARIABLE: f"{run_directory}/{PROGRESS_FILE}",
        "CUDA_VISIBLE_DEVICES": ",".join(map(str, job.gpu_ids or ())),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }
    if spec.cpus is not None:
        variables["GFLOW_CPUS"] = str(spec.cpus)
    if spec.script is not None:
        path = script_path(spec)
        variables |= {"GFLOW_SCRIPT": path, "GFLOW_SCRIPT_DIR": posixpath.dirname(path)}
    carriers = parameter_variables(spec.parameters)
    return variables | {carriers[name]: value for name, value in spec.parameters.items()}


def script_path(spec: JobSpec) -> str:
    """The script the user named, as an absolute path."""
    return posixpath.normpath(posixpath.join(spec.run_dir, spec.script or ""))


def program_of(job: Job, run_directory: str, script_text: bytes | None = None) -> Program:
    """What `job` runs. `script_text` is needed for scripts only. Raises Impossible if Linux would refuse its size."""
    program = _program_of(job, run_directory, script_text)
    _check_sizes(program.argv)
    return program


def check_line(spec: JobSpec) -> None:
    """Raise Impossible, before it is queued, for a parameter that would not be data where a line for a shell has it."""
    if not spec.parameters:
        return
    if spec.command is not None:
        fill_line(spec.command, spec.parameters)
    else:
        _filled(spec.argv or spec.script_args, {}, spec.parameters)


def _check_sizes(argv: tuple[str, ...]) -> None:
    if not argv:
        raise Impossible("The command is empty: say what to run")
    if any("\0" in argument for argument in argv):
        raise Impossible("The command contains a NUL byte, which no argument can: remove it")
    sizes = [len(argument.encode("utf-8", "surrogateescape")) for argument in argv]
    if max(sizes, default=0) > MAX_ARGUMENT_BYTES:
        raise Impossible(
            f"The command has an argument of {max(sizes)} bytes and Linux allows {MAX_ARGUMENT_BYTES}: put it in a file"
        )
    if sum(sizes) > MAX_COMMAND_BYTES:
        raise Impossible(f"The command has {sum(sizes)} bytes and may have {MAX_COMMAND_BYTES}: put it in a script")


def _program_of(job: Job, run_directory: str, script_text: bytes | None) -> Program:
    spec = job.spec
    if spec.command is not None:
        return Program(("bash", "-c", "--", fill_line(spec.command, spec.parameters)))
    variables = job_variables(job, run_directory)
    if spec.argv is not None:
        return Program(_filled(spec.argv, variables, spec.parameters))
    if script_text is None:
        raise Impossible(f"Job {job.id} has neither a command nor the text of a script: submit it again")
    arguments = _filled(spec.script_args, variables, spec.parameters)
    return _script_program(script_path(spec), script_text, arguments, run_directory)


def _filled(argv: tuple[str, ...], variables: Mapping[str, str], parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What a shell in it is to run as a line is filled as a line: a value must not become a command there."""
    lines = _shell_lines(argv)
    return tuple(
        _line_in_argv(argv, position, lines[position], parameters)
        if position in lines
        else fill_argument(argument, variables, parameters)
        for position, argument in enumerate(argv)
    )


def _line_in_argv(argv: tuple[str, ...], position: int, shell: int, parameters: Mapping[str, str]) -> str:
    """The line for the shell `argv[shell]`.

    One behind other programs (`env -i`, `docker run`) may have another environment: it is told what the line refers to.
    """
    line = fill_line(argv[position], parameters)
    values = referred_to(line, parameters)
    if values and posixpath.basename(argv[shell]) == "fish":
        raise Impossible("fish is given a line with a parameter whose value is no plain word: use bash -c, or a script")
    if shell == 0 or line == argv[position]:
        return line
    return "".join(f"{name}={shlex.quote(value)}; " for name, value in values.items()) + line


def _shell_lines(argv: tuple[str, ...]) -> dict[int, int]:
    """Where in `argv` a shell is given a line, and where that is: `bash -c LINE`, also behind `env` and the like."""
    found: dict[int, int] = {}
    shell: int | None = None
    wants_line = False
    for position, argument in enumerate(argv):
        if shell is not None and wants_line and not argument.startswith("-"):
            found[position] = shell
            shell, wants_line = None, False
        elif shell is not None and _LINE_OPTION.fullmatch(argument):
            wants_line = True
        elif posixpath.basename(argument) in _SHELLS:
            shell = position
    return found


def _script_program(path: str, text: bytes, arguments: tuple[str, ...], run_directory: str) -> Program:
    text = text.removeprefix(b"\xef\xbb\xbf")
    interpreter = _interpreter(text)
    name = "script/" + (posixpath.basename(path) or "script")
    copy = f"{run_directory}/{name}"
    if _is_python(interpreter, path):
        source = f"{run_directory}/source"
        files = ((name, render_shim(path, source)), ("source", text))
        return Program((*(interpreter or ("python",)), copy, *arguments), files, any_python=not interpreter)
    if _runs(interpreter or ("bash",), _SHELLS):
        text = _with_unix_line_ends(text)
    return Program((*(interpreter or ("bash",)), copy, *arguments), ((name, text),))


def _interpreter(text: bytes) -> tuple[str, ...]:
    """The interpreter and its one argument of a `#!` line, as the kernel splits it; empty without one."""
    if not text.startswith(b"#!"):
        return ()
    line = text[2:].split(b"\n", 1)[0].decode("utf-8", "surrogateescape")
    return tuple(line.strip(" \t\r").split(None, 1))


def _is_python(interpreter: tuple[str, ...], path: str) -> bool:
    return _PYTHON.fullmatch(_name(interpreter)) is not None if interpreter else path.endswith(".py")


def _runs(interpreter: tuple[str, ...], names: frozenset[str]) -> bool:
    return _name(interpreter) in names


def _name(interpreter: tuple[str, ...]) -> str:
    """The program a `#!` line stands for, looking through env."""
    words = " ".join(interpreter).split()
    if words and posixpath.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return posixpath.basename(words[0]) if words else ""


def _with_unix_line_ends(text: bytes) -> bytes:
    """A shell takes the CR of a CRLF for part of a word; if every line ends so, none was meant."""
    all_crlf = b"\r\n" in text and text.count(b"\n") == text.count(b"\r\n")
    return text.replace(b"\r\n", b"\n") if all_crlf else text
