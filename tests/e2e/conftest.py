"""Daemons for tests of the whole: `shared` is one for all tests that leave it as they found it, `daemon` a new one."""

from collections.abc import Iterator

import pytest

from support.daemon import Daemon


@pytest.fixture(scope="session")
def shared() -> Iterator[Daemon]:
    with Daemon("--simulated-gpus", "2") as daemon:
        yield daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon
