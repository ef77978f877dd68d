"""`GET /metrics`: figures for Prometheus, in its text format (version 0.0.4).

Gauges and the counters of ended jobs have the names that gflow 0.4 gives them. Counters begin at 0 with the daemon, as
Prometheus expects of them.
"""

from collections.abc import Iterator
from typing import Any

import trio
from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import raw
from gflow.api.services import Services
from gflow.core.events import EventKind
from gflow.core.model import State
from gflow.wire.gpus import available

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[tuple[str, ...], float]
"""Values of the labels, and the figure."""

Family = tuple[str, str, str, tuple[str, ...], list[Sample]]
"""Type (gauge or counter), name, what it is, names of the labels, samples."""

_JOB_COUNTERS = (
    ("gflow_jobs_submitted", "Jobs submitted", EventKind.SUBMITTED),
    ("gflow_jobs_started", "Jobs started", EventKind.STARTED),
    ("gflow_jobs_finished", "Jobs that ended well", EventKind.COMPLETED),
    ("gflow_jobs_failed", "Jobs that failed", EventKind.FAILED),
    ("gflow_jobs_cancelled", "Jobs that were cancelled", EventKind.CANCELLED),
    ("gflow_jobs_timed_out", "Jobs that were ended at their time limit", EventKind.TIMEOUT),
)
_OF_TARGETS = (
    ("counter", "delivered", "Deliveries made"),
    ("counter", "retried", "Attempts that failed and were, or will be, made again"),
    ("counter", "dropped", "Deliveries dropped because too many waited"),
    ("counter", "given_up", "Deliveries given up"),
    ("gauge", "queued", "Deliveries that wait"),
    ("gauge", "paused", "Whether a target fails and is tried now and then only"),
)
"""Of each target: type, key in its status, what it is."""


def blueprint(services: Services) -> Blueprint:
    """The route."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    async def metrics() -> Response:
        query.allow()
        families = [*_gauges(services), *_counters(services), *_notifications(services.notifications.status())]
        return raw(await trio.to_thread.run_sync(_text, families), content_type=CONTENT_TYPE)

    return routes


def _gauges(services: Services) -> Iterator[Family]:
    engine, runtime = services.runtime.engine, services.runtime
    resources = engine.resources
    yield _gauge("gflow_up", "Whether all is well: 1 or 0, as /health says", float(services.health()[1]))
    yield _gauge("gflow_jobs_queued", "Jobs that wait", engine.counts[State.QUEUED])
    yield _gauge("gflow_jobs_held", "Jobs on hold", engine.counts[State.HOLD])
    yield _gauge("gflow_jobs_running", "Jobs that run", engine.counts[State.RUNNING])
    yield _gauge("gflow_gpus_total", "GPUs there are", len(resources.gpus))
    yield _gauge("gflow_gpus_available", "GPUs free for a job", len(available(engine, runtime.clock())))
    used = [status.utilisation_pct for status in resources.status.values() if status.utilisation_pct is not None]
    if used:
        yield _gauge("gflow_gpu_utilization_ratio", "Mean utilisation of all GPUs, 0 to 1", sum(used) / len(used) / 100)
    if resources.memory_total_mb:
        free = max(0, resources.memory_total_mb - resources.memory_used_mb)
        yield _gauge("gflow_memory_total_mb", "Host memory that jobs can ask for, MiB", resources.memory_total_mb)
        yield _gauge("gflow_memory_available_mb", "Host memory that no running job asked for, MiB", free)


def _gauge(name: str, what: str, value: float) -> Family:
    return "gauge", name, what, (), [((), float(value))]


def _counters(services: Services) -> Iterator[Family]:
    for name, what, kind in _JOB_COUNTERS:
        counts = services.tally.counts
        yield "counter", name, what, ("user",), [((user,), n) for (of, user), n in counts.items() if of is kind]
    totals: dict[EventKind, int] = dict.fromkeys(EventKind, 0)
    for (kind, _), number in services.tally.counts.items():
        totals[kind] += number
    samples: list[Sample] = [((kind.value,), number) for kind, number in totals.items()]
    yield "counter", "gflow_events", "Events of each kind", ("event",), samples


def _notifications(status: dict[str, Any]) -> Iterator[Family]:
    for type_, key, what in _OF_TARGETS:
        samples: list[Sample] = [((one["name"], one["kind"]), float(one[key])) for one in status["targets"]]
        yield type_, f"gflow_notifications_{key}", what, ("target", "kind"), samples


class _Once:
    """What a registry is to the library: something with families to collect."""

    def __init__(self, families: list[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

        for kind, name, what, labels, samples in self._families:
            family = (GaugeMetricFamily if kind == "gauge" else CounterMetricFamily)(name, what, labels=labels)
            for values, figure in samples:
                family.add_metric(values, figure)
            yield family


def _text(families: list[Family]) -> bytes:
    """In a thread: the library is loaded at the first use, which takes a moment."""
    from prometheus_client.exposition import generate_latest

    return generate_latest(_Once(families))
