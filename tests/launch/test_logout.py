"""What ends at a logout is told by where it lives, whether its user lingers, and what logind does."""

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from gflow.launch import logout
from gflow.launch.logout import remedy, remedy_for_lost

UID = 12345
SERVICE = f"/user.slice/user-{UID}.slice/user@{UID}.service/app.slice/gflowd.service"
SESSION = f"/user.slice/user-{UID}.slice/session-3.scope"
LINGER = "loginctl enable-linger ada"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says where this process lives, and how the machine is set up."""

    def set_up(place: str, *, kills: str = "no", lingering: bool = False, state: str = "active") -> None:
        for directory in ("proc/self", "proc/7", "linger", "users", "bin"):
            (tmp_path / directory).mkdir(parents=True, exist_ok=True)
        for process in ("self", "7"):
            (tmp_path / "proc" / process / "cgroup").write_text(f"0::{place}\n")
        if lingering:
            (tmp_path / "linger/ada").touch()
        (tmp_path / "users" / str(UID)).write_text(f"NAME=ada\nSTATE={state}\n")
        loginctl = tmp_path / "bin/loginctl"
        loginctl.write_text(f"#!/bin/sh\n[ $2 = --property=KillUserProcesses ] && echo {kills}\n")
        loginctl.chmod(0o700)

    for name, directory in (("_PROC", "proc"), ("_LINGERING", "linger"), ("_USERS", "users")):
        monkeypatch.setattr(logout, name, tmp_path / directory)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(logout.os, "geteuid", lambda: UID)
    monkeypatch.setattr(logout.pwd, "getpwuid", lambda uid: pwd.struct_passwd(("ada", "x", uid, uid, "", "/", "")))
    return set_up


@pytest.mark.parametrize(
    ("place", "kills", "lingering", "said"),
    [
        (SERVICE, "no", False, LINGER),
        (SERVICE, "no", True, None),
        (SESSION, "no", False, None),
        (SESSION, "yes", False, f"gflowd service install and {LINGER}"),
        (SESSION, "yes", True, "gflowd service install"),
        ("/system.slice/gflowd.service", "yes", False, None),
        ("/", "yes", False, None),
    ],
)
def test_what_outlives_a_logout(
    machine: Callable[..., None], place: str, kills: str, lingering: bool, said: str | None
) -> None:
    machine(place, kills=kills, lingering=lingering)
    assert remedy() == remedy(7) == said


def test_a_process_that_is_gone_is_not_spoken_of(machine: Callable[..., None]) -> None:
    machine(SERVICE)
    assert remedy(8) is None


def test_a_loss_that_was_seen_is_only_one_of_a_logout_if_there_is_one(machine: Callable[..., None]) -> None:
    machine(SERVICE)
    assert (remedy_for_lost(seen=False), remedy_for_lost(seen=True)) == (LINGER, None)
    machine(SERVICE, state="closing")
    assert remedy_for_lost(seen=True) == LINGER
