"""A target in the test's own process, which fails, hangs and takes its time as it is told."""

from itertools import pairwise
from pathlib import Path

import trio

from gflow.daemon import lane as lane_module
from gflow.daemon.webhooks import WebhookPool
from gflow.notify.base import DeliveryFailed
from gflow.notify.outbox import Outbox


class Target:
    """Fails the first `failures` attempts of each event, all while `down`, hangs while `hanging`
    until `open` is set.

    - attempts: (event number, when) of each. ids: of each. delivered: numbers.
    - most: how many ever were at work at once. note: what an attempt that works returns.
    """

    at_work = 0
    most = 0

    def __init__(
        self, name="t", *, failures=0, final=False, max_retries=3, wanted=None, retry_after=None, secs=0.0, fine=False
    ):
        self.name = self.key = name
        self.kind = "webhook"
        self.max_retries = max_retries
        self.failures, self.final, self.retry_after = failures, final, retry_after
        self.secs = secs
        self.note = None
        self.hanging = self.down = self.closed = False
        self.open = trio.Event()
        self.attempts = []
        self.ids = []
        self.origins = set()
        self.delivered = []
        self.payloads = []
        self.fine = fine
        self._wanted = wanted

    def wants(self, payload):
        return self._wanted is None or payload["event"] in self._wanted

    async def deliver(self, delivery):
        self.attempts.append((delivery.number, trio.current_time()))
        delivery_id, _, origin = delivery.id.rpartition("-")
        self.ids.append((delivery_id, delivery.attempt))  # without the letters of the outbox
        self.origins.add(origin)
        Target.at_work += 1
        Target.most = max(Target.most, Target.at_work)
        try:
            await self._answer(delivery)
        finally:
            Target.at_work -= 1
        return self.note

    async def _answer(self, delivery):
        if self.hanging:
            await self.open.wait()
        await trio.sleep(self.secs)
        tries = [attempted for attempted, _ in self.attempts].count(delivery.number)
        if self.down or tries <= self.failures:
            raise DeliveryFailed(
                "connection refused",
                final=self.final,
                retry_after_secs=self.retry_after,
                target_is_fine=self.fine,
            )
        self.delivered.append(delivery.number)
        self.payloads.append(delivery.payload)

    def may_write_to(self, address):
        return address != "far@away"

    def withheld(self):
        return {}

    async def aclose(self):
        self.closed = True

    @property
    def tried(self):
        return [number for number, _ in self.attempts]

    @property
    def pauses(self):
        times = [at for _, at in self.attempts]
        return [round(later - earlier, 3) for earlier, later in pairwise(times)]


def make_pool(targets, directory, most=16, *, past=(), next_event_id=None, wall=None):
    """A pool over an outbox in `directory`. Its clock is trio's, from some day on."""
    last = past[-1][0] if past else 0
    return WebhookPool(
        targets,
        most,
        Outbox(Path(directory)),
        payload=lambda event: {"event": str(event.kind), "at": event.at},
        test_payload=lambda: {"event": "test"},
        past=past,
        next_event_id=last + 1 if next_event_id is None else next_event_id,
        launching=lambda: False,
        wall=wall or (lambda: 1_800_000_000 + trio.current_time()),
    )


def no_jitter(monkeypatch):
    monkeypatch.setattr(lane_module.random, "uniform", lambda low, high: 1.0)
