"""gctl set-limit: how many jobs of a group may run at once."""

from __future__ import annotations

from gflow.cli import ids
from gflow.cli.command import Argument, Command, Failure
from gflow.cli.kinds import not_empty, positive
from gflow.cli.output import TEXT, print_document
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


_FIELDS = ("group_id", "max_concurrent", "updated_jobs")


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    done: list[dict[str, Any]] = []
    try:
        for group_id in dict.fromkeys(_groups(client, values["group"])):
            answer = client.set_group_limit(group_id, values["limit"])
            done.append({name: answer[name] for name in _FIELDS})
            if values["output"] == "text":
                print(
                    f"Updated max_concurrency to {answer['max_concurrent']} for group '{group_id}' "
                    f"({answer['updated_jobs']} jobs affected)"
                )
    finally:
        if values["output"] != "text":
            print_document({"groups": done}, values["output"])
    return 0


def _groups(client: Client, named: str) -> list[str]:
    """A group's id or name as given, or the ids of those of the jobs whose ids were given."""
    try:
        parts = ids.parse(named)
    except ValueError:
        return [named]
    return [_group_of(client.job(job_id)) for job_id in ids.expand(parts, client)]


def _group_of(job: dict[str, Any]) -> str:
    if job.get("group_id") is None:
        raise Failure(f"job {job['id']} belongs to no group; submit with --max-concurrent to make one")
    return str(job["group_id"])


COMMAND = Command(
    "set-limit",
    "Set how many jobs of a group may run at once.",
    run,
    options=(TEXT,),
    arguments=(Argument("group", "JOB-IDS|GROUP-ID|NAME", not_empty), Argument("limit", "N", positive)),
    examples=(
        ("gctl set-limit 42 3", "the group that job 42 belongs to"),
        ("gctl set-limit @ 3", "the group of your latest job"),
        ("gctl set-limit lr 3", "your group of that name"),
    ),
)
