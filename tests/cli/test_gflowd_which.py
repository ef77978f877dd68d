"""Which daemon a command of `gflowd` is about: always the one that other commands would call."""

import os
import sys
from pathlib import Path

import pytest

from gflow import paths
from gflow.cli import gflowd
from gflow.cli.gflowd_invocation import Invocation
from gflow.cli.gflowd_which import choose
from gflow.client import endpoint
from gflow.daemon import hosting
from gflow.daemon.units import Host, UnitFailed
from gflow.store.lock import DataLock
from support.fake_daemon import FakeDaemon, reply

STATUS = {
    "version": "1",
    "uptime_secs": 5,
    "jobs": {},
    "gpu_available": 0,
    "gpu_total": 0,
    "executor": "tmux",
    "data_dir": "/d",
    "started_at": 1.0,
}


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """One without a daemon, and with no unit but those in `installed`."""
    for name in [name for name in os.environ if name.startswith("GFLOW_")]:
        monkeypatch.delenv(name)
    for name in ("CONFIG_HOME", "DATA_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{name}", str(tmp_path / name.lower()))
    Path(paths.runtime_dir()).mkdir(parents=True)
    for name, file in (("SOCKET", "all.sock"), ("DATA", "all"), ("CONFIG", "all.toml")):
        monkeypatch.setattr(paths, f"SYSTEM_{name}", str(tmp_path / file))
    monkeypatch.setattr(Host, "installed", property(lambda host: ("system" if host.system else "user") in installed))
    monkeypatch.setattr(Host, "ask", _no_systemd)
    monkeypatch.setattr(hosting.shutil, "which", lambda name: None)
    installed: set[str] = set()
    return installed


def _no_systemd(host, *words):
    raise UnitFailed("not here")


