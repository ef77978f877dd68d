"""gjob release: let held jobs go, at once or from a moment on."""

from __future__ import annotations

import math

from gflow.cli.command import Command, Option
from gflow.cli.job.arguments import MANY, many
from gflow.cli.kinds import begin
from gflow.cli.outcomes import act_on_each
from gflow.cli.output import TEXT
from gflow.cli.render.times import iso, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)
    at = None if values["at"] is None else math.ceil(values["at"])

    when = "" if at is None else f" (scheduled to start at {stamp(at)})"

    def release(job_id: int) -> dict[str, Any]:
        client.release(job_id, at)
        return {"begin_at": iso(at)}

    def tell(job: dict[str, Any]) -> None:
        print(f"Job {job['id']} released back to queue{when}.")

    return act_on_each(job_ids, release, tell, values["output"], ("begin_at",))


COMMAND = Command(
    "release",
    "Let held jobs go back to the queue.",
    run,
    options=(Option("--at", convert=begin, metavar="TIME", help="Not before: now+2h, +30, HH:MM or a date."), TEXT),
    arguments=(MANY,),
    examples=(("gjob release @", "your latest job"), ("gjob release 7 --at 22:00", "tonight")),
)
