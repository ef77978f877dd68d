"""Telling others of events: the pool of deliveries, made anew when the targets change, and what is sent."""

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gflow import __version__, clock
from gflow.core.events import Event
from gflow.daemon.runtime import Runtime
from gflow.daemon.webhooks import WebhookPool
from gflow.notify.base import Target
from gflow.notify.outbox import Outbox, OutboxDamaged, OutboxError
from gflow.notify.payloads import payload


def told(outbox: Outbox) -> int | None:
    """The last event that need not be kept for the outbox; None: no event needs to be."""
    try:
        return outbox.taken()
    except OutboxDamaged:
        return None
    except OutboxError:
        return 0  # it may be readable soon


class Telling:
    """Makes pools over one outbox. `launching`: whether jobs are being started, who go first."""

    def __init__(self, runtime: Runtime, outbox: Outbox, launching: Callable[[], bool]) -> None:
        self._runtime = runtime
        self._outbox = outbox
        self._launching = launching

    def pool(
        self, targets: Sequence[Target], most: int, past: Sequence[tuple[int, Event]], next_event_id: int
    ) -> WebhookPool:
        """One that tells these targets, with `most` deliveries at once; `past` events may not be taken over yet."""
        return WebhookPool(
            targets,
            most,
            self._outbox,
            payload=self._payload,
            test_payload=_test_payload,
            past=tuple(past),
            next_event_id=next_event_id,
            wall=lambda: clock.read().wall,
            launching=self._launching,
        )

    def _payload(self, event: Event) -> Mapping[str, Any]:
        group_id = event.job.spec.group_id if event.job is not None else None
        group = self._runtime.engine.groups.get(group_id) if group_id is not None else None
        limit = group.max_concurrent if group is not None else None
        return payload(event, host=socket.gethostname(), version=__version__, max_concurrent=limit)


def _test_payload() -> Mapping[str, Any]:
    host = socket.gethostname()
    now = datetime.fromtimestamp(clock.read().wall, UTC)
    return {
        "event": "test",
        "timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "text": f"A test of the notifications of gflow on {host}",
        "scheduler": {"host": host, "version": __version__},
    }
