"""A daemon with a real socket and a fake launcher for every test of the API."""

import pytest

from support.house import House


@pytest.fixture
async def house(tmp_path):
    async with House(tmp_path, simulated_gpus=4) as opened:
        yield opened
