"""A booted systemd with a user's manager, in a throw-away copy of this machine's root: systemd-nspawn over an overlay.

Needs root and systemd-container, dbus and libpam-systemd; `missing` says what is not there. Nothing that happens inside
reaches the machine but what is written to the directory `out`.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gflow.launch import cgroups

BOOT_AND_RUN_SECS = 240.0

_BEGIN = """\
#!/bin/bash
exec >/out/log 2>&1
systemctl start dbus.socket systemd-logind
chmod o+x {homes}
chmod 0777 /out
if [ -e /out/as-root ]; then exec env HOME=/root PATH={path}:/usr/sbin LC_ALL=C.UTF-8 bash /out/steps; fi
useradd --create-home --uid 4711 gfuser
loginctl enable-linger gfuser
systemctl start user@4711
exec runuser -u gfuser -- env -i HOME=/home/gfuser USER=gfuser LOGNAME=gfuser SHELL=/bin/bash \\
    XDG_RUNTIME_DIR=/run/user/4711 PATH={path} LC_ALL=C.UTF-8 bash /out/steps
"""


def missing() -> str | None:
    """Why there can be no such container here, None if there can."""
    if os.geteuid() != 0:
        return "a systemd of one's own needs root"
    for program, package in (("systemd-nspawn", "systemd-container"), ("dbus-daemon", "dbus"), ("tmux", "tmux")):
        if shutil.which(program) is None:
            return f"{program} is not installed (package {package})"
    if not list(Path("/usr/lib").glob("**/security/pam_systemd.so")):
        return "pam_systemd.so is not installed (package libpam-systemd)"
    return None


MARKS = [
    pytest.mark.once,
    pytest.mark.skipif(missing() is not None, reason=f"no systemd to try: {missing()}"),
    pytest.mark.timeout(2 * BOOT_AND_RUN_SECS),
]
"""Of tests of a module that boots one."""

WORDS = r"""
say() { printf '== %s\n' "$1"; }
soon() { for _ in $(seq 400); do if "$@" >/dev/null 2>&1; then return 0; fi; sleep 0.1; done; echo "TOO LATE: $*"; }
another() { new=$(pid); [ "$new" != 0 ] && [ "$new" != "$1" ]; }
"""
"""Shell functions for steps: begin one, wait for something, and whether `pid` tells another daemon than $1."""


@contextmanager
def root_copy() -> Iterator[Path]:
    """The root of this machine, where a container may begin."""
    place = Path(tempfile.mkdtemp(prefix="gflow-root-"))
    subprocess.run(["mount", "--bind", "/", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
        place.rmdir()


def _apart() -> list[str]:
    """What begins a program in a cgroup of its own beside ours, if ours is delegated: only alone can it divide that."""
    own = cgroups._own(os.getpid())
    if own is None or own.directory.name != cgroups.LEAF:
        return []
    place = own.directory.with_name(f"nspawn-{secrets.token_hex(4)}")
    place.mkdir()
    return ["sh", "-c", 'echo 0 >"$0" && exec "$@"', os.fspath(place / "cgroup.procs")]


def run_in_systemd(steps: str, out: Path, *, as_root: bool = False) -> str:
    """Boot, run the bash script `steps` as a user, shut down; returns what was printed. `out` is /out there."""
    if as_root:
        (out / "as-root").touch()
    checkout = Path(__file__).resolve().parents[2]
    prefix = Path(sys.prefix)
    python = Path(sys.base_prefix)
    path = f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    out.chmod(0o755)
    (out / "steps").write_text(steps)
    homes = " ".join(
        str(parent) for place in (checkout, prefix, python) for parent in place.parents if parent != Path("/")
    )
    (out / "begin").write_text(_BEGIN.format(path=path, homes=homes or "/"))
    (out / "begin").chmod(0o755)
    binds = [f"--bind-ro={place}" for place in {checkout, prefix} if place.is_relative_to("/tmp")]
    with root_copy() as root:
        done = subprocess.run(
            [
                *_apart(),
                *(
                    "systemd-nspawn",
                    "--quiet",
                    "-D",
                    root,
                    "--volatile=overlay",
                    f"--bind={out}:/out",
                    *binds,
                    "--boot",
                ),
                *("--register=no", "--keep-unit", "systemd.run=/out/begin"),
                *("systemd.run_success_action=exit", "systemd.run_failure_action=exit"),
            ],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOOT_AND_RUN_SECS,
            check=False,
        )
    log = out / "log"
    return log.read_text(errors="replace") if log.exists() else f"it did not boot:\n{done.stdout}{done.stderr}"
