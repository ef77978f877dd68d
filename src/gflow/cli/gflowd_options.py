"""Whether a daemon that runs does what the options of `gflowd up` ask for, so that none is dropped without a word."""

import os
from pathlib import Path

from gflow import config
from gflow.cli.gflowd_invocation import Invocation, with_flag
from gflow.config import Config, ConfigError
from gflow.daemon import hosting


def not_taken(given: Invocation, pid: int) -> list[str]:
    """The options that were given and that the daemon `pid` does not go by, as words."""
    others = _others(given, hosting.arguments_of(pid))
    if given.flags.keys() <= {"socket"}:
        return others
    runs = hosting.flags_of(pid)
    settings = _without_flags(given)
    for name in runs.keys() & config.FROM_TEXT.keys():
        settings = with_flag(settings, name, runs[name])
    return [*others, *(word for name in given.flags if name != "socket" for word in _unless(settings, name, given))]


def _others(given: Invocation, had: list[str]) -> list[str]:
    """Those before `up`, unless the daemon was started with them: `had` is what stood before its `run`."""
    file = Path(os.path.abspath(had[had.index("--config") + 1])) if "--config" in had[:-1] else given.usual_file
    words = given.arguments()
    if given.named is not None and os.path.realpath(given.named) == os.path.realpath(file):
        words = words[2:]
    return [word for word in words if word not in ("-v", "-q") or words.count(word) != had.count(word)]


def _unless(settings: Config, name: str, given: Invocation) -> list[str]:
    """The flag, unless it changes nothing of `settings`."""
    value = given.flags[name]
    return [] if with_flag(settings, name, value) == settings else [f"--{name.replace('_', '-')}", value]


def _without_flags(given: Invocation) -> Config:
    """What file and environment say; nothing if that cannot be told here."""
    try:
        return config.load(given.file, config.environment(), must_exist=given.named is not None)
    except (ConfigError, OSError):
        return Config()


def again(given: Invocation) -> str:
    """How to have them counted."""
    which = ["--system"] if given.system and os.geteuid() == 0 else []
    words = ["gflowd", *given.arguments(), "restart", *which, *given.run_flags()]
    return f"'{' '.join(words)}' has it run with that"
