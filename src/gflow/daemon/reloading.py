"""What a changed configuration changes in a daemon that runs, and what has to wait for its next start."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from gflow.config import Config

_AT_START = (
    "daemon.socket",
    "daemon.host",
    "daemon.port",
    "daemon.auth",
    "daemon.gpus",
    "daemon.simulated_gpus",
    "daemon.simulated_gpu_memory_mb",
    "executor",
)
"""The beginnings of the names of settings that are read when the daemon starts, and at no other time. For
GPUs there is `gctl set-gpus`."""

_UNSAID = ("notifications",)
"""Settings in which there may be secrets: that they changed is all that is told."""


class Differences(NamedTuple):
    """Settings that differ, each in a line: those in force from now on, and those that need a restart."""

    applied: list[str]
    later: list[str]


def differences(before: Config, after: Config) -> Differences:
    """What is not the same, by name, as `daemon.max_bypass_secs: 3600.0 -> 60.0`."""
    old, new = dict(_flat(msgspec.to_builtins(before))), dict(_flat(msgspec.to_builtins(after)))
    found = Differences([], [])
    for name in sorted(old.keys() | new.keys()):
        was, now = old.get(name), new.get(name)
        if was != now:
            line = name if name.startswith(_UNSAID) else f"{name}: {_said(was)} -> {_said(now)}"
            (found.later if name.startswith(_AT_START) else found.applied).append(line)
    return found


def in_force(before: Config, after: Config) -> Config:
    """`after`, with what needs a restart as it is in `before`."""
    names = [name.partition(".")[2] for name in _AT_START if name.startswith("daemon.")]
    daemon = msgspec.structs.replace(after.daemon, **{name: getattr(before.daemon, name) for name in names})
    return msgspec.structs.replace(after, daemon=daemon, executor=before.executor)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting by its whole name; lists are values."""
    for name, value in table.items():
        whole = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{whole}.")
        elif value not in (None, {}):
            yield whole, value


def _said(value: object) -> str:
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
