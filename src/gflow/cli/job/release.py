"""gjob release: let held jobs go, at once or from a moment on."""

from __future__ import annotations

import math

from gflow.cli.command import Command, Option
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.kinds import begin
from gflow.cli.render.times import stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)
    at = None if values["at"] is None else math.ceil(values["at"])

    def release(job_id: int) -> None:
        client.release(job_id, at)
        when = "" if at is None else f" (scheduled to start at {stamp(at)})"
        print(f"Job {job_id} released back to queue{when}.")

    return each(job_ids, release)


COMMAND = Command(
    "release",
    "Let held jobs go back to the queue.",
    run,
    options=(Option("--at", convert=begin, metavar="TIME", help="Not before: now+2h, +30, HH:MM or a date."),),
    arguments=(MANY,),
    examples=(("gjob release @", "your latest job"), ("gjob release 7 --at 22:00", "tonight")),
)
