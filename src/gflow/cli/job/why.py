"""gjob why: what a job waits for, and when it is expected to start."""

from __future__ import annotations

import time

from gflow.cli.command import Command
from gflow.cli.each import each
from gflow.cli.job.arguments import MANY, many
from gflow.cli.render.times import ahead, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    client, job_ids = many(values)
    return each("gjob why", job_ids, lambda job_id: print("\n".join(lines(client.why(job_id)))))


def lines(answer: dict[str, Any]) -> list[str]:
    """The explanation, one reason a line."""
    found = [f"Job {answer['id']} is {answer['state']}."]
    found += [_line(reason) for reason in answer.get("reasons") or ()]
    if answer.get("expected_start") is not None:
        start = answer["expected_start"]
        found.append(f"  Expected to start at {stamp(start)}, {ahead(start - time.time())}.")
    elif answer.get("expected_start_unknown"):
        found.append(f"  No start can be told: {answer['expected_start_unknown']}.")
    return found


def _line(reason: dict[str, Any]) -> str:
    return f"  {reason['text']}" + (f" ({reason['help']})" if reason.get("help") else "")


COMMAND = Command(
    "why",
    "Say why jobs wait.",
    run,
    arguments=(MANY,),
    examples=(("gjob why @", "what your latest job waits for"),),
)
