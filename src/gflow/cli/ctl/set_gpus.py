"""gctl set-gpus: which GPUs may be given out, from now on and after restarts, within what the configuration allows."""

from __future__ import annotations

from gflow.cli.command import Argument, Command
from gflow.cli.kinds import gpus_or_all
from gflow.cli.output import TEXT, print_change
from gflow.client.endpoint import find
from gflow.client.http import Client
from gflow.client.voice import say
from gflow.core.gpu_list import format_gpu_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def run(values: Values) -> int:
    asked = values["gpus"]
    answer = Client(find(values["url"], values["config"])).allow_gpus(None if asked == "all" else asked)
    allowed = answer["allowed_gpu_indices"]
    unkept = answer.get("unkept_reservations") or []
    text = f"New jobs may have {_which(allowed)}; running jobs keep theirs."
    print_change({"allowed_gpu_indices": allowed, "unkept_reservations": unkept}, values["output"], text)
    if unkept:
        ids = ", ".join(map(str, unkept))
        say(f"warning: with these GPUs reservations cannot be kept: {ids}")
    return 0


def _which(allowed: list[int] | None) -> str:
    if allowed is None:
        return "all GPUs"
    return f"GPU{'' if len(allowed) == 1 else 's'} {format_gpu_list(allowed)}" if allowed else "no GPUs"


COMMAND = Command(
    "set-gpus",
    "Choose the GPUs that are given to jobs, within what the configuration allows.",
    run,
    options=(TEXT,),
    arguments=(Argument("gpus", "LIST|all", gpus_or_all),),
    examples=(
        ("gctl set-gpus 0,2-3", "no new job on any other; also after a restart"),
        ("gctl set-gpus all", "all that the configuration allows"),
    ),
)
