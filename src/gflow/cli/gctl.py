"""gctl: settings of the running daemon, its notifications, and the files of its state."""

from __future__ import annotations

from gflow.cli.command import Group
from gflow.cli.entry import start

COMMAND = Group(
    "gctl",
    "Look at and change settings of the running daemon, and look after the files of its state.",
    {
        "notify": "gflow.cli.ctl.notify",
        "reserve": "gflow.cli.ctl.reserve",
        "drain": "gflow.cli.ctl.drain",
        "resume": "gflow.cli.ctl.resume",
        "show-gpus": "gflow.cli.ctl.show_gpus",
        "set-gpus": "gflow.cli.ctl.set_gpus",
        "gpu-process": "gflow.cli.ctl.gpu_process",
        "quota": "gflow.cli.ctl.quota",
        "set-limit": "gflow.cli.ctl.set_limit",
        "state": "gflow.cli.ctl.state",
        "token": "gflow.cli.ctl.token",
        "webhooks": "gflow.cli.ctl.webhooks",
    },
    examples=(
        ("gctl reserve list", "GPUs promised to users, and when"),
        ("gctl drain --reason 'new disks'", "start nothing new; what runs goes on"),
        ("gctl show-gpus", "each GPU and whether it may be used"),
        ("gctl set-gpus 0,2", "give out these two only"),
        ("gctl quota set --user alice --max-running-gpus 2", "alice has at most two GPUs at once"),
        ("gctl set-limit 42 3", "let three jobs of job 42's group run at once"),
        ("gctl token create --user alice --expires 30d", "let alice in over TCP"),
        ("gctl state check", "whether every file of the state is whole"),
        ("gctl webhooks", "who is told of events, and whether they can be reached"),
    ),
)


def main() -> None:
    start(COMMAND)
