"""A program that submits jobs as fast as it can and prints the id of each one once it is on disk. Made to be killed.

Arguments: the data directory. It says first how many jobs it found.
"""

import os
import sys
from pathlib import Path

import trio

from gflow.daemon.compactor import CompactionPolicy
from gflow.daemon.persistence import Persistence
from gflow.store.load import load
from support.ledger import Ledger

CLIENTS = 8


async def main(data_dir: Path) -> None:
    loaded = load(data_dir)
    ledger = Ledger(loaded)
    policy = CompactionPolicy(min_changes=200)
    persistence = Persistence(data_dir, loaded, ledger.state, lambda transaction: None, policy=policy)

    async def client() -> None:
        while True:
            transaction = ledger.submitted()
            await persistence.durable(persistence.submit(transaction))
            os.write(1, b"%d\n" % transaction.jobs[0].id)

    async with trio.open_nursery() as nursery:
        await nursery.start(persistence.run)
        os.write(1, b"%d\n" % len(loaded.jobs))
        for _ in range(CLIENTS):
            nursery.start_soon(client)


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]))
