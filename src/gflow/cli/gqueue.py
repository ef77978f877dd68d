"""gqueue: the queue as a table, or as data.

The table is the command people run most, so the daemon makes the texts of its cells and this only lines them up.
"""

from __future__ import annotations

import sys

from gflow.cli import columns, ids, states
from gflow.cli.colour import COLOUR, STATE_COLOURS, wanted
from gflow.cli.command import Command, Option
from gflow.cli.entry import start
from gflow.cli.kinds import choice, names, not_empty, signed, since
from gflow.cli.render.table import harmless, table
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.cli.render.table import Paint

SORTS = ("id", "state", "time", "name", "gpus", "nodes", "priority")
_OUTPUTS = ("table", "json", "csv", "yaml")
_EVERYBODY = ("all", "*")


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    if values["output"] != "table":
        from gflow.cli.listing import print_listing

        print_listing(client, _filters(values, client), values["output"], forecast="START" in values["format"])
    else:
        _print_table(client, values)
    if client.unreadable:
        what = "1 ended job" if client.unreadable == 1 else f"{client.unreadable} ended jobs"
        print(f"gqueue: left out {what} whose record cannot be read any more: see gctl state check", file=sys.stderr)
    return 1 if client.unreadable else 0


def _filters(values: Values, client: Client) -> dict[str, Any]:
    """The parameters of GET /queue that say which jobs, in which order."""
    asked = ids.resolve([part for parts in values["jobs"] for part in parts], client)
    mine, users = _whose(values["user"], bool(asked))
    chosen = states.FINAL if values["completed"] else values["states"]
    return {
        "states": "all" if values["all"] else ",".join(chosen) if chosen else None,
        "users": users,
        "mine": mine,
        "ids": ids.show(asked) or None,
        "names": ",".join(values["names"]) if values["names"] else None,
        "project": values["project"],
        "limit": values["limit"] or None,
        "sort": values["sort"],
        "since": values["since"],
    }


def _whose(users: list[str] | None, by_id: bool) -> tuple[int | None, str | None]:
    """Whether to show the caller's jobs, else whose. Jobs asked for by id are shown whoever owns them."""
    if users is None:
        return (None if by_id else 1), None
    return None, None if any(user in _EVERYBODY for user in users) else ",".join(users)


def _print_table(client: Client, values: Values) -> None:
    shown: tuple[str, ...] = values["format"]
    for_eyes = wanted(values["color"])
    asked = shown if not for_eyes or "ST" in shown else (*shown, "ST")
    rows, total = client.queue(asked, **_filters(values, client))
    if not rows:
        print("No jobs found.")
        return
    rows = [list(map(harmless, row)) for row in rows]
    paint = _dress(rows, asked, len(shown)) if for_eyes else None
    sys.stdout.write(table(shown, [row[: len(shown)] for row in rows], paint))
    if len(rows) < total:
        which = "first" if values["limit"] > 0 else "last"
        print(f"Showing {which} {len(rows)} of {total} jobs (use -n 0 to show all)")


def _dress(rows: list[list[str]], asked: tuple[str, ...], shown: int) -> Paint:
    """Mark the names of running jobs, and return the painter of the state column."""
    state = asked.index("ST")
    if "NAME" in asked:
        name = asked.index("NAME")
        for row in rows:
            if row[state] == "R":
                row[name] += " \u25cb"

    def paint(column: int, cell: str) -> str:
        return STATE_COLOURS.get(cell, "") if column == state and state < shown else ""

    return paint


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
            "--since", convert=since, metavar="TIME", help="Submitted since: 2h, 3d, 1w, today, yesterday or a date."
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
        Option("-N", "--names", "--name", convert=names, metavar="LIST", help="Jobs with exactly these names."),
        Option("-P", "--project", convert=not_empty, metavar="CODE", help="Jobs of this project."),
        Option(
            "-f",
            "--format",
            convert=columns.parse,
            metavar="LIST",
            default=columns.DEFAULT,
            choices=columns.COLUMNS,
            help=f"Columns: {', '.join(columns.COLUMNS)}.",
        ),
        Option(
            "-o",
            "--output",
            convert=choice(*_OUTPUTS),
            metavar="KIND",
            default="table",
            choices=_OUTPUTS,
            help="table, json, csv or yaml.",
        ),
        COLOUR,
    ),
    exclusive=(("all", "completed", "states"),),
    examples=(
        ("gqueue", "your jobs that wait or run"),
        (
            "gqueue -u all -s Running -f JOBID,USER,NAME,TIME,REMAINING",
            "what runs on the machine, and for how long still",
        ),
        ("gqueue -s PD -f JOBID,NAME,START,REASON", "when what waits is expected to start (~), and what it waits for"),
        ("gqueue -j 7,10-12", "these jobs, finished or not"),
        ("gqueue -c --since today -o json", "what ended today, as data"),
    ),
)


def main() -> None:
    start(COMMAND)