@pytest.fixture
def of_all():
    """The daemon of all users."""
    with FakeDaemon(Path(paths.SYSTEM_SOCKET)) as daemon:
        closing = {"connection": "close"}
        daemon.on("GET", "/health", reply({"status": "ok", "pid": 4711}, headers=closing))
        daemon.on("GET", "/status", reply(STATUS, headers=closing))
        daemon.on("POST", "/reload", reply({"applied": [], "needs_restart": []}, headers=closing))
        yield daemon


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `gflowd` with these words; its exit status and what it printed. Nothing may be started or stopped by it."""

    def forbidden(*args, **options):
        raise AssertionError("a daemon was started or stopped")

    monkeypatch.setattr(hosting, "start", forbidden)
    monkeypatch.setattr(hosting, "_end", forbidden)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["gflowd", *words])
        with pytest.raises(SystemExit) as left:
            gflowd.main()
        printed = capsys.readouterr()
        code = left.value.code
        return (1, f"{printed.out}{code}\n") if isinstance(code, str) else (code or 0, printed.out + printed.err)

    return run


def meant(**how):
    """The socket that a command is about."""
    given = Invocation(None, 0)
    choose(given, **{"own": False, "system": False, **how})
    return str(given.socket())


@pytest.mark.parametrize("crashed", [True, False])
def test_ones_own_that_is_away_is_meant_until_down_is_said(of_all, run, crashed):
    lock = DataLock(Path(paths.data_dir()), socket=paths.default_socket(), started=1.0)
    left = lock.path.read_bytes()
    lock.close()
    if crashed:
        lock.path.write_bytes(left)
    assert meant() == endpoint.find() == paths.default_socket()
    code, said = run("status")
    assert (code, said.splitlines()[0].startswith("Status: Not running")) == (3, True)
    assert run("down") == (
        0,
        "Your own gflowd is not running.\nCommands are about that of all users until 'gflowd up --own'.\n",
    )
    assert meant() == endpoint.find(quiet=True) == paths.SYSTEM_SOCKET


@pytest.mark.parametrize("mine", [True, False])
@pytest.mark.parametrize("for_all", [True, False])
@pytest.mark.parametrize("named", [None, "elsewhere", "all.sock"])
def test_it_is_the_one_that_other_commands_call(tmp_path, monkeypatch, mine, for_all, named):
    if mine:
        Path(paths.default_socket()).touch()
    if for_all:
        Path(paths.SYSTEM_SOCKET).touch()
    if named:
        monkeypatch.setenv("GFLOW_DAEMON_SOCKET", str(tmp_path / named))
    assert meant() == endpoint.find()


def test_a_socket_is_named_by_url_and_by_file_as_well(tmp_path, monkeypatch):
    Path(paths.SYSTEM_SOCKET).touch()
    file = Path(paths.config_file())
    file.parent.mkdir(parents=True)
    file.write_text(f"[daemon]\nsocket = '{tmp_path}/mine'\n")
    assert meant() == endpoint.find() == f"{tmp_path}/mine"
    file.write_text(f"[daemon]\nsocket = '{tmp_path}/mine'\n[client]\nurl = 'unix:{tmp_path}/urls'\n")
    assert meant() == endpoint.find() == f"{tmp_path}/urls"
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", f"{tmp_path}/variables")
    assert meant() == endpoint.find() == f"{tmp_path}/variables"
    monkeypatch.delenv("GFLOW_DAEMON_SOCKET")
    monkeypatch.setenv("GFLOW_URL", f"unix:{tmp_path}/there")
    assert meant() == endpoint.find() == f"{tmp_path}/there"
    monkeypatch.setenv("GFLOW_URL", "https://elsewhere:1")
    assert meant() == f"{tmp_path}/mine", "what is on other machines is not for gflowd"
    file.write_text("[")
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", paths.SYSTEM_SOCKET)
    given = Invocation(None, 0)
    choose(given, own=False, system=False)
    assert given.system, "whatever is wrong with a file that does not matter"


def test_options_say_it_against_what_is_there(machine):
    assert meant(system=True) == paths.SYSTEM_SOCKET
    Path(paths.SYSTEM_SOCKET).touch()
    assert meant(own=True) == paths.default_socket()
    Path(paths.default_socket()).touch()
    assert meant(system=True) == paths.SYSTEM_SOCKET


def test_a_unit_of_ones_own_is_what_is_started_and_one_of_the_system_is_not_passed_over(machine):
    machine.add("system")
    assert meant() == paths.SYSTEM_SOCKET
    machine.add("user")
    assert meant() == paths.default_socket()


def test_own_and_system_are_a_contradiction(run):
    code, said = run("status", "--own", "--system")
    assert (code, "use one of them" in said) == (2, True)


def test_what_is_not_ones_own_is_not_called_so(run, monkeypatch):
    monkeypatch.setenv("GFLOW_DAEMON_SOCKET", paths.SYSTEM_SOCKET)
    code, said = run("up", "--own")
    assert code == 1
    assert said.startswith(f"gflowd: --own: {paths.SYSTEM_SOCKET} is the socket of the daemon of all users")


def test_status_says_whose_daemon_it_is(of_all, run):
    code, said = run("status")
    assert code == 0
    assert said.splitlines()[:2] == ["Status: Running", "Daemon: of all users"]
    assert f"Socket: {paths.SYSTEM_SOCKET}" in said.splitlines()
    code, said = run("status", "--own")
    assert code == 3
    assert said.splitlines()[0].endswith("start it with 'gflowd up --own')")
    assert said.splitlines()[1] == f"Daemon: your own; there is one for all users, too (unix:{paths.SYSTEM_SOCKET})"


@pytest.mark.parametrize("uid", [0, 4711])
def test_up_is_content_with_the_one_of_all_users(of_all, run, monkeypatch, uid):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    code, said = run("-v", "up", "--gpus", "0")
    assert code == 1
    assert said.startswith(
        "gflowd: the daemon of all users (pid 4711) serves your commands, and -v --gpus 0 was not taken"
    )
    code, said = run("up")
    assert (code, said) == (
        0,
        "gflowd of all users (pid 4711) serves your commands; 'gflowd up --own' starts one of your own beside it.\n",
    )
    assert run("up", "--system") == (
        (0, "gflowd of all users is already running (pid 4711).\n")
        if uid == 0
        else (1, "gflowd: the daemon of all users is root's to start; for one of your own: gflowd up --own\n")
    )


def test_up_is_not_content_with_one_that_does_not_answer(of_all, run):
    of_all.on("GET", "/health", b"")
    code, said = run("up")
    assert code == 1
    assert said.startswith(f"gflowd: the daemon of all users (pid {os.getpid()}) does not answer; 'gflowd up --own'")


@pytest.mark.parametrize("verb", ["up", "restart"])
def test_nothing_is_started_beside_the_unit_of_the_system(machine, run, monkeypatch, verb):
    machine.add("system")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    code, said = run(verb)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("gflowd: the daemon of all users does not run (gflowd.service of the system); start it with")
    assert said.endswith("'gflowd up --system', and 'gflowd up --own' starts one of your own\n")


@pytest.mark.parametrize("verb", ["down", "restart"])
def test_what_is_roots_is_not_anybodys(of_all, run, monkeypatch, verb):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    code, said = run(verb)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("gflowd: the daemon of all users is root's to ")
    assert said.endswith(f"; for one of your own: gflowd {verb} --own\n")
    assert run("down", "--own") == (0, "Your own gflowd is not running.\n")


def test_reload_says_whose_configuration_it_was(of_all, run):
    assert run("reload") == (0, f"gflowd of all users (unix:{paths.SYSTEM_SOCKET}):\nNothing has changed.\n")


def test_the_unit_of_the_system_runs_it_for_all(machine, monkeypatch):
    varied = []
    monkeypatch.setattr(Host, "vary", lambda host, command, environ: varied.append(command))
    monkeypatch.setattr(Host, "socket", property(lambda host: Path(paths.SYSTEM_SOCKET)))
    monkeypatch.setattr(Host, "ask", lambda host, *words: "")
    machine.add("system")
    for flags in ((), ("--gpus", "0")):
        with pytest.raises(hosting.HostingFailed, match="nobody listens"):
            hosting.start((), flags, Path(paths.SYSTEM_SOCKET), Path(paths.SYSTEM_DATA), system=True)
    assert varied == [None, [*hosting.program(), "run", "--system", "--gpus", "0"]]
