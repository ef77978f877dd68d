"""The wrapper: the small POSIX shell script that is the main process of a job. Pure.

It is written anew for every launch and its path is all that tmux is told. Rules it keeps:

- Its first act is to create the mark `started`, which must not exist. A daemon that gives a launch up creates the
  mark itself, so a launch happens once or never, whoever else is still on the way.
- It prints nothing, and what its shell would like to say (as "Killed") goes nowhere: the log is the job's alone.
- The program runs in a subshell that is replaced by it, with default signals. Ctrl-C, SIGQUIT and SIGTERM reach the
  program, and leave the wrapper alive to record how it ended. A hang-up ends the wrapper too: only with the end of the
  session's leader does the kernel pass it on to the program.
- A job with limits enters its cgroup in that subshell; the wrapper stays outside, and outlives what ends all in it.
  Where jobs are of several users, it first waits until root has moved it to where the job can be entered from.
- The status goes into the record in one write of one line, `CODE [WORD]`, valid once it ends in a newline; so no rename
  (a process per job) is needed. It overwrites what is there already, so a full disk does not lose it.
- Then it closes the terminal and waits for the hang-up. tmux takes the death of a pane's process for the end of its
  output even when the kernel still holds some (seen with 3.3a on a busy machine: one large log in nine was cut).
  Closed by its last writer the terminal reads to its very end, tmux hangs up at once, and the wait is over. Only a
  left-over process that keeps the terminal open makes it last its full two seconds.
"""

import shlex
from dataclasses import dataclass

from gflow.core.model import Job
from gflow.launch.birthmark import shell_line
from gflow.launch.environment import render_environment as render_environment
from gflow.launch.program import Program, job_variables

DEFAULT_UMASK = 0o022

MARK = "started"
"""In the run directory: `PID PPID PANE` of the wrapper, written as its first act."""

RECORD = "record"
"""In the run directory: its first line becomes `CODE [WORD]`."""

_TERMINAL = "TMUX TMUX_PANE TERM_PROGRAM TERM_PROGRAM_VERSION"
_SERVER = "PATH HOME SHELL LANG LC_ALL PWD OLDPWD"

_WRAPPER = """\
# gflow: job {job_id}, launch {run_id}
exec 3>&2 2>/dev/null
set -C
echo "$$ $PPID ${{TMUX_PANE-}}" >{run}/started || exit 1
set +C
gflow_stopped=
trap 'gflow_stopped=1' INT QUIT TERM
gflow_end() {{
  echo "$@" 1<>{run}/record
  trap '' INT QUIT
  exec {sleep} 2 </dev/null >/dev/null 3>&-
}}
gflow_exec() {{ exec "$@"; }}
{wait}gflow_term=$TERM
unset {unset}
command . {environment} || gflow_end 1 environment
[ "$PATH" ] || PATH=/usr/local/bin:/usr/bin:/bin
export TERM="$gflow_term"
{conda}{exports}
umask {umask:04o}
cd {cwd} || gflow_end 1 chdir
unset OLDPWD SHLVL
export PWD
{limit}{birthmark}{confine}{find}
[ "$gflow_stopped" ] && gflow_end 130
( {enter}exec 2>&3 3>&-; gflow_exec {argv} )
gflow_end $?
"""

# Where it was active at submission it is so now: conda would change nothing, and take half a second for it.
_CONDA = """\
[ "${{CONDA_DEFAULT_ENV-}}" = {name} ] && [ -d "${{CONDA_PREFIX-}}/bin" ] &&
case ":$PATH:" in *":$CONDA_PREFIX/bin:"*) ;; *) false ;; esac || {{
  gflow_hook=$("${{CONDA_EXE:-conda}}" shell.posix hook) && command eval "$gflow_hook" && conda activate {name}
}} >{run}/conda 2>&1 </dev/null || gflow_end 1 conda
"""


