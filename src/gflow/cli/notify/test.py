"""gctl notify test: one notification to every target, now, and what came of it."""

from __future__ import annotations

from gflow.cli.command import Command, Option
from gflow.cli.kinds import not_empty
from gflow.cli.output import TEXT, print_document
from gflow.cli.render.table import harmless
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    """1 if any target could not be told."""
    results = Client(find(values["url"], values["config"])).test_notifications(values["target"])
    if values["output"] != "text":
        print_document({"results": results}, values["output"])
    for result in results if values["output"] == "text" else ():
        print(harmless(f"{result['target']}: {_went(result)}"))
    return 1 if any(result["error"] is not None for result in results) else 0


def _went(result: dict[str, Any]) -> str:
    if result["error"] is not None:
        return f"failed: {result['error']}"
    took, note = f"in {result['secs']:.3g} s", result.get("note")
    return f"delivered {took}" if note is None else f"reached {took}; {note}"


COMMAND = Command(
    "test",
    "Send a notification named 'test' to every target, whatever it subscribed to, and say how that went.",
    run,
    options=(
        Option("--target", convert=not_empty, metavar="NAME", help="Only to this one: its name, key or host."),
        TEXT,
    ),
    examples=(
        ("gctl notify test", "all of them; exit status 1 if one fails"),
        ("gctl notify test --target api.example.com", "what goes to this host"),
    ),
)
