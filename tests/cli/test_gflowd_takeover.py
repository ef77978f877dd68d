"""`gflowd service install` beside a daemon: what may be taken over, and what is left alone before anything is written.

That a real systemd does take over is in e2e/test_systemd.py.
"""

import os
from pathlib import Path

import pytest

from gflow import paths
from gflow.cli import gflowd_takeover as takeover
from gflow.cli.gflowd_invocation import Invocation
from gflow.config import ConfigError
from gflow.daemon import hosting
from gflow.daemon.hosting import Running
from gflow.daemon.units import Host, UnitFailed
from gflow.store.lock import DataLock

PID = 2**22 + 1
"""Of no process."""


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """One of a user without a daemon; `stopped` are the sockets of those that were stopped."""
    for name in [name for name in os.environ if name.startswith("GFLOW_")]:
        monkeypatch.delenv(name)
    for name in ("CONFIG_HOME", "DATA_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name.lower()))
    stopped: list[Path] = []
    monkeypatch.setattr(hosting, "stop", lambda path, data_dir: stopped.append(path) or PID)
    monkeypatch.setattr(Host, "ask", lambda host, *words: "0")
    return stopped


@pytest.fixture
def runs(monkeypatch):
    """Have this daemon run, with this command line."""

    def runs(*words, status=None, health=True):
        told = {"data_dir": paths.data_dir(), **(status or {})}
        found = Running(PID, {"status": "ok"}, told) if health else Running(PID, None, None)
        monkeypatch.setattr(hosting, "find", lambda *_: found)
        monkeypatch.setattr(hosting, "_command_of", lambda pid: ["python", "-m", "gflow.cli.gflowd", *words])

    return runs


def refusal(given=None):
    with pytest.raises(UnitFailed) as caught:
        takeover.make_way(given or Invocation(None, 0), Host())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_where_nobody_runs_nothing_is_said(capsys, machine):
    assert takeover.make_way(Invocation(None, 0), Host()) == {}
    assert capsys.readouterr().out == ""


def test_one_of_up_is_stopped_and_its_flags_are_kept(runs, capsys, machine):
    runs("run", "--gpus", "0", "--socket", "/x", "--log-file", "/l", "--data-dir", paths.data_dir())
    assert takeover.make_way(Invocation(None, 0), Host()) == {"gpus": "0"}
    assert machine == [Host().socket]
    assert capsys.readouterr().out == f"gflowd (pid {PID}) stopped; its jobs go on, and the unit takes its place.\n"


def test_what_a_unit_would_lose_is_said(runs, machine):
    runs("run", "--log-format", "json")
    assert "was started with --log-format, which a unit has not" in refusal()
    runs("--config", "/my.toml", "run")
    assert refusal().endswith("say that here, too: gflowd --config /my.toml service install")
    assert machine == []


def test_one_with_other_data_or_another_socket_is_left_alone(runs, machine):
    runs("run", status={"data_dir": "/elsewhere"})
    assert f"has its data in /elsewhere, and a unit has {paths.data_dir()}" in refusal()
    runs("run", health=False)
    assert refusal() == f"process {PID} has {Host().socket}, and does not answer; stop it first"
    with DataLock(Path(paths.data_dir()), socket="/other.sock", started=0.0):
        assert refusal().endswith("; stop it first: gflowd down --socket /other.sock")
    assert machine == []


def test_one_that_a_unit_keeps_running_is_left_alone(runs, monkeypatch, machine):
    runs("run")
    monkeypatch.setattr(
        takeover.Path, "read_text", lambda path: "0::/user.slice/user@1.service/app.slice/mine.service\n"
    )
    monkeypatch.setattr(Host, "runs", lambda host, unit, pid: (unit, pid) == ("mine.service", PID))
    assert "is kept running by mine.service of systemd" in refusal()
    assert machine == []


def test_a_unit_that_another_keeps_from_its_place_goes_again(runs, monkeypatch):
    removed = []

    def remove(host):
        removed.append(host)
        return []

    monkeypatch.setattr(Host, "remove", remove)
    takeover.yield_to_others(Invocation(None, 0), Host())
    runs("run")
    with pytest.raises(UnitFailed, match=f"now pid {PID}"):
        takeover.yield_to_others(Invocation(None, 0), Host())
    assert removed == [Host()]


def test_a_socket_starts_only_where_nobody_serves(runs):
    takeover.vacant(Invocation(None, 0), Host())
    runs("run")
    with pytest.raises(UnitFailed, match=rf"\(pid {PID}\), which is not of the unit, serves on {Host().socket}"):
        takeover.vacant(Invocation(None, 0), Host())


def test_what_would_keep_the_unit_from_serving_is_seen_beforehand(monkeypatch):
    takeover.check(Invocation(None, 0), Host())
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", "/other.sock")
    with pytest.raises(UnitFailed, match=r"says /other\.sock, a unit listens on "):
        takeover.check(Invocation(None, 0), Host())
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", str(Host().socket))
    takeover.check(Invocation(None, 0), Host())
    file = Path(paths.config_file())
    file.parent.mkdir(parents=True)
    file.write_text("[")
    with pytest.raises(ConfigError, match=str(file)):
        takeover.check(Invocation(None, 0), Host())
