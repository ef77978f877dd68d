"""gctl webhooks: who is told of events, how that goes, and deliveries that were given up."""

from __future__ import annotations

import sys

from gflow.cli.command import Argument, Command, UsageError
from gflow.cli.kinds import not_empty
from gflow.cli.output import output, print_document
from gflow.cli.render.table import harmless, table
from gflow.cli.render.times import stamp
from gflow.client.endpoint import find
from gflow.client.errors import Declined
from gflow.client.http import Client
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

    Record = dict[str, Any]

_HEADER = ("TARGET", "KIND", "QUEUED", "DELIVERED", "RETRIED", "DROPPED", "GIVEN_UP", "LAST", "NEXT_TRY")
_GIVEN_UP = ("ID", "EVENT", "TARGET", "ATTEMPTS", "AT", "WHY")
_SHOWN = 20


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    verb, *ids = values["words"] or ["list"]
    if verb == "redeliver" and ids:
        return _redeliver(client, ids)
    if verb != "list" or ids:
        raise UsageError("say 'gctl webhooks', or 'gctl webhooks redeliver ID...'")
    found = client.notifications()
    if values["output"] == "table":
        _show(found)
    else:
        print_document(found, values["output"])
    return 0


def _redeliver(client: Client, ids: list[str]) -> int:
    status = 0
    for delivery_id in ids:
        try:
            answer = client.redeliver(delivery_id)
        except Declined as error:
            say(str(error))
            status = 1
        else:
            print(harmless(f"{answer['id']} waits for its turn at {answer['target']}."))
    return status


def _show(found: Record) -> None:
    for trouble in _troubles(found):
        say(harmless(trouble))
    if not found["targets"]:
        print("Nobody is told of events: notifications are off, or no target is set.")
        return
    sys.stdout.write(table(_HEADER, [_row(target) for target in found["targets"]]))
    for target in found["targets"]:
        if target["last_failure"] is not None and target["last_result"] == "failed":
            print(harmless(f"{target['name']}: {target['last_failure']}"))
    if found["given_up"]:
        print(f"\nGiven up, the latest first ({min(len(found['given_up']), _SHOWN)} of {len(found['given_up'])}):")
        sys.stdout.write(table(_GIVEN_UP, [_given_up(one) for one in found["given_up"][:_SHOWN]]))


def _troubles(found: Record) -> list[str]:
    said = []
    if found["outbox_trouble"] is not None:
        said.append(f"deliveries would not outlive the daemon: {found['outbox_trouble']}")
    if found["events_lost"]:
        said.append(f"{found['events_lost']} events were lost when the daemon was killed")
    dropping = [target for target in found["targets"] if target["dropped"]]
    said += [f"{one['name']}: {one['dropped']} deliveries were dropped, for too many waited" for one in dropping]
    kept = [(target, *item) for target in found["targets"] for item in target.get("mail_withheld", {}).items()]
    said += [f"{one['name']}: {count} mails for jobs of {user} were not sent: too many" for one, user, count in kept]
    return said


def _row(target: Record) -> list[str]:
    counts = [str(target[name]) for name in ("queued", "delivered", "retried", "dropped", "given_up")]
    last = "-" if target["last_result"] is None else f"{target['last_result']} {stamp(target['last_result_at'])}"
    waits = stamp(target["next_try"])
    return [
        harmless(target["name"]),
        target["kind"],
        *counts,
        last,
        f"{waits} (paused)" if target["paused"] else waits,
    ]


def _given_up(one: Record) -> list[str]:
    return [
        one["id"],
        one["event"],
        harmless(one["target"]),
        str(one["attempts"]),
        stamp(one["at"]),
        harmless(one["why"]),
    ]


COMMAND = Command(
    "webhooks",
    "Show who is told of events and how that goes; with 'redeliver', make deliveries that were given up after all.",
    run,
    options=(output("table", "json", "yaml"),),
    arguments=(Argument("words", "[redeliver ID]", not_empty, required=False, variadic=True),),
    examples=(
        ("gctl webhooks", "every target: what waits, the last result, the next try; and what was given up"),
        ("gctl webhooks redeliver 1042-3f9a0c12b7de-qxkbvd", "one that was given up"),
    ),
)
