"""gjob attach: the job's own terminal."""

from __future__ import annotations

import os
import sys

from gflow.cli.command import Command, Failure, Option
from gflow.cli.job.arguments import ONE, one
from gflow.client import ssh

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_id = one(values)
    argv = client.attach(job_id, read_only=values["read_only"])
    by_ssh = f"; in a terminal, run: {ssh.line(argv)}" if client.by_tcp else ""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise Failure(
            f"job {job_id} can only be attached to from a terminal; gjob log -f {job_id} shows its output{by_ssh}"
        )
    # Inside a tmux of the user's own, tmux would refuse to nest; the job's server is another one.
    os.environ.pop("TMUX", None)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - the daemon's own words, or ours
    except OSError as error:
        raise Failure(f"cannot run {argv[0]} ({error.strerror}){by_ssh}") from error


COMMAND = Command(
    "attach",
    "Open the terminal of a running job.",
    run,
    options=(Option("-r", "--read-only", help="Only look: keys do not reach the job."),),
    arguments=(ONE,),
    examples=(
        ("gjob attach 7", "leave again with Ctrl-B d; the job goes on"),
        ("gjob attach 7 --url https://gpu:59000", "on another machine: by way of ssh"),
    ),
)
