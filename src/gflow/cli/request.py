"""A job request from the options of gbatch, and what of the caller's surroundings goes with it."""

from __future__ import annotations

import os

from gflow.cli import ids
from gflow.cli.command import Failure, UsageError
from gflow.client.voice import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from gflow.cli.command import Values
    from gflow.client.http import Client

    Record = dict[str, Any]

_AS_GIVEN = {
    "name": "run_name",
    "project": "project",
    "conda_env": "conda_env",
    "gpus": "gpus",
    "gpu_ids": "gpu_indices",
    "gpu_memory": "gpu_memory_limit_mb",
    "retry_on_oom": "retry_on_oom",
    "memory": "memory_limit_mb",
    "cpus": "cpus",
    "priority": "priority",
    "nice": "priority",
    "max_concurrent": "max_concurrent",
    "group": "group",
    "hold_after_failures": "hold_after_failures",
    "time": "time_limit",
    "max_retries": "max_retries",
    "auto_close": "auto_close_tmux",
    "keep_session": "keep_session",
    "begin": "scheduled_at",
    "hold": "hold",
}
"""Options whose value is a field of the request."""

_ABOUT_GPUS = {"shared": "--shared", "gpu_memory": "--gpu-memory", "retry_on_oom": "--retry-on-oom"}


PLACES = "places"
"""The entry of the values that says of options from a script where they are, by dest: `job.sh:3: # GFLOW`."""


def check(values: Values) -> None:
    """Raise `UsageError` for options that make no sense together, naming the line of a script that has the first."""
    if values["shared"] and not values["gpu_memory"]:
        raise _wrong(
            values,
            "shared",
            "--shared needs --gpu-memory: jobs that share a GPU say how much of its memory they use",
        )
    if values["notify_on"] and not values["notify_email"]:
        raise _wrong(values, "notify_on", "--notify-on needs --notify-email: say who is to have mail about it")
    if values["signal"] and not values["time"]:
        raise _wrong(values, "signal", "--signal needs --time: it is sent that long before the time limit")
    if values["key"] is not None and not values["group"]:
        raise _wrong(values, "key", "--key needs --group: it says which job of that group this is")
    several = values["array"] or values["param"] or values["param_file"]
    if values["hold_after_failures"] and not (values["group"] or several):
        what = "--hold-after-failures needs --group, --array or --param: it is about jobs that belong together"
        raise _wrong(values, "hold_after_failures", what)
    throttle = values["array"][1] if values["array"] else None
    if throttle and values["max_concurrent"] and throttle != values["max_concurrent"]:
        what = f"--array says %{throttle} and --max-concurrent {values['max_concurrent']}; give one of them"
        raise _wrong(values, "array", what)


def _wrong(values: Values, dest: str, what: str) -> UsageError:
    return UsageError(f"{_place(values, dest)}{what}")


def _place(values: Values, dest: str) -> str:
    """What goes before a complaint about an option: nothing about one of the command line."""
    where = values.get(PLACES, {}).get(dest)
    return f"{where}: " if where else ""


def remarks(values: Values) -> list[str]:
    """What is allowed and may not be what was meant, in a line each."""
    found = []
    idle = [name for dest, name in _ABOUT_GPUS.items() if values[dest]]
    if idle and not values["gpus"] and not values["gpu_ids"]:
        what = f"{' and '.join(idle)} will have no effect"
        found.append(f"the job asks for no GPU, so {what}; add --gpus N or --gpu-ids LIST")
    if values["nice"] is not None:
        found.append("--nice is --priority here: unlike in Slurm, higher runs first")
    if (values["conda_env"] or "").isdigit():
        found.append(f"-c is --conda-env here: the job will run in one called '{values['conda_env']}'")
    return found


