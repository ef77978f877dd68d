"""gctl state compact: write the state as a new snapshot now."""

from __future__ import annotations

from gflow.cli.command import Command, Failure
from gflow.cli.output import TEXT, print_document
from gflow.cli.state.place import by_daemon
from gflow.cli.state.words import amount, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    done = by_daemon(values, lambda client: client.compact_state(), _alone)
    if values["output"] != "text":
        print_document(done, values["output"])
        return 0
    before, after = size(done["bytes_before"]), size(done["bytes_after"])
    print(f"Wrote a snapshot of {amount(done['jobs'], 'job')}: a start reads {after}, before it was {before}.")
    return 0


def _alone(data_dir: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from gflow.store.upkeep.tidy import NotTidy, compact

    try:
        return asdict(compact(data_dir))
    except NotTidy as error:
        raise Failure(str(error)) from None


COMMAND = Command(
    "compact",
    "Write a snapshot of the state now, so that the log begins anew.",
    run,
    options=(TEXT,),
    examples=(("gctl state compact", "with the daemon, or without it if it does not run"),),
)
