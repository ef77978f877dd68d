"""gjob log: what a job has printed, byte for byte, or as it comes.

A job prints to a terminal, which turns every newline into carriage return and newline; that is undone here unless
--raw is given, so that output looks as it would have in a pipe.
"""

from __future__ import annotations

import sys

from gflow.cli.command import Command, Option
from gflow.cli.job.arguments import ONE, one
from gflow.cli.kinds import positive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflow.cli.command import Values
    from gflow.client.http import Client
    from gflow.client.unix import Answer


def run(values: Values) -> int:
    client, job_id = one(values)
    lines = {"first": values["first"], "last": values["last"]}
    if values["follow"]:
        chunks = client.follow_log(job_id, **lines, before_wait=_leave_with_reader)
    else:
        chunks = client.log(job_id, **lines).chunks()
    written = _write(chunks if values["raw"] else newlines(chunks))
    if not written and not values["follow"]:
        _explain_silence(client, job_id)
    return 0


def newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks with every CR LF as LF, also where one ends between the two."""
    held = b""
    for chunk in chunks:
        data = held + chunk
        held = b"\r" if data.endswith(b"\r") else b""
        data = data[: len(data) - len(held)].replace(b"\r\n", b"\n")
        if data:
            yield data
    if held:
        yield held


def _write(chunks: Iterable[bytes]) -> int:
    out = sys.stdout.buffer
    written = 0
    for chunk in chunks:
        written += len(chunk)
        out.write(chunk)
        out.flush()
    return written


def _leave_with_reader(answer: Answer) -> None:
    """Wait for more output, or raise BrokenPipeError as soon as nobody reads ours: a quiet job may never tell."""
    import select

    poller = select.poll()
    poller.register(answer, select.POLLIN)
    poller.register(sys.stdout, 0)
    ours = sys.stdout.fileno()
    if any(ready == ours and events & select.POLLERR for ready, events in poller.poll()):
        raise BrokenPipeError


def _explain_silence(client: Client, job_id: int) -> None:
    state = client.job(job_id)["state"]
    if state in ("Queued", "Hold"):
        print(f"Job {job_id} has not started; gjob log -f {job_id} waits for it.", file=sys.stderr)


COMMAND = Command(
    "log",
    "Print the output of a job.",
    run,
    options=(
        Option("-f", "--follow", help="Go on printing until the job ends, also if it has yet to start."),
        Option("--first", convert=positive, metavar="N", help="Only the first N lines."),
        Option("-l", "--last", convert=positive, metavar="N", help="Only the last N lines."),
        Option("--raw", help="Exactly the bytes of the terminal, with its carriage returns."),
    ),
    arguments=(ONE,),
    exclusive=(("first", "last"),),
    examples=(
        ("gjob log 7", "all of it"),
        ("gjob log -f @", "follow your latest job"),
        ("gjob log 7 --last 20", "the end"),
    ),
)
