"""Writes to an outbox until it is killed, and says after each batch what is in it for certain.

    python -m support.outbox_writer DIRECTORY FIRST

Batch n takes over event n for two targets and, from the third on, marks event n-2 as delivered to the first of them.
"""

import sys
from itertools import count
from pathlib import Path

from gflow.notify.changes import Changes
from gflow.notify.outbox import Outbox


def main() -> None:
    outbox = Outbox(Path(sys.argv[1]))
    for number in count(int(sys.argv[2])):
        changes = Changes(taken=number)
        changes.add(number, "job_completed", b'{"n": %d}' % number + b" " * 300, {"a": 0, "b": 0})
        if number > 2:
            changes.put("a", number - 2, None)
        outbox.save(changes)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
