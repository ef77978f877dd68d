"""gflow top: a live view of the whole machine. The view itself is in `live`, with the library it is made with."""

from __future__ import annotations

import os
import sys

from gflow.cli.command import Command, Failure, Option
from gflow.cli.entry import start
from gflow.cli.kinds import names, not_empty
from gflow.client import unix
from gflow.client.endpoint import find
from gflow.client.patience import be_quiet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

_EVERYBODY = ("all", "*")


def run(values: Values) -> int:
    path = find(values["url"], values["config"])
    try:
        from gflow.cli.live.app import Top
        from gflow.cli.live.feed import Scope
        from gflow.cli.live.terminal import draws_boxes, on_signals
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise Failure(f"this needs the library textual; in gflow's source: {_install_with('top')}") from None
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise Failure("this needs a terminal; gqueue and ginfo print what there is")
    if not draws_boxes():
        raise Failure(f"the encoding {sys.stdout.encoding} has no lines to draw with; 'LC_ALL=C.UTF-8 gflow top' has")
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)  # they say how large the terminal once was
    unix.connect(path).close()  # says what is wrong if there is no daemon
    be_quiet()
    users = values["user"]
    everybody = users is None or any(user in _EVERYBODY for user in users)
    scope = Scope(users=None if everybody else ",".join(users), project=values["project"], mine=values["mine"])
    view = Top(path, scope)
    on_signals(view.leave)
    view.run()
    if view.error is not None:
        raise Failure(f"ended by an error of its own: {type(view.error).__name__}: {view.error}")
    return view.return_code or 0


def _install_with(extra: str) -> str:
    """The command that installs gflow again, with what an extra needs, by the program that installed it."""
    for receipt, words in (("pipx_metadata.json", "pipx install --force"), ("uv-receipt.toml", "uv tool install")):
        if os.path.exists(os.path.join(sys.prefix, receipt)):
            return f"{words} '.[{extra}]'"
    return f"{sys.executable} -m pip install '.[{extra}]'"


COMMAND = Command(
    "top",
    "Show the queue, the GPUs and a job's output on the whole screen, as they change.",
    run,
    options=(
        Option(
            "-u",
            "--user",
            "--users",
            convert=names,
            metavar="LIST",
            help="Jobs of these users (default: everybody's).",
        ),
        Option("-m", "--mine", help="Only your own jobs; m changes that later."),
        Option("-P", "--project", convert=not_empty, metavar="CODE", help="Jobs of this project."),
    ),
    exclusive=(("user", "mine"),),
    examples=(
        ("gflow top", "everybody's jobs; ? shows the keys"),
        ("gflow top --mine", "your own"),
    ),
)


def main() -> None:
    start(COMMAND, prog="gflow top")