# Asked of the kernel, so nobody need be there to say so when it has happened, and nobody else can.
_WAIT = """\
gflow_in() {{
  while read -r gflow_line; do case $gflow_line in 0::*/{name}/*) return 0 ;; esac; done </proc/self/cgroup
  return 1
}}
until gflow_in; do {sleep} 0.01 || gflow_end 130; done
"""


@dataclass(frozen=True, slots=True)
class Confinement:
    """What of the machine the job is kept to.

    cgroup: the file by which a process enters the job's cgroup, None if it has none. cpus: those it may run on, as
    taskset has them; None: all. taskset: the program of that name, None if there is none. within: the cgroup, a plain
    word, that the wrapper is moved into by somebody else, and waits for; None: it does not wait.
    """

    cgroup: str | None = None
    cpus: str | None = None
    taskset: str | None = None
    within: str | None = None

    def waiting(self, sleep: str) -> str:
        """What the wrapper does about it before all else that is not its own."""
        return _WAIT.format(name=self.within, sleep=shlex.quote(sleep)) if self.within is not None else ""

    @property
    def lines(self) -> str:
        """What the wrapper does about it."""
        entered = f"[ -w {shlex.quote(self.cgroup)} ] || gflow_end 1 limits\n" if self.cgroup is not None else ""
        if self.cpus is None or self.taskset is None:
            return entered
        return f"{entered}{shlex.quote(self.taskset)} -cp {self.cpus} $$ >&2\n"

    @property
    def entering(self) -> str:
        """What the subshell does that becomes the program: 0 stands for the process that writes it."""
        return f"echo 0 >{shlex.quote(self.cgroup)} || exit 1; " if self.cgroup is not None else ""


UNCONFINED = Confinement()


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths the wrapper refers to, and the limit of open files (None: as inherited) the job gets.

    environment: a file made by `render_environment`. sleep: the program of that name.
    confinement: what keeps its limits.
    """

    run_directory: str
    environment: str
    sleep: str
    open_files: int | None = None
    confinement: Confinement = UNCONFINED


def render_wrapper(job: Job, program: Program, places: Places) -> bytes:
    """The wrapper that runs `program` for `job`."""
    spec = job.spec
    run = shlex.quote(places.run_directory)
    variables = job_variables(job, places.run_directory)
    exports = "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    text = _WRAPPER.format(
        job_id=job.id,
        run_id=job.run_id,
        run=run,
        sleep=shlex.quote(places.sleep),
        wait=places.confinement.waiting(places.sleep),
        unset=f"{_TERMINAL} {_SERVER}",
        environment=shlex.quote(places.environment),
        exports=exports,
        conda=_CONDA.format(name=shlex.quote(spec.conda_env), run=run) if spec.conda_env else "",
        umask=DEFAULT_UMASK if spec.umask is None else spec.umask,
        cwd=shlex.quote(spec.run_dir),
        limit=f"ulimit -S -n {places.open_files}\n" if places.open_files else "",
        birthmark=shell_line(job.run_id or ""),
        confine=places.confinement.lines,
        enter=places.confinement.entering,
        find=_find(program),
        argv=_command(program),
    )
    return text.encode("utf-8", "surrogateescape")


def _find(program: Program) -> str:
    """Notice a missing program before a shell has to complain about it in the job's log."""
    name = shlex.quote(program.argv[0])
    if program.any_python:
        return (
            "gflow_python=python\ncommand -v python >/dev/null || gflow_python=python3\n"
            'command -v "$gflow_python" >/dev/null || gflow_end 127 missing'
        )
    if "/" not in program.argv[0]:
        return f"command -v {name} >/dev/null || gflow_end 127 missing"
    return f"[ -e {name} ] || gflow_end 127 missing\n[ -f {name} ] && [ -x {name} ] || gflow_end 126 refused"


def _command(program: Program) -> str:
    words = list(map(shlex.quote, program.argv))
    if program.any_python:
        words[0] = '"$gflow_python"'
    if program.argv[0].startswith("-"):
        words[:0] = ["/usr/bin/env", "--"]
    return " ".join(words)
