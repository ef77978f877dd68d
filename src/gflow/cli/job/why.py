"""gjob why: what a job waits for, and when it is expected to start."""

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


_PHRASES = {"Hold": "is on hold", "Timeout": "ran into its time limit"}
"""Of states whose names are no adjectives."""


def run(values: Values) -> int:
    client, job_ids = many(values)
    if values["output"] != "text":
        return print_each("jobs", job_ids, lambda one: document(client.why(one)), values["output"])
    columns = terminal_columns()
    return each(job_ids, lambda job_id: print("\n".join(folded(line, columns) for line in lines(client.why(job_id)))))


def document(answer: dict[str, Any]) -> dict[str, Any]:
    """The explanation as programs read it."""
    return answer | {"expected_start": iso(answer.get("expected_start"))}


def lines(answer: dict[str, Any]) -> list[str]:
    """The explanation, one reason a line."""
    found = [f"Job {answer['id']} {_PHRASES.get(answer['state'], 'is ' + answer['state'])}."]
    found += [_line(reason) for reason in answer.get("reasons") or ()]
    if answer.get("expected_start") is not None:
        start = answer["expected_start"]
        found.append(f"  Expected to start at {stamp(start)}, {ahead(start - time.time())}.")
    elif answer.get("expected_start_unknown"):
        found.append(f"  No start can be told: {answer['expected_start_unknown']}.")
    return list(map(harmless, found))


def _line(reason: dict[str, Any]) -> str:
    return f"  {local(reason['text'])}" + (f" ({reason['help']})" if reason.get("help") else "")


COMMAND = Command(
    "why",
    "Say why jobs wait.",
    run,
    options=(TEXT,),
    arguments=(MANY,),
    examples=(("gjob why @", "what your latest job waits for"),),
)
