"""The configuration that a daemon goes by, and its change while it runs: read anew, tried, and only then gone by."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from gflow.config import Config, ConfigError
from gflow.core.errors import Impossible
from gflow.core.model import JobId
from gflow.daemon.configured import CannotStart, Prepared, prepared, tls_context
from gflow.daemon.handover import CannotReplace, try_out
from gflow.daemon.reloading import Differences, differences, in_force
from gflow.daemon.settings import Settings

log = logging.getLogger(__name__)


class InForce:
    """`now` is the configuration in force. `tell` speaks to systemd, `log_path` is where the output of jobs goes."""

    def __init__(self, settings: Settings, log_path: Callable[[JobId], Path], tell: Callable[..., None]) -> None:
        self.now = settings.config
        self._settings = settings
        self._log_path = log_path
        self._tell = tell
        self._one_at_a_time = trio.Lock()

    async def reload(self, go_by: Callable[[Prepared], Awaitable[None]]) -> Differences:
        """Read the configuration anew and go by it; what changed. Raises Impossible, and then nothing has changed."""
        reread = self._settings.reread
        if reread is None:
            raise Impossible("This daemon was started without a configuration that could be read again")
        async with self._one_at_a_time:
            self.tell_reloading()
            try:
                found = await self._found(reread)
                changed = differences(self.now, found.config)
                new = self._until_restart(found)
                await go_by(new)
                self.now = new.config
            except (ConfigError, CannotStart) as error:
                log.error("the configuration stays as it is: %s", error)
                raise Impossible(f"{error}; the configuration stays as it is") from error
            finally:
                self._tell("READY=1")
        for line in changed.applied:
            log.info("configuration: %s", line)
        for line in changed.later:
            log.warning("configuration, with the next start: %s", line)
        return changed

    async def check_next(self) -> None:
        """Raise Impossible if the program that is installed now would not start, or not with what is configured now."""
        reread = self._settings.reread
        if reread is None:
            raise Impossible("This daemon is part of another program, and has no program of its own to be replaced by")
        try:
            await self._found(reread)
            await trio.to_thread.run_sync(try_out)
        except (ConfigError, CannotStart, CannotReplace) as error:
            raise Impossible(f"{error}; this program goes on") from error

    def tell_reloading(self) -> None:
        """Tell systemd that READY comes again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    async def _found(self, reread: Callable[[], Config]) -> Prepared:
        """The configuration as it is now. Raises ConfigError, and CannotStart if a daemon would not start with it."""
        found = await trio.to_thread.run_sync(reread)
        return await trio.to_thread.run_sync(partial(prepared, found, self._log_path, system=self._settings.system))

    def _until_restart(self, found: Prepared) -> Prepared:
        """`found`, with what needs a restart as it is now."""
        config = in_force(self.now, found.config)
        same = _tls_of(config) == _tls_of(found.config)
        return Prepared(config, found.targets, found.tls if same else tls_context(config))


def _tls_of(config: Config) -> tuple[tuple[Path, Path] | None, bool]:
    return config.tls(), config.tcp() is None
