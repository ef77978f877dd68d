"""A look at the GPUs from a process of its own: the same is seen, and a crash or a hang stays there."""

import signal

import pytest

from gflow.gpu import aside
from gflow.gpu.base import ProbeReading
from support.nvml import LOST, Driver, ProbeProcess


def instead(monkeypatch: pytest.MonkeyPatch, main: str) -> None:
    monkeypatch.setattr(aside, "_MAIN", f"import os, signal, sys\n{main}")


def test_the_same_is_seen(driver: Driver, probe: ProbeProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    driver.add(2).fail("nvmlDeviceGetName", LOST, 1)
    for name, value in driver.environment.items():
        monkeypatch.setenv(name, value)
    seen, directly = aside.look(20), probe.read()
    assert seen is not None
    assert [(one.gpu, one.fault) for one in seen.readings] == [(one.gpu, one.fault) for one in directly.readings]
    assert [one.fault is None for one in seen.readings] == [True, False]


def test_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "os.kill(os.getpid(), signal.SIGSEGV)")
    seen = aside.look(20)
    assert isinstance(seen, aside.Crash)
    assert (seen.signal, "SIGSEGV" in (seen.trouble or "")) == (signal.SIGSEGV, True)


def test_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "signal.pause()")
    assert aside.look(0.2) is None


def test_what_a_library_says_itself_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    instead(monkeypatch, "print('a library talks'); sys.exit(3)")
    assert "without a word" in ((aside.look(20) or ProbeReading()).trouble or "")
