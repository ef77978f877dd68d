"""gctl state prune: remove the records of jobs that ended long ago."""

from __future__ import annotations

import time

from gflow.cli.command import Command, Failure, Option, UsageError
from gflow.cli.kinds import before
from gflow.cli.output import TEXT, print_document
from gflow.cli.state.place import by_daemon
from gflow.cli.state.words import amount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from gflow.cli.command import Values


def run(values: Values) -> int:
    moment, dry_run, logs = values["before"], values["dry_run"], values["logs"]
    if moment is None:
        raise UsageError("say which jobs: --before TIME, e.g. --before 90d or --before 2026-01-31")
    done = by_daemon(
        values,
        lambda client: client.prune_state(moment, dry_run=dry_run, logs=logs),
        lambda data_dir: _alone(data_dir, moment, dry_run=dry_run, logs=logs),
    )
    if values["output"] != "text":
        print_document(done, values["output"])
        return 0
    print(_sentence(done, moment, dry_run=dry_run, logs=logs))
    if done["kept"]:
        print(f"Kept {amount(done['kept'], 'job')} that ended before, but that others still depend on.")
    return 0


def _sentence(done: dict[str, Any], moment: float, *, dry_run: bool, logs: bool) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    where = f"{done['from_state']} in the state, {done['from_history']} in the history"
    with_logs = f", and {amount(done['logs'], 'log')}" if logs else ""
    verb = "Would remove" if dry_run else "Removed"
    return f"{verb} {amount(done['jobs'], 'job')} that ended before {when} ({where}){with_logs}."


def _alone(data_dir: Path, moment: float, *, dry_run: bool, logs: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from gflow.store.history import HistoryError
    from gflow.store.upkeep.tidy import NotTidy, prune

    try:
        return asdict(prune(data_dir, moment, logs=logs, dry_run=dry_run, wall=time.time()))
    except NotTidy as error:
        raise Failure(str(error)) from None
    except HistoryError as error:
        raise Failure(f"{error}; see 'gctl state check'") from None


COMMAND = Command(
    "prune",
    "Remove the records of jobs that ended before a moment; their ids are never given again.",
    run,
    options=(
        Option(
            "--before",
            convert=before,
            metavar="TIME",
            help="Jobs that ended before this: 12h, 30d, 4w, today, yesterday, a date, or a date and time.",
        ),
        Option("--dry-run", help="Only say how many that would be."),
        Option("--logs", help="Remove their output, too."),
        TEXT,
    ),
    examples=(
        ("gctl state prune --before 90d --dry-run", "how many ended more than 90 days ago"),
        ("gctl state prune --before 2026-01-31 --logs", "those that ended before that day, with their output"),
    ),
)
