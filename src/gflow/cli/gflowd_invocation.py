"""What every command of `gflowd` is given: the settings, and the flags they came from."""

import os
from pathlib import Path

from gflow import config, paths
from gflow.config import Config, ConfigError


class BadFlag(ConfigError):
    """The value of a flag cannot be used: the command line is wrong, no file."""


def with_flag(settings: Config, name: str, text: str) -> Config:
    """`settings` with that of `[daemon]` which a flag of `gflowd` gives. Raises BadFlag."""
    flag = f"--{name.replace('_', '-')}"
    try:
        return config.with_daemon(settings, {name: text}, flag)
    except ConfigError as error:
        # the flag and the key are one name; what else is said to be wrong keeps its own
        wrong = str(error).removeprefix(f"{flag}: ").removeprefix(f"daemon.{name}: ")
        raise BadFlag(f"{flag}: {wrong}") from None


class Invocation:
    """One call of `gflowd`. `named` is the configuration file that was named, `verbosity` counts -v less -q.

    system: it is about the daemon of all users, which has its files elsewhere.
    """

    def __init__(self, named: str | None, verbosity: int) -> None:
        self.named = named
        self.verbosity = verbosity
        self.flags: dict[str, str] = {}
        self.log_file: str | None = None
        self.log_format = "text"
        self.system = False
        self.named_data_dir: str | None = None

    def add(self, **flags: str | None) -> None:
        """Take flags that were given; None for those that were not."""
        self.flags |= {name: value for name, value in flags.items() if value is not None}
        if self.flags.get("socket"):
            self.flags["socket"] = os.path.abspath(os.path.expanduser(self.flags["socket"]))

    @property
    def file(self) -> Path:
        """The configuration file."""
        return Path(self.named) if self.named else self.usual_file

    @property
    def usual_file(self) -> Path:
        """The one that is read if none is named."""
        return Path(paths.SYSTEM_CONFIG if self.system else paths.config_file())

    def settings(self) -> Config:
        """What file, environment and flags say. Raises ConfigError."""
        loaded = config.load(self.file, config.environment(), must_exist=self.named is not None)
        for name, value in self.flags.items():
            loaded = with_flag(loaded, name, value)
        return loaded

    def socket(self) -> Path:
        """Where the daemon listens. Raises ConfigError."""
        return self._place(self.settings().daemon.socket)

    def socket_without_file(self, taken: str | None = None) -> Path:
        """Where the daemon listens for all that can be told without the configuration file.

        taken: where one that runs has said it does.
        """
        given = self.flags.get("socket") or config.environment().get("GFLOW_DAEMON_SOCKET")
        return self._place(given or taken)

    def _place(self, given: str | None) -> Path:
        default = paths.SYSTEM_SOCKET if self.system else paths.default_socket()
        return Path(os.path.abspath(os.path.expanduser(given or default)))

    def data_dir(self) -> Path:
        """Where the daemon keeps its state."""
        default = paths.SYSTEM_DATA if self.system else paths.data_dir()
        return Path(os.path.abspath(self.named_data_dir or default))

    def arguments(self) -> list[str]:
        """The options for the daemon that `up` starts: all of those given to `up`."""
        named = ["--config", os.path.abspath(self.named)] if self.named else []
        level = ["-v"] * self.verbosity if self.verbosity > 0 else ["-q"] * -self.verbosity
        return [*named, *level]

    def run_flags(self) -> list[str]:
        """The flags, as options of `run`."""
        return [
            word
            for name, value in self.flags.items()
            if name != "socket"
            for word in (f"--{name.replace('_', '-')}", value)
        ]
