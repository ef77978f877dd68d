"""gjob hold: keep waiting jobs from starting."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.job.arguments import MANY, many
from gflow.cli.outcomes import act_on_each
from gflow.cli.output import TEXT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)

    def hold(job_id: int) -> dict[str, Any]:
        client.hold(job_id)
        return {}

    return act_on_each(job_ids, hold, lambda job: print(f"Job {job['id']} put on hold."), values["output"])


COMMAND = Command(
    "hold",
    "Keep waiting jobs from starting.",
    run,
    options=(TEXT,),
    arguments=(MANY,),
    examples=(("gjob hold 7,10-12", "four jobs"),),
)
