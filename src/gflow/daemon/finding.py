"""What `gflowd doctor` looks at, and what it says: shared by all that look."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gflow.config import Config
from gflow.daemon.units import Host

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: `level` is OK, NOTE or PROBLEM, `remedy` what to do, if anything."""

    level: str
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look. `settings` reads the configuration, raising ConfigError, or what keeps a daemon from it.

    system: it is about the daemon of all users, and root looks.
    """

    data_dir: Path
    socket: Path
    settings: Callable[[], Config]
    system: bool = False

    @property
    def start(self) -> str:
        """The command that starts a daemon here."""
        if not self.system:
            return "gflowd up"
        return "systemctl start gflowd" if Host(system=True).installed else "gflowd run --system"

    @property
    def restart(self) -> str:
        """The command that puts another daemon in the place of one that hangs."""
        return "systemctl restart gflowd" if self.system and Host(system=True).installed else "gflowd restart"
