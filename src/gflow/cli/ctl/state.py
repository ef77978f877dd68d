"""gctl state: the files the state is kept in. Each verb is a module of `state`, loaded when it is meant."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "state",
    "Export, check, compact and prune the state and its files.",
    {
        "export": "gflow.cli.state.export",
        "check": "gflow.cli.state.check",
        "compact": "gflow.cli.state.compact",
        "prune": "gflow.cli.state.prune",
    },
    examples=(
        ("gctl state export --output jobs.jsonl", "all there is, as JSON, also while the daemon runs"),
        ("gctl state check", "whether every file is whole, and what to do if one is not"),
        ("gctl state prune --before 90d --dry-run", "how many jobs ended more than 90 days ago"),
    ),
)
