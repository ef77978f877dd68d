"""A captured environment as a file the wrapper sources. Pure.

The environment of a job is restored inside the wrapper, from a 0600 file, and never passed through a command line:
argument vectors are readable by every user of the machine. The file has two parts.

1. `export NAME='value'` for every name a POSIX shell can export.
2. For names it cannot (bash's exported functions, names with dots, the shell's own variables) a function that puts
   `env NAME=value` in front of the job's program. Only these reach an argument vector, and only until the exec.

Names that describe the shell or the terminal the job was submitted from are left out: the job has its own.
"""

import re
import shlex
from collections.abc import Iterable, Mapping

from gflow.core.errors import Malformed

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OF_THE_SUBMITTER = frozenset(
    "_ COLUMNS LINES OLDPWD PWD SHLVL TERM TERMCAP TERM_PROGRAM TERM_PROGRAM_VERSION TMUX TMUX_PANE".split()
)

_OF_AN_OUTER_JOB = (
    "GFLOW_JOB_",
    "GFLOW_PARAM_",
    "GFLOW_ARRAY_",
    "GFLOW_RUN_ID",
    "GFLOW_RESTART_",
    "GFLOW_SCRIPT",
    "GFLOW_PROGRESS_",
    "GFLOW_CPUS",
)
"""Set by the launcher itself. Other GFLOW_ names are settings: a job may use them to reach its daemon."""

_OWNED_BY_SHELLS = frozenset(
    "BASHOPTS BASHPID BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_CMDS BASH_COMMAND BASH_LINENO BASH_SOURCE BASH_SUBSHELL"
    " BASH_VERSINFO BASH_XTRACEFD COMP_WORDBREAKS DIRSTACK EPOCHREALTIME EPOCHSECONDS EUID FUNCNAME GROUPS HISTCMD IFS"
    " LINENO OPTIND POSIXLY_CORRECT PPID RANDOM SECONDS SHELLOPTS SRANDOM UID".split()
)
"""Read-only, or with a meaning of their own, in the shell that runs the wrapper."""


def render_environment(env: Mapping[str, str]) -> bytes:
    """The file for `env`. Equal environments give equal bytes; undecodable bytes (surrogateescape) survive.

    Raises Malformed for a name or value that no process can have.
    """
    names = sorted(name for name in env if _kept(name))
    for name in names:
        _check(name, env[name])
    lines = [f"export {name}={shlex.quote(env[name])}" for name in names if _exportable(name)]
    rest = [f"{name}={env[name]}" for name in names if not _exportable(name)]
    return "".join(f"{line}\n" for line in [*lines, *_exec_through_env(rest)]).encode("utf-8", "surrogateescape")


def _kept(name: str) -> bool:
    return name not in _OF_THE_SUBMITTER and not name.startswith(_OF_AN_OUTER_JOB)


def _check(name: str, value: str) -> None:
    if not name or "=" in name or "\0" in name:
        raise Malformed(f"{name!r} cannot be the name of an environment variable: use a name without '=' and NUL")
    if "\0" in value:
        raise Malformed(f"the environment variable {name!r} contains a NUL byte: remove it")


def _exportable(name: str) -> bool:
    return _IDENTIFIER.fullmatch(name) is not None and name not in _OWNED_BY_SHELLS


def _exec_through_env(assignments: Iterable[str]) -> list[str]:
    quoted = " ".join(map(shlex.quote, assignments))
    return [f'gflow_exec() {{ exec /usr/bin/env {quoted} "$@"; }}'] if quoted else []
