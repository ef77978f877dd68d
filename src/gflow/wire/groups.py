"""Arrays and groups as the API shows them."""

from typing import Any

from gflow.core.engine import Engine


def group_json(engine: Engine, group_id: str) -> dict[str, Any]:
    """A group by its name or its first job: whose it is, and how many jobs are in which state, each task once."""
    first = engine.jobs[min(engine.members(group_id))]
    counts = engine.group_counts(group_id)
    return {
        "group_id": group_id,
        "first_job_id": first.id,
        "name": first.spec.group_name or first.run_name,
        "user": first.spec.owner,
        "project": first.spec.project,
        "max_concurrent": engine.groups[group_id].max_concurrent,
        "jobs": sum(counts.values()),
        "counts": {state.value: number for state, number in counts.items()},
    }
