"""gctl drain: start nothing new, let what runs go on."""

from __future__ import annotations

import sys

from gflow.cli.command import Command, Option
from gflow.cli.ctl.resume import document
from gflow.cli.kinds import drain_reason
from gflow.cli.output import TEXT, print_change
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    client = Client(find(values["url"], values["config"]))
    answer = client.drain(values["reason"])
    text = f"Drained: nothing new is started, also after a restart; {_running(answer['running_jobs'])}."
    print_change(document(answer), values["output"], text)
    if values["wait"]:
        sys.stdout.flush()
        _wait(client)
        if values["output"] == "text":
            print("Nothing runs any more.")
    return 0


def _running(number: int) -> str:
    return "no job is running" if not number else "1 job is running" if number == 1 else f"{number} jobs are running"


def _wait(client: Client) -> None:
    """Until no job runs; one that is tried again waits, like all others."""
    while running := client.jobs(state="Running"):
        for job in running:
            client.wait(job["id"], retries=False)


COMMAND = Command(
    "drain",
    "Start no more jobs, and let those that run go on; 'gctl resume' ends that.",
    run,
    options=(
        Option("--reason", convert=drain_reason, metavar="TEXT", help="Why, for those whose jobs wait."),
        Option("--wait", help="Return when no job runs any more."),
        TEXT,
    ),
    examples=(
        ("gctl drain --reason 'driver update at 18:00'", "gqueue and gjob why show the reason"),
        ("gctl drain --wait && sudo reboot", "when the last job has ended"),
    ),
)
