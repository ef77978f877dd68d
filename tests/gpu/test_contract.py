"""What every probe promises: the same tests for the real one, in front of a stub driver, and for the simulated one."""

from collections.abc import Callable

import pytest

from gflow.gpu.base import Probe, ProbeReading
from gflow.gpu.simulated import Simulated
from support.nvml import Driver

MEMORY_MB = 24576

Make = Callable[[int], Probe]


@pytest.fixture(params=["simulated", "nvml"])
def make(request: pytest.FixtureRequest) -> Make:
    """Makes a probe of a machine with so many devices, all well and with nothing on them."""
    if request.param == "simulated":
        return lambda count: Simulated(count, MEMORY_MB)
    driver: Driver = request.getfixturevalue("driver")
    probe: Probe = request.getfixturevalue("probe")

    def with_devices(count: int) -> Probe:
        driver.add(count, total_mb=MEMORY_MB)
        return probe

    return with_devices


def test_devices_come_by_ascending_index_and_have_names_of_their_own(make: Make) -> None:
    readings = make(4).read().readings
    assert [one.gpu.index for one in readings] == [0, 1, 2, 3]
    assert len({one.gpu.uuid for one in readings}) == 4
    assert {one.gpu.memory_mb for one in readings} == {MEMORY_MB}
    assert all(one.gpu.name for one in readings)


def test_a_machine_that_is_well_has_nothing_to_say(make: Make) -> None:
    reading = make(2).read()
    assert reading.trouble is None
    assert [(one.fault, one.processes) for one in reading.readings] == [(None, ()), (None, ())]


def test_nothing_is_made_up_where_there_is_no_device(make: Make) -> None:
    assert make(0).read() == ProbeReading()


def test_looking_again_shows_the_same(make: Make) -> None:
    probe = make(2)
    assert probe.read() == probe.read()


def test_a_probe_that_let_go_can_look_again(make: Make) -> None:
    probe = make(1)
    probe.close()
    before = probe.read()
    probe.close()
    probe.close()
    assert probe.read() == before
    assert len(before.readings) == 1


def test_only_devices_on_paper_are_marked_as_such(make: Make) -> None:
    probe = make(1)
    (reading,) = probe.read().readings
    assert reading.gpu.simulated is isinstance(probe, Simulated)
