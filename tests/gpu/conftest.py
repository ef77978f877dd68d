"""A driver to probe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nvml import Driver, ProbeProcess, compile_stub, probing


@pytest.fixture(scope="session")
def stub_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the compiled stub."""
    return compile_stub(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def driver(tmp_path: Path, stub_library: Path) -> Driver:
    """A driver without devices."""
    return Driver(tmp_path, stub_library)


@pytest.fixture
def probe(driver: Driver) -> Iterator[ProbeProcess]:
    """The real probe, in a process that meets the driver."""
    with probing(driver.environment) as probe:
        yield probe
