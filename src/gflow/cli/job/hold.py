"""gjob hold: keep waiting jobs from starting."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)

    def hold(job_id: int) -> None:
        client.hold(job_id)
        print(f"Job {job_id} put on hold.")

    return each(job_ids, hold)


COMMAND = Command(
    "hold",
    "Keep waiting jobs from starting.",
    run,
    arguments=(MANY,),
    examples=(("gjob hold 7,10-12", "four jobs"),),
)
