"""gjob log: what a job has printed, byte for byte, or as it comes; also of all its attempts, or only the lines meant.

A job prints to a terminal, which turns every newline into carriage return and newline; that is undone here unless
--raw is given, so that output looks as it would have in a pipe.
"""

from __future__ import annotations

import sys

from gflow.cli.command import Command, Option, UsageError
from gflow.cli.job.arguments import ONE, one
from gflow.cli.kinds import pattern, positive
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gflow.cli.command import Values
    from gflow.client.http import Client
    from gflow.client.unix import Answer


def run(values: Values) -> int:
    if values["grep"] and values["follow"] and values["last"]:
        raise UsageError("--last with --grep needs the end of the log, so it cannot --follow")
    client, job_id = one(values)
    if values["retries"]:
        from gflow.cli.job.attempts import print_attempts

        written = print_attempts(client, job_id, values["follow"], lambda attempt: _print(client, attempt, values))
    else:
        written = _print(client, job_id, values)
        if not written and not values["follow"]:
            _explain_silence(client, job_id)
        _point_to_retries(client, job_id)
    return 1 if values["grep"] and not written else 0


def _print(client: Client, job_id: int, values: Values) -> int:
    """Print what was asked for of one job; how many bytes that were."""
    if values["grep"]:
        from gflow.cli.job.search import matching

        whole = _chunks(client, job_id, {**values, "first": None, "last": None})
        return _write(matching(newlines(whole), values["grep"], values["first"], values["last"]))
    chunks = _chunks(client, job_id, values)
    return _write(chunks if values["raw"] else newlines(chunks))


def _chunks(client: Client, job_id: int, values: Values) -> Iterator[bytes]:
    first, last = values["first"], values["last"]
    if values["follow"]:
        return client.follow_log(job_id, first=first, last=last, before_wait=_leave_with_reader)
    return client.log(job_id, first=first, last=last).chunks()


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
    while not (found := poller.poll(1000 * answer.patience.secs)):
        answer.patience.more()
    if any(ready == ours and events & select.POLLERR for ready, events in found):
        raise BrokenPipeError


def _explain_silence(client: Client, job_id: int) -> None:
    state = client.job(job_id)["state"]
    if state in ("Queued", "Hold"):
        say(f"Job {job_id} has not started; gjob log -f {job_id} waits for it")


def _point_to_retries(client: Client, job_id: int) -> None:
    """Tell somebody at a terminal that the story goes on elsewhere."""
    if sys.stderr.isatty():
        again = client.job(job_id).get("retried_as")
        if again is not None:
            hint = f"gjob log --retries {job_id} prints the output of all attempts"
            say(f"Job {job_id} was tried again as job {again}; {hint}")


COMMAND = Command(
    "log",
    "Print the output of a job.",
    run,
    options=(
        Option("-f", "--follow", help="Go on printing until the job ends, also if it has yet to start."),
        Option("--first", convert=positive, metavar="N", help="Only the first N lines."),
        Option("-l", "--last", convert=positive, metavar="N", help="Only the last N lines."),
        Option("--grep", convert=pattern, metavar="REGEX", help="Only lines that match; exit status 1 if none does."),
        Option("-R", "--retries", help="The output of all attempts of the job, from the first to the last."),
        Option("--raw", help="Exactly the bytes of the terminal, with its carriage returns."),
    ),
    arguments=(ONE,),
    exclusive=(("first", "last"), ("raw", "grep")),
    examples=(
        ("gjob log 7", "all of it"),
        ("gjob log -f @", "follow your latest job"),
        ("gjob log 7 --last 20", "the end"),
        ("gjob log 7 --grep 'loss|Error' --last 5", "the last five lines that match"),
        ("gjob log -f --retries 7", "follow it from attempt to attempt"),
    ),
)
