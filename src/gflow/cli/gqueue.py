"""gqueue: the queue as a table, or as data.

The table is the command people run most, so the daemon makes the texts of its cells and this only lines them up.
"""

from __future__ import annotations

import gc
import sys

from gflow.cli import columns, ids, states
from gflow.cli.colour import COLOUR, terminal_columns, wanted
from gflow.cli.command import Command, Option, UsageError
from gflow.cli.entry import start
from gflow.cli.kinds import choice, names, not_empty, signed, since, span_secs, trimmed
from gflow.cli.output import TABLE
from gflow.cli.view import View
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.client.voice import say
from gflow.core.listed import join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values

SORTS = ("id", "state", "time", "name", "gpus", "nodes", "priority")
_EVERYBODY = ("all", "*")
_FOR_EYES = ("tree", "by_state", "watch")


def run(values: Values) -> int:
    if values["group"] == "":  # `--group` alone, as in older gflow
        values = values | {"group": None, "by_state": True}
    _check(values)
    client = Client(find(values["url"], values["config"]))
    if values["progress"]:
        from gflow.cli.progress import print_progress

        return print_progress(client, values, *_whose(values["user"], by_id=False))
    asked = ids.resolve([part for parts in values["jobs"] for part in parts], client)
    filters = _filters(values, asked)
    if values["watch"]:
        from gflow.cli.watch import watch

        return watch(client, _view(values), filters, values["interval"])
    if values["output"] != "table":
        from gflow.cli.listing import print_listing

        shown = print_listing(client, filters, values["output"], values["format"])
    else:
        shown = _print_table(client, _view(values), filters)
    return max(_unreadable(client), _missing(client, asked, shown))


def _missing(client: Client, asked: list[tuple[int, int]], shown: list[int]) -> int:
    """Say which of the jobs that were named there are not."""
    if not asked:
        return 0
    from gflow.cli.fetching import missing_of, tell_missing

    return tell_missing(missing_of(client, asked, shown))


def _check(values: Values) -> None:
    for name in _FOR_EYES:
        if values[name] and values["output"] != "table":
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for people: it does not go with --output {values['output']}")
    if values["tree"] and values["by_state"]:
        raise UsageError("--tree and --by-state cannot be used together")
    if values["progress"] and (values["group"] or any(values[name] for name in _FOR_EYES)):
        raise UsageError("--progress is a table of its own: it goes with --user and --output")
    if values["interval"] is not None and not values["watch"]:
        raise UsageError("--interval is for --watch")
    if values["watch"] and not sys.stdout.isatty():
        raise UsageError("--watch needs a terminal; programs can follow the daemon's /events")


def _unreadable(client: Client) -> int:
    if client.unreadable:
        what = "1 ended job" if client.unreadable == 1 else f"{client.unreadable} ended jobs"
        say(f"left out {what} whose record cannot be read any more: see gctl state check")
    return 1 if client.unreadable else 0


def _filters(values: Values, asked: list[tuple[int, int]]) -> dict[str, Any]:
    """The parameters of GET /queue that say which jobs, in which order."""
    mine, users = _whose(values["user"], by_id=bool(asked))
    chosen = states.FINAL if values["completed"] else values["states"]
    return {
        "states": "all" if values["all"] else ",".join(chosen) if chosen else None,
        "users": users,
        "mine": mine,
        "ids": ids.show(asked) or None,
        "names": join(values["names"]) if values["names"] else None,
        "project": values["project"],
        "group": values["group"],
        "limit": values["limit"] or None,
        "sort": values["sort"],
        "since": values["since"],
        "terminals": 1 if values["tmux"] else None,
    }


def _whose(users: list[str] | None, *, by_id: bool) -> tuple[int | None, str | None]:
    """Whether to show the caller's jobs, else whose. Jobs asked for by id are shown whoever owns them."""
    if users is None:
        return (None if by_id else 1), None
    return None, None if any(user in _EVERYBODY for user in users) else ",".join(users)


def _view(values: Values) -> View:
    return View(
        values["format"] or columns.DEFAULT,
        tree=values["tree"],
        by_state=values["by_state"],
        symbols=wanted(values["color"]),
        live=values["watch"],
        most=terminal_columns(),
    )


