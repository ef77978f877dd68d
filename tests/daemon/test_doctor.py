"""`gflowd doctor`: what is wrong is found and said with what to do; what is well is not complained about."""

import json
import os
import socket
import subprocess
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gflow.config import Client, Config, ConfigError, Daemon, Notifications, Webhook
from gflow.daemon import doctor, doctor_limits, doctor_system, hosting
from gflow.daemon.doctor import examine
from gflow.daemon.doctor_files import stale_lock
from gflow.daemon.finding import NOTE, OK, PROBLEM, Finding, Place
from gflow.gpu import aside
from gflow.gpu.base import ProbeReading
from gflow.launch.tmux_socket import listener_on
from gflow.store.lock import DataLock
from support import certificates
from support.wait import until


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A machine where all is well, but that nothing runs there."""
    for name in ("data", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(doctor, "look_at_gpus", lambda: ProbeReading(trouble="no NVIDIA driver"))
    return Place(tmp_path / "data", tmp_path / "run/s", Config)


def found(place, level=PROBLEM):
    return [one for one in examine(place) if one.level == level]


def test_a_machine_where_all_is_well(place):
    assert found(place) == []
    assert len(found(place, OK)) >= 5
    assert Finding(NOTE, "gflowd is not running", "start it with: gflowd up") in found(place, NOTE)


def test_beside_a_daemon_of_all_users_none_of_ones_own_is_needed(place, monkeypatch, tmp_path):
    (tmp_path / "all").touch()
    monkeypatch.setattr(doctor.Host, "socket", property(lambda host: tmp_path / "all"))
    assert any("go to that of all users" in one.what and "up --own" in one.remedy for one in found(place, NOTE))


def test_a_configuration_that_cannot_be_used(place):
    def settings():
        raise ConfigError("gflow.toml: daemon.port: use 1 to 65535")

    (one,) = found(Place(place.data_dir, place.socket, settings))
    assert "daemon.port" in one.what


def test_a_setting_that_does_nothing(place):
    notes = found(Place(place.data_dir, place.socket, lambda: Config(daemon=Daemon(auth="none"))), NOTE)
    assert any("daemon.auth" in one.what for one in notes)


def test_certificates(place, tmp_path):
    files = certificates.make(tmp_path / "tls", "b.example", "a.example")

    def with_tls(cert, key):
        configured = Config(daemon=Daemon(tls_cert=cert and str(cert), tls_key=key and str(key)))
        return Place(place.data_dir, place.socket, lambda: configured)

    well = with_tls(files.cert, files.key)
    assert found(well) == []
    assert Finding(OK, "the certificate is for a.example, b.example") in found(well, OK)
    (one,) = found(with_tls(files.cert, None))
    assert "go together" in one.what
    files.key.chmod(0o644)
    (one,) = found(well)
    assert "others may read" in one.what


def test_without_tmux(place, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (one,) = found(place)
    assert "tmux is not installed" in one.what
    assert "install tmux" in one.remedy


def test_with_a_tmux_that_is_too_old(place, monkeypatch, tmp_path):
    old = tmp_path / "tmux"
    old.write_text("#!/bin/sh\necho tmux 2.9\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (one,) = found(place)
    assert "too old" in one.what


def test_with_a_tmux_that_does_not_run(place, monkeypatch, tmp_path):
    broken = tmp_path / "tmux"
    broken.write_text("#!/bin/sh\necho 'no libevent' >&2\nexit 127\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (one,) = found(place)
    assert one.what == f"tmux at {broken} does not run: no libevent"


def test_what_hangs_is_said(place, monkeypatch, tmp_path):
    hanging = tmp_path / "timedatectl"
    hanging.write_text("#!/bin/sh\nexec sleep 30\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(doctor, "CALL_SECS", 0.1)
    (one,) = found(place)
    assert one.what.startswith(f"no answer to '{hanging} show")


def test_a_tmux_server_without_its_socket(place, tmp_path):
    path = tmp_path / "run/tmux-0123abcd.sock"
    with tmux_server(path) as server:
        assert not any("tmux server" in one.what for one in examine(place))
        path.unlink()
        (one,) = [one for one in examine(place) if "tmux server" in one.what]
        assert one.what == f"tmux server {server} lives, but its socket {path} was removed; its jobs go on"
        assert one.remedy == "gflowd up has it made anew"
        with tmux_server(path):
            (one,) = [one for one in examine(place) if "tmux server" in one.what]
            assert one.what == f"tmux server {server} is left over: another has its socket {path}"


def test_terminals_of_jobs_that_the_daemon_does_not_know(place, tmp_path, monkeypatch):
    path = tmp_path / "run/tmux-0123abcd.sock"
    (place.data_dir / "runs/7.abc").mkdir(parents=True)
    with tmux_server(path):
        for name in ("gjob-6", "gjob-7", "gjob-7-before-123", "mine"):
            subprocess.run(["tmux", "-S", path, "new-session", "-d", "-s", name, "sleep", "100"], check=True)
        (one,) = [one for one in examine(place) if "without a daemon" in one.what]
        assert "gjob-6, gjob-7" in one.what
        monkeypatch.setattr(doctor.hosting, "find", lambda *_: hosting.Running(1, {"status": "ok"}, {}))
        told = [one for one in examine(place) if "does not know" in one.what]
    assert [one.what.split()[5] for one in told] == ["gjob-6", "gjob-7-before-123"]
    assert told[0].remedy.endswith(f"to end it: tmux -S {path} kill-session -t =gjob-6")


@contextmanager
def tmux_server(path):
    with subprocess.Popen(["tmux", "-S", path, "-f", "/dev/null", "-D"], start_new_session=True) as process:
        until(lambda: listener_on(path) == process.pid, "the server")
        yield process.pid
        process.kill()


def test_what_ends_at_a_logout(place, monkeypatch):
    monkeypatch.setattr(doctor.logout, "remedy", lambda pid: "gflowd service install")
    told = Finding(NOTE, "the daemon and its jobs end when you log out", "run: gflowd service install")
    assert told in found(place, NOTE)


def test_a_driver_whose_library_crashes(place, monkeypatch):
    crash = aside.Crash(trouble="the library of the NVIDIA driver crashes (SIGSEGV)", signal=11)
    monkeypatch.setattr(doctor, "look_at_gpus", lambda: crash)
    (one,) = found(place)
    assert (one.what, "restart the machine" in one.remedy) == (crash.trouble, True)


def test_a_driver_that_hangs(place, monkeypatch):
    monkeypatch.setattr(doctor, "look_at_gpus", lambda: None)
    (one,) = found(place)
    assert "did not answer" in one.what


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system of one's own needs root")
def test_a_full_disk(place):
    mounted = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "tmpfs", place.data_dir]
    if subprocess.run(mounted, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine lets nobody mount a file system")
    try:
        (little,) = found(place)
        assert "MiB are free" in little.what
        with (place.data_dir / "filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(4096))
        full, little = found(place)
        assert full == Finding(
            PROBLEM, f"{place.data_dir} cannot be written: No space left on device", "free some room"
        )
    finally:
        subprocess.run(["umount", place.data_dir], check=True)


def test_few_files_left(place, monkeypatch):
    def statvfs(_path):
        return os.statvfs_result((4096, 4096, 1 << 30, 1 << 30, 1 << 30, 5000, 7, 7, 0, 255))

    monkeypatch.setattr(doctor.os, "statvfs", statvfs)
    (one,) = found(place)
    assert one.what.startswith("7 more files fit")


def test_a_directory_that_is_not_there_yet_is_no_problem(place):
    place.data_dir.rmdir()
    place.socket.parent.rmdir()
    assert found(place) == []
    assert sum("the first start makes it" in one.remedy for one in found(place, NOTE)) == 2
    assert not place.data_dir.exists()


def test_a_data_directory_that_is_open(place):
    place.data_dir.chmod(0o755)
    assert any("open to others" in one.what for one in found(place, NOTE))


def test_a_socket_directory_of_the_wrong_mode(place):
    place.socket.parent.chmod(0o777)
    (one,) = found(place)
    assert one == Finding(PROBLEM, f"{place.socket.parent} is open to others", f"run: chmod 700 {place.socket.parent}")


def test_something_else_at_the_place_of_the_socket(place):
    place.socket.touch()
    (one,) = found(place)
    assert "is not a socket" in one.what


def test_a_path_that_is_too_long(place):
    path = place.socket.parent / ("x" * 120)
    (one,) = found(Place(place.data_dir, path, Config))
    assert "too long" in one.what


def test_what_a_killed_daemon_left_behind(place):
    with closing(socket.socket(socket.AF_UNIX)) as dead:
        dead.bind(str(place.socket))
    (place.data_dir / "gflowd.lock").write_text(json.dumps({"pid": 1, "socket": "s"}))
    assert found(place) == []
    notes = [one.what for one in found(place, NOTE)]
    assert f"{place.socket} was left by a daemon that was killed" in notes
    (place.data_dir / "orderly").mkdir()
    DataLock(place.data_dir / "orderly", socket="s", started=0.0).close()
    assert stale_lock(place.data_dir / "orderly") is None
    assert f"{place.data_dir / 'gflowd.lock'} was left by a daemon that was killed" in notes


def test_a_daemon_that_does_not_answer(place):
    with DataLock(place.data_dir, socket=str(place.socket), started=0.0):
        (one,) = found(place)
    assert (one.what, one.remedy) == (
        f"gflowd (pid {os.getpid()}) does not answer on {place.socket}",
        "run: gflowd restart",
    )


@pytest.mark.parametrize("installed", [True, False])
def test_of_one_that_hangs_nothing_is_said_that_contradicts(place, monkeypatch, installed):
    monkeypatch.setattr(doctor.Host, "installed", property(lambda host: installed))
    monkeypatch.setattr(hosting, "find", lambda *_: hosting.Running(7, None, None))
    told = list(examine(place))
    assert [one.what for one in told if one.level == PROBLEM] == [f"gflowd (pid 7) does not answer on {place.socket}"]
    assert [one for one in told if "start it with" in one.remedy] == []


def test_one_that_listens_elsewhere_is_not_said_to_hang(place):
    with DataLock(place.data_dir, socket="/other.sock", started=0.0):
        (one,) = found(place)
    assert one.what == f"gflowd (pid {os.getpid()}) listens on /other.sock, not on {place.socket}"


def test_a_unit_that_systemd_has_given_up(place, monkeypatch):
    monkeypatch.setattr(hosting, "failure", lambda path: "gflowd.service has failed: it was ended by SIGKILL")
    (one,) = found(place)
    assert one == Finding(
        PROBLEM,
        "gflowd.service has failed: it was ended by SIGKILL",
        "once that is mended: gflowd up",
    )


def test_what_keeps_limits_of_memory(place, monkeypatch):
    monkeypatch.setattr(doctor_limits, "why_unavailable", lambda _: "there is no cgroup v2 here")
    (one,) = (one for one in found(place, NOTE) if "limits of memory" in one.what)
    assert one.what.endswith("watched, about once a second: there is no cgroup v2 here")
    assert one.remedy
    monkeypatch.setattr(doctor_limits, "why_unavailable", lambda _: None)
    for system in (False, True):
        kept = list(doctor_limits.limits(replace(place, system=system)))
        assert kept == [Finding(OK, "limits of memory are kept by the kernel (cgroup v2)")]


def test_no_service_is_recommended_where_the_machine_has_no_memory_controller(place, monkeypatch):
    monkeypatch.setattr(doctor_limits, "why_unavailable", lambda _: "cgroup v2 has no memory controller here")
    monkeypatch.setattr(doctor_limits, "runs_systemd", lambda: True)
    for missing, said in ((None, "gflowd service install"), ("no controller", "is ended all the same")):
        monkeypatch.setattr(doctor_limits, "why_no_controller", lambda missing=missing: missing)
        (one,) = (one for one in found(place, NOTE) if "limits of memory" in one.what)
        assert said in one.remedy


def test_a_daemon_that_does_not_answer_is_not_to_be_started_to_tell_its_limits(place, monkeypatch):
    monkeypatch.setattr(hosting, "find", lambda *_: hosting.Running(7, None, None))
    (one,) = (one for one in found(place, NOTE) if "limits of memory" in one.what)
    assert one.remedy == "this one (pid 7) does not: gflowd restart"


@pytest.mark.parametrize("health", ["recovery", "read_only"])
def test_what_to_do_about_a_state_that_is_not_well_is_said_without_a_page(place, monkeypatch, health):
    monkeypatch.setattr(hosting, "find", lambda *_: hosting.Running(7, {"status": health, "detail": "why"}, None))
    (one,) = found(place)
    assert one.what == f"gflowd (pid 7): {health}: why"
    assert ("gctl state check" in one.remedy) == (health == "recovery")
    assert "by itself" in one.remedy


def test_a_runtime_directory_that_is_a_link_of_ones_own_counts_as_where_it_leads(place, tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "run")
    linked = Place(place.data_dir, tmp_path / "link/s", Config)
    assert found(linked) == []
    (tmp_path / "run").chmod(0o755)
    (one,) = found(linked)
    assert "is open to others" in one.what


def test_a_target_that_could_not_be_made_is_found_before_notifications_are_on(place):
    told = Notifications(enabled=False, webhooks=[Webhook(url="nope")])
    notes = found(Place(place.data_dir, place.socket, lambda: Config(notifications=told)), NOTE)
    (one,) = (one for one in notes if "notifications.webhooks[0].url" in one.what)
    assert "once they are on" in one.remedy
    right = Notifications(enabled=False, webhooks=[Webhook(url="http://localhost/")])
    place = Place(place.data_dir, place.socket, lambda: Config(notifications=right))
    assert [one for one in examine(place) if "webhooks" in one.what] == []


@pytest.mark.parametrize(
    ("told", "level", "said"),
    [
        ({"memory": "cgroup", "why": None}, OK, "kept by the kernel"),
        ({"memory": "watch", "why": "it is a container"}, NOTE, "it is a container"),
    ],
)
def test_a_daemon_is_asked_what_keeps_limits(place, monkeypatch, told, level, said):
    running = hosting.Running(1, {"status": "ok"}, {"limits": told})
    monkeypatch.setattr(hosting, "find", lambda *_: running)
    assert [said in one.what for one in found(place, level) if "limits of memory" in one.what] == [True]


def test_a_token_file(place, tmp_path, monkeypatch):
    monkeypatch.delenv("GFLOW_TOKEN", raising=False)
    file = tmp_path / "token"
    monkeypatch.setenv("GFLOW_TOKEN_FILE", str(file))
    (one,) = found(place)
    assert one.what == f"GFLOW_TOKEN_FILE: {file} does not exist"
    assert "gctl token create" in one.remedy
    file.write_text("gflow_1_abc\n")
    file.chmod(0o644)
    (one,) = found(place)
    assert one.remedy.startswith(f"run: chmod 600 {file}")
    file.chmod(0o600)
    assert found(place) == []
    assert Finding(OK, f"the token for other machines is in {file}") in found(place, OK)


def test_authorities_that_commands_are_to_trust(place, tmp_path):
    file = tmp_path / "ca.pem"
    configured = Place(place.data_dir, place.socket, lambda: Config(client=Client(cacert=str(file))))
    (one,) = found(configured)
    assert one.what == f"client.cacert: cannot read {file}: No such file or directory"
    file.touch()
    (one,) = found(configured)
    assert one.what.endswith("there is no certificate in it")
    file.write_bytes(certificates.make(tmp_path / "tls", "a.example").cert.read_bytes())
    assert found(configured) == []


@pytest.fixture
def system_place(place):
    return Place(place.data_dir, place.socket, lambda: Config(daemon=Daemon(auth="none")), system=True)


def test_what_a_daemon_of_all_users_needs(system_place, monkeypatch):
    monkeypatch.setattr(doctor_system, "closed_programs", lambda: [Path("/root")])
    monkeypatch.setattr(doctor_system, "has_pam", lambda: False)
    remedies = [one.remedy for one in found(system_place)]
    assert any(remedy.startswith("install gflow, and its Python, where all users can read them") for remedy in remedies)
    monkeypatch.setattr(doctor_system, "closed_programs", lambda: [Path("/")])
    assert "run: chmod o+rx /" in [one.remedy for one in found(system_place)]
    problems = [one.what for one in found(system_place)]
    assert any(f"on the way to {system_place.socket.parent}" in what for what in problems)
    assert any(what.startswith('daemon.auth = "none"') for what in problems)
    notes = found(system_place, NOTE)
    assert any("runuser" in one.what for one in notes)
    assert Finding(NOTE, "gflowd is not running", "start it with: gflowd run --system") in notes


def test_a_clock_that_was_never_set(place, monkeypatch):
    monkeypatch.setattr(doctor.time, "gmtime", lambda: doctor.time.struct_time((1970, 1, 1, 0, 0, 0, 3, 1, 0)))
    (one,) = found(place)
    assert "1970-01-01" in one.what


def test_a_service_that_ends_with_the_login(place, tmp_path, monkeypatch):
    unit = tmp_path / "config/systemd/user/gflowd.service"
    unit.parent.mkdir(parents=True)
    unit.touch()
    monkeypatch.setattr(doctor, "lingers", lambda user: False)
    assert any(one.remedy.startswith("run: loginctl enable-linger ") for one in found(place, NOTE))


def test_a_place_that_cannot_be_looked_at(place):
    name = "x" * 300  # more than file systems take
    told = found(Place(Path("/") / name, place.socket, Config))
    assert told
    assert all(one.what.startswith(f"/{name}") and one.what.endswith(": File name too long") for one in told)
