"""gctl state export: everything as lines of JSON, with or without a daemon."""

from __future__ import annotations

import os
import sys
import time
from itertools import chain

from gflow import paths
from gflow.cli.command import Command, Failure, Option
from gflow.cli.kinds import not_empty
from gflow.cli.state.place import DATA_DIR, existing, plainly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gflow.cli.command import Values


def run(values: Values) -> int:
    from gflow.store.errors import Unreadable
    from gflow.store.history import HistoryError
    from gflow.store.upkeep.export import CannotExport, export

    data_dir = existing(values["data_dir"])
    lines = export(data_dir, time.time())
    output = None if values["output"] == "-" else values["output"]
    try:
        if output is not None:
            _refuse_inside(output, data_dir)
        with plainly(str(data_dir)):
            lines = chain([next(lines)], lines)  # from here on only the output can fail
        with plainly("standard output" if output is None else f"--output: {output}", named=False):
            if output is None:
                sys.stdout.writelines(lines)
                sys.stdout.flush()
            else:
                _write(output, lines)
    except (Unreadable, HistoryError) as error:
        raise Failure(f"{error}; see 'gctl state check'") from None
    except CannotExport as error:
        raise Failure(str(error)) from None
    return 0


def _refuse_inside(output: str, data_dir: Path) -> None:
    """The files there are gflowd's, and this would put itself in the place of one."""
    path = os.path.realpath(output)
    for directory in (str(data_dir), paths.data_dir()):
        inside = os.path.join(os.path.realpath(directory), "")
        if path.startswith(inside):
            raise Failure(
                f"--output: {output} is in the data directory {directory}, which is gflowd's: name another file"
            )


def _write(output: str, lines: Iterator[str]) -> None:
    """Put the whole file in its place, or leave what is there."""
    from pathlib import Path

    from gflow.store.disk import DISK, write_new

    path = Path(os.path.realpath(output))
    if path.exists() and not path.is_file():
        raise Failure(f"--output: {output} is not a file; leave --output out to write to standard output")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    write_new(DISK, temporary, (line.encode("ascii") for line in lines), sync_every=64 << 20)
    try:
        DISK.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    DISK.sync_directory(path.parent)


COMMAND = Command(
    "export",
    "Write all jobs, groups, settings and the latest events as lines of JSON.",
    run,
    options=(
        Option(
            "--output",
            convert=not_empty,
            metavar="FILE",
            help="Write to this file, for your eyes only, once all of it is there.",
        ),
        DATA_DIR,
    ),
    examples=(
        ("gctl state export --output jobs.jsonl", "a file that is whole or is not there"),
        ("gctl state export | jq -c 'select(.job.state == \"Failed\").job.id'", "what failed, ever"),
    ),
)
