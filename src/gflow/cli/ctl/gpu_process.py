"""gctl gpu-process: processes from outside of gflow that a GPU is given out beside. Its verbs are in `gpu_process`."""

from __future__ import annotations

from gflow.cli.command import Group

COMMAND = Group(
    "gpu-process",
    "Let GPUs be given out though certain processes from outside of gflow compute on them.",
    {
        "ignore": "gflow.cli.gpu_process.ignore",
        "unignore": "gflow.cli.gpu_process.unignore",
        "list": "gflow.cli.gpu_process.list",
    },
    examples=(
        ("gctl gpu-process ignore --gpu 1 --pid 4242", "GPU 1 may be given out although process 4242 is on it"),
        ("gctl gpu-process list", "what is ignored"),
    ),
)
