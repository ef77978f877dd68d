"""gjob: look at single jobs and change them. Each verb is a module of `job`, loaded when it is meant."""

from __future__ import annotations

from gflow.cli.command import Group
from gflow.cli.entry import start

COMMAND = Group(
    "gjob",
    "Look at jobs and change them.",
    {
        "show": "gflow.cli.job.show",
        "log": "gflow.cli.job.log",
        "attach": "gflow.cli.job.attach",
        "why": "gflow.cli.job.why",
        "eta": "gflow.cli.job.eta",
        "wait": "gflow.cli.job.wait",
        "hold": "gflow.cli.job.hold",
        "release": "gflow.cli.job.release",
        "update": "gflow.cli.job.update",
        "redo": "gflow.cli.job.redo",
        "top": "gflow.cli.job.top",
        "close-sessions": "gflow.cli.job.close_sessions",
    },
    aliases={
        "close": "close-sessions",
        "a": "attach",
        "l": "log",
        "h": "hold",
        "r": "release",
        "u": "update",
        "s": "show",
    },
    examples=(
        ("gjob show 7", "everything about job 7"),
        ("gjob log -f @", "follow the output of your latest job"),
        ("gjob update 7 --time-limit +1:00:00", "an hour more"),
        ("gjob redo 7 --cascade", "once more, with all that was cancelled because it failed"),
    ),
)


def main() -> None:
    start(COMMAND)
