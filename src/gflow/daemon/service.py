"""A part of the daemon that is a task of its own: how it is started, and how it is stopped by itself."""

from typing import Protocol

import trio


class Service(Protocol):
    """A task of the daemon: serves until cancelled, `started()` once it is usable."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve."""


class Started:
    """A service that runs, and can be stopped by itself."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Run the service until it ends or is stopped."""
        try:
            with self._scope:
                await self._service.run(task_status=task_status)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel the service and wait until it has ended."""
        self._scope.cancel()
        await self._ended.wait()
