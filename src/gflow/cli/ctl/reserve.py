"""gctl reserve: GPUs promised to a user for a time. Each verb is a module of `reserve`, loaded when it is meant."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "reserve",
    "Reserve GPUs for a user, look at reservations, and cancel them.",
    {
        "create": "gflow.cli.reserve.create",
        "list": "gflow.cli.reserve.list",
        "get": "gflow.cli.reserve.get",
        "cancel": "gflow.cli.reserve.cancel",
    },
    examples=(
        ("gctl reserve create --user alice --gpus 2 --start '2026-02-01 14:00' --duration 2h", "any two GPUs"),
        ("gctl reserve list --timeline", "who has what, hour by hour"),
        ("gctl reserve cancel 3", "give it up; waiting jobs start at once"),
    ),
)
