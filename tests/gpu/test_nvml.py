"""What the real probe makes of a driver, through the real pynvml: every state is a reading, none an error."""

from pathlib import Path

import pytest

from gflow.core.model import Gpu
from gflow.gpu import nvml
from gflow.gpu.base import GpuProcess, ProbeReading
from support.nvml import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    LOST,
    NAME,
    NOT_SUPPORTED,
    RESET_REQUIRED,
    UNINITIALIZED,
    UNKNOWN,
    VERSION_MISMATCH,
    Driver,
    ProbeProcess,
    probing,
)

LISTINGS = ("Compute", "Graphics", "MPSCompute")


def faults(reading: ProbeReading) -> list[str | None]:
    assert reading.trouble is None
    return [one.fault for one in reading.readings]


def processes(reading: ProbeReading) -> list[GpuProcess]:
    """Of the first device, which must be well."""
    assert reading.readings[0].fault is None
    return list(reading.readings[0].processes)


def test_a_device_is_shown_with_all_that_the_driver_tells(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(total_mb=24564, used_mb=1000, utilisation=87, name="NVIDIA GeForce RTX 4090")
    driver.add(total_mb=81920, name="NVIDIA H100")
    first, second = probe.read().readings
    assert first.gpu == Gpu(0, "GPU-stub-0", "NVIDIA GeForce RTX 4090", 24564)
    assert (first.used_mb, first.utilisation_pct, first.processes, first.fault) == (1000, 87, (), None)
    assert second.gpu == Gpu(1, "GPU-stub-1", "NVIDIA H100", 81920)


def test_what_the_driver_keeps_for_itself_is_not_used_unless_it_cannot_tell_that_apart(
    driver: Driver, probe: ProbeProcess
) -> None:
    driver.add(used_mb=1000, reserved_mb=300)
    assert probe.read().readings[0].used_mb == 1000
    driver.fail("nvmlDeviceGetMemoryInfo_v2", FUNCTION_NOT_FOUND)
    assert probe.read().readings[0].used_mb == 1300


def test_what_a_card_does_not_support_is_not_a_fault(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(utilisation=-1)
    for function in ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetName"):
        driver.fail(function, NOT_SUPPORTED)
    (reading,) = probe.read().readings
    assert reading.fault is None
    assert (reading.gpu, reading.used_mb, reading.utilisation_pct) == (Gpu(0, "GPU-stub-0"), None, None)


def test_a_name_that_is_no_text_is_not_a_fault(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(name="caf\udce9")
    (reading,) = probe.read().readings
    assert (reading.fault, reading.gpu.uuid) == (None, "GPU-stub-0")


def test_processes_that_compute_are_told_from_those_that_draw(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.put(0, 30, 500)
    driver.put(0, 10, 40, kind="graphics")
    driver.put(0, 20, 60, kind="mps")
    assert processes(probe.read()) == [
        GpuProcess(10, 40, graphics=True),
        GpuProcess(20, 60, graphics=False),
        GpuProcess(30, 500, graphics=False),
    ]
    driver.take(30)
    assert [process.pid for process in processes(probe.read())] == [10, 20]


def test_a_process_that_computes_and_draws_computes_and_holds_its_memory_once(
    driver: Driver, probe: ProbeProcess
) -> None:
    driver.add()
    driver.put(0, 10, 100, kind="graphics")
    driver.put(0, 10, 100)
    assert processes(probe.read()) == [GpuProcess(10, 100, graphics=False)]


def test_memory_that_is_not_told_is_none(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.put(0, 10, None)
    driver.put(0, 11, None, kind="graphics")
    driver.put(0, 11, 7)
    assert processes(probe.read()) == [GpuProcess(10, None), GpuProcess(11, 7)]


def test_many_processes_are_all_listed(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    for pid in range(100, 140):
        driver.put(0, pid)
    assert [process.pid for process in processes(probe.read())] == list(range(100, 140))


def test_an_older_driver_lists_processes_in_the_older_way(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.put(0, 10, 500)
    driver.put(0, 11, 5, kind="graphics")
    for kind in LISTINGS:
        driver.fail(f"nvmlDeviceGet{kind}RunningProcesses_v3", FUNCTION_NOT_FOUND)
    assert processes(probe.read()) == [GpuProcess(10, 500), GpuProcess(11, 5, graphics=True)]


@pytest.mark.parametrize("kind", ["Graphics", "MPSCompute"])
def test_without_drawing_or_mps_there_are_no_such_processes(driver: Driver, probe: ProbeProcess, kind: str) -> None:
    driver.add()
    driver.put(0, 10)
    for version in (2, 3):
        driver.fail(f"nvmlDeviceGet{kind}RunningProcesses_v{version}", NOT_SUPPORTED)
    assert [process.pid for process in processes(probe.read())] == [10]


def test_a_device_whose_processes_are_not_told_is_not_given_out(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(2)
    for version in (2, 3):
        driver.fail(f"nvmlDeviceGetComputeRunningProcesses_v{version}", NOT_SUPPORTED, 0)
    assert faults(probe.read()) == [nvml.PROCESSES_UNTOLD, None]


@pytest.mark.parametrize(("code", "fault"), [(LOST, nvml.LOST), (RESET_REQUIRED, nvml.NEEDS_RESET)])
def test_a_lost_device_is_its_own_fault_and_keeps_its_name(
    driver: Driver, probe: ProbeProcess, code: int, fault: str
) -> None:
    driver.add(3)
    known = probe.read()
    driver.fail("*", code, 1)
    reading = probe.read()
    assert faults(reading) == [None, fault, None]
    assert [one.gpu for one in reading.readings] == [one.gpu for one in known.readings]
    driver.heal()
    assert probe.read() == known


def test_a_device_that_was_never_well_is_shown_by_its_index(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(2)
    driver.fail("*", LOST, 0)
    reading = probe.read()
    assert faults(reading) == [nvml.LOST, None]
    assert reading.readings[0].gpu == Gpu(0, "")


@pytest.mark.parametrize("function", ["nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetMigMode"])
def test_any_other_error_of_a_device_is_its_fault_in_the_driver_s_words(
    driver: Driver, probe: ProbeProcess, function: str
) -> None:
    driver.add(2)
    driver.fail(function, UNKNOWN, 1)
    assert faults(probe.read()) == [None, "the driver cannot query it: Unknown Error"]


def test_an_error_that_pynvml_does_not_know_is_told_by_the_driver(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.fail("nvmlDeviceGetUUID", 4711)
    assert faults(probe.read()) == ["the driver cannot query it: stub error 4711"]


def test_a_device_in_parts_is_not_given_out(driver: Driver, probe: ProbeProcess) -> None:
    driver.add(mig=1, used_mb=5).add(mig=0)
    reading = probe.read()
    assert faults(reading) == [nvml.MIG, None]
    assert reading.readings[0].used_mb == 5


def test_without_a_library_there_is_no_gpu(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.1").write_text("no library")  # found before one that this machine may have
    with probing({"LD_LIBRARY_PATH": str(tmp_path)}) as probe:
        assert probe.read() == ProbeReading(trouble=nvml.NO_LIBRARY)
        assert probe.read() == ProbeReading(trouble=nvml.NO_LIBRARY)


def test_a_library_that_is_installed_later_is_found(driver: Driver, tmp_path: Path) -> None:
    place = tmp_path / "later"
    place.mkdir()
    library = place / f"{NAME}.1"
    library.write_text("no library")
    with probing({**driver.environment, "LD_LIBRARY_PATH": str(place)}) as probe:
        assert probe.read().trouble == nvml.NO_LIBRARY
        library.unlink()
        library.symlink_to(driver.library / library.name)
        assert probe.read() == ProbeReading()


def test_nothing_of_the_driver_is_loaded_before_the_first_reading(driver: Driver, probe: ProbeProcess) -> None:
    probe.close()
    assert not [line for line in probe.loaded() if NAME in line]
    probe.read()
    assert [line for line in probe.loaded() if NAME in line]


def test_a_driver_that_is_loaded_later_is_found(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.fail("nvmlInit", DRIVER_NOT_LOADED)
    assert probe.read() == ProbeReading(trouble=nvml.NO_DRIVER)
    driver.heal()
    assert faults(probe.read()) == [None]


@pytest.mark.parametrize(
    ("code", "trouble"),
    [(UNINITIALIZED, nvml.REPLACED), (DRIVER_NOT_LOADED, nvml.NO_DRIVER), (VERSION_MISMATCH, nvml.REPLACED)],
)
@pytest.mark.parametrize("function", ["nvmlDeviceGetCount_v2", "nvmlDeviceGetMemoryInfo_v2"])
def test_a_driver_that_goes_away_is_taken_up_again_when_it_is_back(
    driver: Driver, probe: ProbeProcess, function: str, code: int, trouble: str
) -> None:
    driver.add(2)
    known = probe.read()
    driver.fail(function, code, -1 if function == "nvmlDeviceGetCount_v2" else 1)
    assert probe.read() == ProbeReading(trouble=trouble)
    driver.heal()
    assert probe.read() == known


def test_a_library_that_stays_older_than_the_driver_asks_for_a_restart_of_gflowd(
    driver: Driver, probe: ProbeProcess
) -> None:
    driver.add()
    probe.read()
    driver.fail("nvmlDeviceGetCount_v2", VERSION_MISMATCH)
    driver.fail("nvmlInit", VERSION_MISMATCH)
    assert probe.read().trouble == nvml.REPLACED
    for _ in range(2):
        trouble = probe.read().trouble
        assert trouble is not None
        assert "restart gflowd" in trouble
        assert trouble == nvml.STILL_OLD


def test_versions_that_never_matched_are_an_update_to_be_finished(driver: Driver, probe: ProbeProcess) -> None:
    driver.fail("nvmlInit", VERSION_MISMATCH)
    assert probe.read() == ProbeReading(trouble=nvml.MISMATCH)


def test_any_other_error_of_the_driver_is_told_in_its_words(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    driver.fail("nvmlInit", UNKNOWN)
    assert probe.read() == ProbeReading(trouble="the NVIDIA driver answers with an error: Unknown Error")


def test_a_session_that_cannot_even_be_ended_is_forgotten(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    probe.read()
    driver.fail("nvmlShutdown", UNINITIALIZED)
    probe.close()
    assert faults(probe.read()) == [None]


def test_without_pynvml_it_is_said_what_to_install(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['pynvml'] = None\n")
    with probing(driver.environment, tmp_path) as probe:
        assert probe.read() == ProbeReading(trouble=nvml.NO_MODULE)


def test_a_call_that_hangs_goes_on_when_the_driver_does(driver: Driver, probe: ProbeProcess) -> None:
    driver.add()
    known = probe.read()
    driver.hang("nvmlDeviceGetMemoryInfo_v2")
    probe.begin("read")
    assert not probe.has_answered(within_secs=0.1)
    driver.heal()
    assert probe.answer() == known