def _print_table(client: Client, view: View, filters: dict[str, Any]) -> list[int]:
    """Print it; the ids in it, as far as it tells them."""
    rows, total = client.queue(view.asked, **filters)
    if not rows:
        print("No jobs found.")
        return []
    sys.stdout.write(view.text(rows))
    if len(rows) < total:
        which = "first" if filters["limit"] > 0 else "last"
        print(f"Showing {which} {len(rows)} of {total} jobs (use -n 0 to show all)")
    if found := view.groups(rows):
        from gflow.cli.progress import footer

        sys.stdout.write(footer(client, found, filters, view.most))
    job = view.asked.index("JOBID") if filters["ids"] and "JOBID" in view.asked else None
    return [] if job is None else [int(row[job]) for row in rows]


COMMAND = Command(
    "gqueue",
    "Show the queue.",
    run,
    options=(
        Option(
            "-u",
            "--user",
            "--users",
            convert=names,
            metavar="LIST",
            help="Jobs of these users (default: yours; all: everybody's).",
        ),
        Option(
            "-n",
            "--limit",
            convert=signed,
            metavar="N",
            default=0,
            help="The first N jobs, or with -N the last N (0: all).",
        ),
        Option("-a", "--all", help="Jobs in every state."),
        Option("-c", "--completed", help="Jobs that have ended."),
        Option(
            "--since",
            convert=since,
            metavar="TIME",
            help="Submitted since: 2h, 3d, 1w, today, yesterday, 2026-02-01, 2026-02-01T08:30 or 2026-02-01T08:30:00Z.",
        ),
        Option(
            "-r",
            "--sort",
            convert=choice(*SORTS),
            metavar="FIELD",
            default="id",
            choices=SORTS,
            help=f"Order by {', '.join(SORTS)}.",
        ),
        Option(
            "-s",
            "--states",
            "--state",
            convert=states.parse,
            metavar="LIST",
            choices=tuple(states.STATES),
            help="Jobs in these states, e.g. Running,PD (default: Queued,Hold,Running).",
        ),
        Option(
            "-j",
            "--jobs",
            "--job",
            convert=ids.parse,
            metavar="LIST",
            multiple=True,
            default=(),
            help="These jobs, in whatever state: 7, 1,3-5, @.",
        ),
        Option(
            "-N",
            "--names",
            "--name",
            convert=names,
            metavar="LIST",
            help="Jobs with exactly these names (\\, is a comma in one).",
        ),
        Option("-P", "--project", convert=not_empty, metavar="CODE", help="Jobs of this project."),
        Option("-T", "--tmux", help="Jobs that have a terminal to attach to, in whatever state."),
        Option(
            "-f",
            "--format",
            convert=columns.parse,
            metavar="LIST",
            choices=columns.COLUMNS,
            help=f"Columns: {', '.join(columns.COLUMNS)}.",
        ),
        Option("-g", "--by-state", help="In parts, one for each state."),
        Option(
            "--group",
            convert=trimmed,
            metavar="GROUP",
            bare="",
            help="Jobs of this group, by its name or id; without one the same as --by-state.",
        ),
        Option("-t", "--tree", help="As a tree: below each job what waits for it, and what was made again from it."),
        Option("--progress", help="How far arrays and groups are that have not ended, instead of jobs."),
        Option("-w", "--watch", help="Stay, and show every change; q ends it."),
        Option(
            "--interval",
            convert=span_secs,
            metavar="SECS",
            help="With --watch: how often the times that count are shown anew (default: 2).",
        ),
        TABLE,
        COLOUR,
    ),
    exclusive=(("all", "completed", "states"), ("tree", "by_state")),
    examples=(
        ("gqueue", "your jobs that wait or run"),
        (
            "gqueue -u all -s Running -f JOBID,USER,NAME,TIME,REMAINING",
            "what runs on the machine, and for how long still",
        ),
        ("gqueue -s PD -f JOBID,NAME,START,REASON", "when what waits is expected to start (~), and what it waits for"),
        ("gqueue -j 7,10-12", "these jobs, finished or not"),
        ("gqueue -a -t", "what waits for what, and what was made again"),
        ("gqueue -w -u all", "the queue of the machine as it changes"),
        ("gqueue --group lr -a", "all jobs of your group of that name"),
        ("gqueue --progress", "how far your arrays are"),
        ("gqueue -c --since today -o json", "what ended today, as data"),
    ),
)


def main() -> None:
    gc.disable()  # there may be very many cells, none of them garbage, and this is over soon
    start(COMMAND)
