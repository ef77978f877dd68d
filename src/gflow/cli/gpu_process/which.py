"""The options that name a process on a GPU."""

from __future__ import annotations

from gflow.cli.command import Option, UsageError
from gflow.cli.kinds import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 1 << 22):
        raise ValueError(f"'{text}' is not a process id")
    return int(text)


WHICH = (
    Option("--gpu", convert=count, metavar="INDEX", help="The GPU it computes on."),
    Option("--pid", convert=_pid, metavar="PID", help="Its process id."),
)


def which(values: Values) -> tuple[int, int]:
    """GPU index and process id, both of which must be given."""
    for name in ("gpu", "pid"):
        if values[name] is None:
            raise UsageError(f"--{name} is missing; 'gctl show-gpus' tells the processes on each GPU")
    return values["gpu"], values["pid"]
