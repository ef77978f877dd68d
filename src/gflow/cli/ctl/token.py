"""gctl token: what lets requests over TCP in, and as whom. Its verbs are in `token`."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "token",
    "Make tokens for use over TCP, list them, and revoke them.",
    {
        "create": "gflow.cli.token.create",
        "list": "gflow.cli.token.list",
        "revoke": "gflow.cli.token.revoke",
    },
    examples=(
        ("gctl token create --user alice --expires 30d", "one for alice"),
        ("gctl token create --user grafana --read-only", "one that can only look"),
        ("gctl token list", "which there are"),
        ("gctl token revoke 3", "from now on it is none"),
    ),
)
