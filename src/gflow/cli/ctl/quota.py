"""gctl quota: how much of the machine users and projects may have at once. Its verbs are in `quota`."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "quota",
    "Look at quotas, and change them while the daemon runs.",
    {
        "list": "gflow.cli.quota.list",
        "set": "gflow.cli.quota.set",
        "remove": "gflow.cli.quota.remove",
    },
    examples=(
        ("gctl quota list", "what counts for whom, and how much of it is used"),
        ("gctl quota set --user alice --max-running-gpus 2", "over the configured limit; also after a restart"),
        ("gctl quota remove --user alice", "back to the configured limits"),
    ),
)
