"""Advice of doctor that mends: for GPUs without a driver, a clock that runs free, a unit that is switched off."""

import pytest

from gflow.config import Config
from gflow.daemon import doctor_machine, doctor_unit
from gflow.daemon.doctor_machine import about_no_gpus, about_the_clock
from gflow.daemon.doctor_unit import enabled
from gflow.daemon.finding import NOTE, Finding, Place
from gflow.daemon.units import UnitFailed
from gflow.gpu.nvml import NO_DRIVER, NO_LIBRARY


@pytest.fixture
def bus(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_machine, "DEVICES", tmp_path)

    def add(where, vendor, kind):
        (tmp_path / where).mkdir()
        (tmp_path / where / "vendor").write_text(f"{vendor}\n")
        (tmp_path / where / "class").write_text(f"{kind}\n")

    return add


def test_no_driver_is_only_missed_where_there_is_a_card(bus):
    bus("0000:00:02.0", "0x8086", "0x030000")
    bus("0000:01:00.1", "0x10de", "0x040300")
    assert about_no_gpus(NO_DRIVER) == "jobs without GPUs run all the same"
    bus("0000:01:00.0", "0x10de", "0x030200")
    assert about_no_gpus(NO_DRIVER).startswith("this machine has an NVIDIA GPU (PCI 0000:01:00.0): load it, as root")
    assert "install the NVIDIA driver" in about_no_gpus(NO_LIBRARY)
    assert about_no_gpus("something else") == "jobs without GPUs run all the same"


@pytest.mark.parametrize(
    ("can", "ntp", "synchronized", "remedy"),
    [
        ("yes", "no", "no", "run: sudo timedatectl set-ntp true"),
        ("yes", "yes", "no", "no time server has answered yet"),
        ("no", "no", "no", "install what keeps it"),
        ("yes", "yes", "yes", None),
    ],
)
def test_a_clock_is_mended_by_what_it_lacks(tmp_path, monkeypatch, can, ntp, synchronized, remedy):
    program = tmp_path / "timedatectl"
    program.write_text(f"#!/bin/sh\necho CanNTP={can}\necho NTP={ntp}\necho NTPSynchronized={synchronized}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = about_the_clock()
    assert (found is None) == (remedy is None)
    if found is not None and remedy is not None:
        assert found.level == NOTE
        assert found.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("state", "system", "remedy"),
    [
        ("disabled", False, "run: systemctl --user enable gflowd.socket gflowd.service"),
        ("disabled", True, "run: systemctl enable gflowd.socket gflowd.service"),
        ("masked", False, "run: systemctl --user unmask gflowd.socket gflowd.service"),
        ("enabled", False, None),
    ],
)
def test_a_unit_that_is_switched_off(tmp_path, monkeypatch, state, system, remedy):
    monkeypatch.setattr(doctor_unit.Host, "installed", property(lambda host: True))
    monkeypatch.setattr(doctor_unit.Host, "state", lambda host: {"UnitFileState": state})
    what = f"gflowd.service is {state}: nothing starts gflowd at the next boot"
    expected = [] if remedy is None else [Finding(NOTE, what, remedy)]
    assert list(enabled(Place(tmp_path, tmp_path / "s", Config, system))) == expected


def test_nothing_is_said_of_a_unit_that_nobody_knows_of(tmp_path, monkeypatch):
    def state(host):
        raise UnitFailed("no systemd here")

    monkeypatch.setattr(doctor_unit.Host, "state", state)
    for installed in (False, True):
        monkeypatch.setattr(doctor_unit.Host, "installed", property(lambda host, there=installed: there))
        assert list(enabled(Place(tmp_path, tmp_path / "s", Config))) == []
