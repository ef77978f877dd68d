"""The launcher under test."""

from collections.abc import AsyncIterator, Iterator

import pytest

from support.tmux_server import Machine, running


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A launcher that does not serve yet."""
    machine = Machine()
    yield machine
    machine.remove()


@pytest.fixture
async def tmux(machine: Machine) -> AsyncIterator[Machine]:
    """A launcher with its tmux server up."""
    async with running(machine):
        yield machine
