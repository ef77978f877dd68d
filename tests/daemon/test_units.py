"""The units of systemd, as text and as files. What a real systemd does with them is in e2e/test_systemd.py."""

import os
import shutil
import subprocess

import pytest

from gflow.daemon import units
from gflow.daemon.units import SERVICE, SOCKET, Host, UnitFailed, command_line, service_text


@pytest.fixture(autouse=True)
def directories(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A stand-in that writes down how it was called; `answer` is what it says and ends with."""
    place = tmp_path / "bin"
    place.mkdir()
    program, called = place / "systemctl", tmp_path / "called"

    def answer(text="", status=0):
        program.write_text(
            f'#!/bin/sh\necho "$*" >>"{called}"\necho "{text}" >&{1 if status == 0 else 2}\nexit {status}\n'
        )
        program.chmod(0o755)
        return lambda: called.read_text().splitlines() if called.exists() else []

    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    return answer


def test_a_users_units_are_where_his_manager_looks(tmp_path):
    assert Host().directory == tmp_path / "config/systemd/user"
    assert Host().socket == tmp_path / "run/gflow/gflowd.sock"
    assert str(Host(system=True).directory) == "/etc/systemd/system"


def test_only_a_daemon_for_all_users_is_kept_from_the_kernel_and_neither_is_in_a_sandbox():
    assert "\nOOMScoreAdjust=-500\n" in service_text(["gflowd"], [], {}, system=True)
    assert "OOMScoreAdjust" not in service_text(["gflowd"], [], {}, system=False)
    inherited = ("Protect", "Private", "NoNewPrivileges", "Restrict", "SystemCall", "Capability", "Limit")
    for system in (True, False):
        settings = service_text(["gflowd"], [], {}, system=system).splitlines()
        assert [line for line in settings if line.startswith(inherited)] == []


@pytest.mark.parametrize("system", [True, False])
def test_the_journal_calls_it_by_its_name(system):
    assert "\nSyslogIdentifier=gflowd\n" in service_text(["/opt/python", "-m", "gflow"], [], {}, system=system)


def test_they_are_installed_and_removed():
    host = Host()
    assert not host.installed
    files = host.install(
        ["/bin/python", "-m", "gflow"], ["--gpus", "0"], {"PATH": "/opt/bin:/bin", "SECRET": "x", "XDG_DATA_HOME": ""}
    )
    assert host.installed
    assert [path.name for path in files] == [SERVICE, SOCKET]
    text = files[0].read_text()
    assert (
        'ExecStart="/bin/python" "-m" "gflow" "run" "--gpus" "0"\nExecReload="/bin/python" "-m" "gflow" "reload"\n'
        in text
    )
    assert 'Environment="PATH=/opt/bin:/bin"\n' in text
    assert "SECRET" not in text
    assert "XDG_DATA_HOME" not in text
    assert host.uninstall() == files
    assert host.uninstall() == []
    assert not host.installed


def test_options_last_until_they_are_not_given_any_more(systemctl):
    called = systemctl()
    host = Host()
    host.vary(["/bin/gflowd", "run", "--gpus", "0"], {"GFLOW_DAEMON_PORT": "1"})
    text = (Host()._drop_in).read_text()
    assert (
        text == '[Service]\nExecStart=\nExecStart="/bin/gflowd" "run" "--gpus" "0"\nEnvironment="GFLOW_DAEMON_PORT=1"\n'
    )
    host.vary(None, {})
    assert not host._drop_in.exists()
    assert called() == ["--user daemon-reload"] * 2


def test_a_refusal_is_one_line(systemctl):
    systemctl("Unit x not found.\nand more", 1)
    with pytest.raises(UnitFailed, match=r"^systemctl start x: Unit x not found\.$"):
        Host().ask("start", "x")


@pytest.mark.parametrize(
    "said", ["Failed to connect to bus: No medium found", "System has not been booted with systemd"]
)
def test_where_there_is_no_systemd_to_ask_it_says_what_to_do(systemctl, said, monkeypatch):
    systemctl(f"{said}\nand more", 1)
    monkeypatch.setattr(units, "runs_systemd", lambda: True)
    with pytest.raises(
        units.NoManager, match=r"^no systemd of \S+ runs here: log in anew .*loginctl enable-linger \S+$"
    ):
        Host().ask("start", "x")
    with pytest.raises(units.NoManager, match="gflowd run --system"):
        Host(system=True).ask("start", "x")
    monkeypatch.setattr(units, "runs_systemd", lambda: False)
    with pytest.raises(units.NoManager, match=r"^this machine runs no systemd .*without it: gflowd up$"):
        Host().ask("start", "x")
    assert Host().failure() is None


@pytest.mark.parametrize(
    ("state", "end", "said"),
    [
        ("failed failed", "1 1", "gflow.toml: broken; systemd does not try again by itself"),
        ("activating auto-restart", "1 1", "gflow.toml: broken; systemd tries again"),
        ("failed failed", "2 9", "it was ended by SIGKILL; systemd does not try again by itself"),
        ("failed failed", "3 40", "it was ended by signal 40; systemd does not try again by itself"),
        ("inactive dead", "1 0", None),
        ("active running", "0 0", None),
    ],
)
def test_a_unit_that_failed_says_how(systemctl, monkeypatch, state, end, said):
    active, sub = state.split()
    code, status = end.split()
    lines = (f"ActiveState={active}", f"SubState={sub}", f"ExecMainCode={code}", f"ExecMainStatus={status}")
    systemctl("\n".join(lines))
    monkeypatch.setattr(Host, "last_words", lambda host: "gflow.toml: broken")
    assert Host().failure() == (said and f"gflowd.service has failed: {said}")


@pytest.mark.parametrize(("said", "listens"), [("active", True), ("failed", False), ("activating", False)])
def test_whoever_calls_starts_the_daemon_while_systemd_has_the_socket(systemctl, said, listens):
    systemctl(said)
    assert Host().listens() is listens


def test_where_systemd_does_not_say_nobody_is_called(systemctl):
    systemctl("no", 1)
    assert Host().listens()
    assert not Host().runs("x.service", 1)


def test_a_machine_without_systemd(monkeypatch):
    monkeypatch.setattr(units.shutil, "which", lambda name: None)
    with pytest.raises(UnitFailed, match=r"no systemd \(.*\); without it: gflowd up$"):
        Host().ask("start", "x")
    assert Host().main_pid() == 0


def test_nobody_lingers_who_is_not_there():
    assert not units.lingers("no-such-user")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("word", ["a b", 'q"q', "it's", "100%", "%h", "$HOME", "back\\slash", "line\nbreak", "ü"])
def test_nothing_in_a_command_line_is_for_systemd(tmp_path, word):
    """systemd says what it has read, in its own quoting; what it would have filled in is gone from there."""
    (tmp_path / SERVICE).write_text(service_text(["/bin/echo", word], [word], {"NAME": word}, system=False))
    words = ("systemd-analyze", "--man=no", "--user", "verify", tmp_path / SERVICE)
    checked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in checked.stderr.splitlines() if SERVICE in line and "gflowd.socket" not in line] == []


def test_words_are_quoted():
    assert command_line(["a b", 'q"', "%h", "$HOME", "\\", "\n"]) == r'"a b" "q\"" "%%h" "$$HOME" "\\" "\n"'
