"""From settings to targets. What the targets stand on is loaded only if there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gflow.config import Notifications
    from gflow.notify.base import Target

Environ = Mapping[str, str]
LogPath = Callable[[int], Path]


def targets(settings: Notifications, environ: Environ, *, log_path: LogPath | None = None) -> list[Target]:  # noqa: ARG001
    """The targets that are configured, none if notifications are off. Raises ValueError with one line.

    `environ` is where values that are not to be in the file come from, `log_path` says where the log of a job is.
    """
    if not settings.enabled or not settings.webhooks:
        return []
    from gflow.notify.webhook import Webhook

    return [Webhook(webhook, where=f"notifications.webhooks[{at}]") for at, webhook in enumerate(settings.webhooks)]
