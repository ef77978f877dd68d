"""gjob eta: when jobs are expected to start, or why nobody can tell."""

from __future__ import annotations

import time

from gflow.cli.colour import terminal_columns
from gflow.cli.command import Command
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.output import TEXT, print_each
from gflow.cli.render.fit import folded
from gflow.cli.render.table import harmless
from gflow.cli.render.times import ahead, iso, local, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)
    if values["output"] != "text":
        return print_each("jobs", job_ids, lambda one: document(client.why(one)), values["output"])
    columns = terminal_columns()
    return each(job_ids, lambda job_id: print(folded(line(client.why(job_id), time.time()), columns, "  ")))


def document(answer: dict[str, Any]) -> dict[str, Any]:
    """What is expected as programs read it."""
    start, unknown = iso(answer.get("expected_start")), answer.get("expected_start_unknown")
    return {"id": answer["id"], "state": answer["state"], "expected_start": start, "expected_start_unknown": unknown}


def line(answer: dict[str, Any], now: float) -> str:
    """What is expected of one job."""
    name, start = f"Job {answer['id']}", answer.get("expected_start")
    if start is not None:
        return f"{name} is expected to start at {stamp(start)}, {ahead(start - now)}."
    if answer.get("expected_start_unknown"):
        return f"{name}: no start can be told: {harmless(answer['expected_start_unknown'])}."
    reasons = " ".join(local(reason["text"]) for reason in answer.get("reasons") or ())
    return f"{name} is {answer['state']}: {harmless(reasons)}"


COMMAND = Command(
    "eta",
    "Tell when waiting jobs are expected to start, if all jobs take the time their limits allow.",
    run,
    options=(TEXT,),
    arguments=(MANY,),
    examples=(("gjob eta @", "your latest job"), ("gjob eta 7,10-12", "these")),
)
