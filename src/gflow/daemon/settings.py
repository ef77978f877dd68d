"""What a daemon is started with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gflow.config import Config
from gflow.daemon.handover import HandedOver
from gflow.daemon.systemd import Given
from gflow.users.places import Places


@dataclass(frozen=True, slots=True)
class Settings:
    """Where a daemon lives, its configuration, how to read that anew (raises ConfigError), and what systemd gave it.

    system: it is root's, and serves all users of the machine. handed_over: by the program before, in this process.
    """

    config: Config
    data_dir: Path
    socket: Path
    reread: Callable[[], Config] | None = None
    given: Given = field(default_factory=Given)
    system: bool = False
    handed_over: HandedOver | None = None

    @property
    def places(self) -> Places | None:
        """Where the files of users are, if there are several."""
        return Places.beside(self.data_dir, self.socket) if self.system else None

    @property
    def logs(self) -> Path:
        """Where the output of jobs goes."""
        return self.places.logs if self.places is not None else self.data_dir / "logs"
