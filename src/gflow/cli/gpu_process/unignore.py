"""gctl gpu-process unignore: let a process from outside of gflow keep its GPU again."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.gpu_process.which import WHICH, which
from gflow.cli.output import TEXT, print_change
from gflow.client.endpoint import find
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


_FIELDS = ("gpu_index", "pid", "removed", "available")


def run(values: Values) -> int:
    gpu, pid = which(values)
    answer = Client(find(values["url"], values["config"])).unignore_gpu_process(gpu, pid)
    text = f"Process {pid} on GPU {gpu} counts again; while it computes there the GPU is not given out."
    print_change({name: answer[name] for name in _FIELDS}, values["output"], text)
    return 0


COMMAND = Command(
    "unignore",
    "Keep a GPU from being given out while this process computes on it.",
    run,
    options=(*WHICH, TEXT),
    examples=(("gctl gpu-process unignore --gpu 1 --pid 4242", "take an ignore back"),),
)
