"""gctl quota set: limits that count before the configured ones, until they are removed."""

from __future__ import annotations

from gflow.cli.command import Command, Option, UsageError
from gflow.cli.kinds import count
from gflow.cli.output import TEXT, print_change
from gflow.cli.quota.whose import ONE_OF, WHOSE, described, whose
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

_LIMITS = (
    Option("--max-running-jobs", convert=count, metavar="N", help="So many jobs may run at once."),
    Option("--max-running-gpus", convert=count, metavar="N", help="So many GPUs may be held at once."),
    Option("--max-queued-jobs", convert=count, metavar="N", help="So many jobs may wait, those on hold included."),
)


def run(values: Values) -> int:
    scope, name = whose(values)
    limits = {option.dest: values[option.dest] for option in _LIMITS if values[option.dest] is not None}
    if not limits:
        raise UsageError(f"say how much: {', '.join(option.names[0] for option in _LIMITS)}")
    Client(find(values["url"], values["config"])).set_quota(scope, name, limits)
    listed = ", ".join(f"{limit}={value}" for limit, value in limits.items())
    change = {"scope": scope, "name": name, "limits": limits}
    print_change(change, values["output"], f"Quota of {described(scope, name)}: {listed}")
    return 0


COMMAND = Command(
    "set",
    "Limit what a user or project may have at once; limits that are not given stay.",
    run,
    options=(*WHOSE, *_LIMITS, TEXT),
    exclusive=(ONE_OF,),
    examples=(
        ("gctl quota set --user alice --max-running-gpus 2", "alice has at most two GPUs at once"),
        ("gctl quota set --default-user --max-queued-jobs 100", "everybody without limits of their own"),
    ),
)
