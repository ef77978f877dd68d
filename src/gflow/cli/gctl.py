"""gctl: settings of the running daemon."""

from __future__ import annotations

from gflow.cli.command import Group
from gflow.cli.entry import start

COMMAND = Group(
    "gctl",
    "Look at and change settings of the running daemon.",
    {"set-limit": "gflow.cli.ctl.set_limit", "show-gpus": "gflow.cli.ctl.show_gpus"},
    examples=(
        ("gctl set-limit 42 3", "let three jobs of job 42's group run at once"),
        ("gctl show-gpus", "each GPU and whether it may be used"),
    ),
)


def main() -> None:
    start(COMMAND)
