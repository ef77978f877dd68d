"""tmux without a scheduler: what the machine allows at best.

Every job gets just what gflow gives it: a private server, the same wrapper script in a run directory of its own, the
same client call that makes the session and pipes its output to a log, and as many calls at a time. There is no queue,
no state on disk and nobody who looks at how a job ended.
"""

import concurrent.futures
import os
import pathlib
import select
import shutil
import subprocess
import time

from gflow.core.model import Job, JobId, JobSpec, State
from gflow.launch import tmux as launcher
from gflow.launch.log import make_log, writer_command
from gflow.launch.program import program_of
from gflow.launch.run_directory import WRAPPER, RunDirectory
from gflow.launch.script import Places, render_environment, render_wrapper

CLIENTS = launcher._CONCURRENT_LAUNCHES  # called the same way
SLEEP = shutil.which("sleep") or "/bin/sleep"


class TmuxAlone:
    """A private tmux server in `home`."""

    name = "tmux alone"

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.logs, self.runs = home / "logs", home / "runs"
        for directory in (home, self.logs, self.runs):
            directory.mkdir(mode=0o700)
        self.environment = self.runs / "environment"
        self.environment.write_bytes(render_environment({"PATH": os.environ["PATH"]}))
        self.number = 0
        self.call("new-session", "-d", "-s", "keeper", "sleep", "100000")

    def call(self, *arguments: str) -> str:
        """One call of the tmux binary."""
        command = ["tmux", "-S", str(self.home / "s"), "-f", "/dev/null", *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, check=True, env=environment, stdin=subprocess.DEVNULL, capture_output=True, cwd=self.logs
        )
        return done.stdout.decode().strip()

    def launch(self, number: int) -> int | None:
        """Start one job; a pidfd of its wrapper, None if that has ended already."""
        spec = JobSpec(owner="bench", run_dir=str(self.home), command="true")
        job = Job(
            id=JobId(number), spec=spec, run_name="bench", state=State.RUNNING, submitted_at=0.0, run_id=f"{number:x}"
        )
        directory = RunDirectory.of(self.runs, job)
        program = program_of(job, str(directory.path), None)
        places = Places(str(directory.path), str(self.environment), SLEEP)
        directory.create(render_wrapper(job, program, places), program.files)
        log = self.logs / f"{number}.log"
        make_log(log, time.time())
        name = f"gjob-{number}"
        pid = self.call(
            *("new-session", "-d", "-s", name, "-x", "160", "-y", "48", "-e", f"GFLOW_RUN_ID={job.run_id}"),
            *("-P", "-F", "#{pane_pid}", "/bin/sh", str(directory.path / WRAPPER)),
            *(";", "pipe-pane", "-t", f"={name}:", writer_command(log, directory)),
        )
        try:
            return os.pidfd_open(int(pid))
        except ProcessLookupError:
            return None

    def drain(self, jobs: int) -> float:
        """Start so many jobs and wait until the last has ended; return jobs per second."""
        numbers = range(self.number + 1, self.number + 1 + jobs)
        self.number += jobs
        begun = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            for wrapper in clients.map(self.launch, numbers):
                if wrapper is not None:
                    if not select.select([wrapper], [], [], 60)[0]:
                        raise TimeoutError("a job that does nothing has not ended after a minute")
                    os.close(wrapper)
        return jobs / (time.perf_counter() - begun)

    def stop(self) -> None:
        """End the server."""
        self.call("kill-server")
