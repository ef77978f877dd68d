"""tmux without a scheduler: what the machine allows at best.

Every job gets what gflow gives it: a private server, a wrapper script of its own, one client call that makes the
session and pipes its output to a log, an exit status written beside the job, and a line through a FIFO after that.
"""

import concurrent.futures
import os
import pathlib
import select
import subprocess
import time

CLIENTS = 4
"""tmux client calls at a time."""

WRAPPER = """#!/bin/sh
cd '{folder}' || exit 1
bash -c true
status=$?
printf '%s\\n' "$status" >'{folder}/exit.partial'
mv '{folder}/exit.partial' '{folder}/exit'
printf '%s\\n' {number} >'{fifo}'
"""


class TmuxAlone:
    """A private tmux server in `home`."""

    name = "tmux alone"

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        self.fifo = home / "ended"
        os.mkfifo(self.fifo, 0o600)
        self.reader = os.open(self.fifo, os.O_RDWR)
        self.number = 0
        self.call("new-session", "-d", "-s", "keeper", "sleep", "100000")

    def call(self, *arguments: str) -> None:
        """One call of the tmux binary."""
        command = ["tmux", "-S", str(self.home / "s"), "-f", "/dev/null", *arguments]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL)

    def launch(self, number: int) -> None:
        """Start one job."""
        folder = self.home / str(number)
        folder.mkdir(mode=0o700)
        wrapper = folder / "wrapper"
        wrapper.write_text(WRAPPER.format(folder=folder, fifo=self.fifo, number=number))
        wrapper.chmod(0o700)
        target, log = f"job-{number}", f"cat >>'{folder}/log'"
        self.call("new-session", "-d", "-s", target, str(wrapper), ";", "pipe-pane", "-t", f"={target}:", log)

    def drain(self, jobs: int) -> float:
        """Start so many jobs and wait until the last has ended; return jobs per second."""
        numbers = range(self.number, self.number + jobs)
        self.number += jobs
        begun = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            launches = [clients.submit(self.launch, number) for number in numbers]
            ended = 0
            while ended < jobs:
                if not select.select([self.reader], [], [], 60)[0]:
                    raise TimeoutError(f"{ended} of {jobs} jobs have ended, and no other does")
                ended += os.read(self.reader, 65536).count(b"\n")
            secs = time.perf_counter() - begun
            for launch in launches:
                launch.result()
        return jobs / secs

    def stop(self) -> None:
        """End the server."""
        self.call("kill-server")
        os.close(self.reader)
