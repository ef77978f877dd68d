"""gctl notify: notifications, tried out. Each verb is a module of `notify`, loaded when it is meant."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "notify",
    "Try out notifications.",
    {"test": "gflow.cli.notify.test"},
    examples=(("gctl notify test", "whether every target can be reached"),),
)