def build(values: Values, work: Record, *, here: bool) -> Record:
    """What all jobs share, without dependencies: fields that were not asked for are left to the daemon.

    here: they will run on this machine, so what is not to be found here is not to be found there.
    """
    if values["array"] and values["array"][1]:
        values = values | {"max_concurrent": values["array"][1]}
    run_dir = _run_dir(values, here=here)
    request = work | {"run_dir": run_dir, "umask": _umask(), "environment": environment(values["export"], run_dir)}
    given = {dest: field for dest, field in _AS_GIVEN.items() if values[dest] is not None}
    request |= {field: values[dest] for dest, field in given.items() if values[dest] is not False}
    if values["gpu_ids"]:
        request["gpus"] = len(values["gpu_ids"])
    if values["shared"]:
        request["gpu_sharing_mode"] = "Shared"
    if values["no_auto_cancel"]:
        request["auto_cancel_on_dependency_failure"] = False
    if values["signal"]:
        number, secs_before = values["signal"]
        request["early_signal"] = {"signal": number, "secs_before": secs_before}
    if values["notify_email"]:
        events = [name for given in values["notify_on"] or () for name in given]
        request["notifications"] = {"emails": values["notify_email"], "events": events}
    if (values["max_concurrent"] or values["hold_after_failures"]) and not values["group"]:
        request["group_id"] = new_group_id()
    always = ("auto_cancel_on_dependency_failure",)
    return {
        field: value
        for field, value in request.items()
        if field in always or (value is not None and value is not False)
    }


def dependencies(values: Values, client: Client) -> Record:
    """The fields that say what to wait for; shorthands are resolved by the daemon."""
    for dest, mode in (("depends_on_all", "All"), ("depends_on_any", "Any")):
        if values[dest]:
            return {"depends_on_ids": ids.expand(values[dest], client), "dependency_mode": mode}
    if values["depends_on"]:
        parts, mode, after_end = values["depends_on"]
        found = {"depends_on_ids": ids.expand(parts, client), "dependency_mode": mode}
        return found | ({"after_end": True} if after_end else {})
    return {}


def new_key() -> str:
    """A name for one submission, by which the daemon knows a repeated request."""
    return os.urandom(16).hex()


def new_group_id() -> str:
    """A random UUID (version 4); the uuid module is slow to load."""
    raw = bytearray(os.urandom(16))
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def export_to(machine: str, export: str | list[str] | None) -> str | list[str]:
    """What of this environment goes along to another machine: nothing, unless it is asked for.

    PATH, HOME and most else are about this machine; there the job gets those of its user. Says so on stderr.
    """
    if export is not None:
        return export
    say(f"the job runs on {machine}, with the environment it finds there; --export NAMES takes along more")
    return "NONE"


def environment(export: str | list[str] | None, run_dir: str) -> dict[str, str] | None:
    """The variables to run with; None for none of the caller's. Names on stderr what cannot be passed on."""
    if export == "NONE":
        return None
    chosen = _chosen(export) if isinstance(export, list) else dict(os.environ)
    unfit = [name for name, value in chosen.items() if not _is_text(name + value)]
    if unfit:
        say(f"not UTF-8, left out of the environment: {', '.join(map(ascii, unfit))}")
    if "PWD" in chosen:
        chosen["PWD"] = run_dir
    return {name: value for name, value in chosen.items() if name not in unfit}


def _chosen(items: list[str]) -> dict[str, str]:
    """The variables of a list: of this environment by their names, or with values of their own."""
    pairs = [item.partition("=") for item in items if item != "ALL"]
    missing = [name for name, equals, _ in pairs if not equals and name not in os.environ]
    if missing:
        raise UsageError(f"--export: {', '.join(missing)} is not set in this environment")
    others = dict(os.environ) if "ALL" in items else {}
    return others | {name: value if equals else os.environ[name] for name, equals, value in pairs}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _run_dir(values: Values, *, here: bool) -> str:
    chdir = values["chdir"]
    try:
        start = os.getcwd()
    except FileNotFoundError:
        raise Failure("the current directory does not exist any more") from None
    path = os.path.normpath(os.path.join(start, chdir)) if chdir else start
    if here and not os.path.isdir(path):
        raise Failure(f"{_place(values, 'chdir')}--chdir: {path} is not a directory")
    return path


def _umask() -> int:
    """The umask can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
