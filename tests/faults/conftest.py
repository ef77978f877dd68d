"""Each of these tests breaks something, so each has a daemon of its own."""

from collections.abc import Iterator

import pytest

from support.daemon import Daemon


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    with Daemon() as daemon:
        yield daemon
