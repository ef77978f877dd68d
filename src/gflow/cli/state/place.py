"""Where the files of the state are, and whether the daemon is to be asked or the files are to be worked on.

These commands are the only ones that read the store: they are for when there is no daemon, or none that can help.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from gflow import paths
from gflow.cli.command import Failure, Option
from gflow.client.endpoint import find, is_url
from gflow.client.errors import Unreachable
from gflow.client.http import Client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeVar

    from gflow.cli.command import Values

    T = TypeVar("T")

DATA_DIR = Option(
    "--data-dir", convert=str, metavar="PATH", help="Read the files in this directory, such as a copy of the daemon's."
)


@contextmanager
def plainly(what: str, *, named: bool = True) -> Iterator[None]:
    """Raise Failure for an OSError: one line that says what failed, `what` or (if `named`) the file that it names."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        name = error.filename if named and error.filename is not None else what
        raise Failure(f"{name}: {error.strerror or error}") from None


def existing(named: str | None) -> Path:
    """The data directory: the one named, or the daemon's. Raises Failure if there is none."""
    from pathlib import Path

    path = Path(named or paths.data_dir())
    if not path.is_dir():
        raise Failure(f"there is no state in {path}: it is not a directory")
    return path


def by_daemon(values: Values, ask: Callable[[Client], T], alone: Callable[[Path], T]) -> T:
    """What the daemon answers; if there is none, what comes of working on the files under the daemon's lock.

    A daemon that was named is never stood in for.
    """
    endpoint = find(values["url"], values["config"])
    try:
        return ask(Client(endpoint))
    except Unreachable:
        if values["url"] or os.environ.get("GFLOW_URL") or is_url(endpoint):
            raise
    import time

    from gflow.store.lock import DataLock, Held

    data_dir = existing(None)
    try:
        with DataLock(data_dir, socket="", started=time.time()):
            return alone(data_dir)
    except Held as held:
        where = f" (listening on {held.socket})" if held.socket else ""
        who = f"process {held.pid}" if held.pid is not None else "another gflowd"
        raise Failure(
            f"{data_dir} is in use by {who}{where}, which cannot be reached: name its socket with --url"
        ) from None
