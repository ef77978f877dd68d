"""gctl gpu-process ignore: let a GPU be given out though a process from outside of gflow computes on it."""

from __future__ import annotations

from gflow.cli.command import Command
from gflow.cli.gpu_process.which import WHICH, which
from gflow.cli.output import TEXT, print_change
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


_FIELDS = ("gpu_index", "pid", "inserted", "available")


def run(values: Values) -> int:
    gpu, pid = which(values)
    answer = Client(find(values["url"], values["config"])).ignore_gpu_process(gpu, pid)
    state = "available" if answer["available"] else "not available for other reasons: see ginfo"
    text = f"Process {pid} on GPU {gpu} is ignored{'' if answer['inserted'] else ' already'}; the GPU is {state}."
    print_change({name: answer[name] for name in _FIELDS}, values["output"], text)
    say(f"warning: jobs on GPU {gpu} share its memory with that process and may run out of it")
    return 0


COMMAND = Command(
    "ignore",
    "Let a GPU be given out though this process computes on it. It is forgotten when the process is gone.",
    run,
    options=(*WHICH, TEXT),
    examples=(("gctl gpu-process ignore --gpu 1 --pid 4242", "GPU 1 may be given out although process 4242 is on it"),),
)
