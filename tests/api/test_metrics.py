"""`GET /metrics`: what Prometheus reads, checked with its own reader."""

from prometheus_client.parser import text_string_to_metric_families

from gflow.core.events import Event, EventKind
from gflow.daemon.tally import MOST_USERS, OTHERS, Tally
from support.desk import eventually
from support.house import House
from support.target import Target


async def figures(house):
    """What is read: figures by name, and by their labels where there are some."""
    answer = await house.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


async def test_of_jobs_and_the_machine(house):
    first, _second = await house.start(gpus=3), await house.start()
    await house.end(first, 1)
    read = await figures(house)
    owner = (await house.get(f"/jobs/{first}"))["submitted_by"]
    assert read[("gflow_up",)] == 1
    assert (read[("gflow_jobs_running",)], read[("gflow_jobs_queued",)]) == (1, 0)
    assert (read[("gflow_gpus_total",)], read[("gflow_gpus_available",)]) == (4, 4)
    assert read[("gflow_memory_available_mb",)] == read[("gflow_memory_total_mb",)] > 0
    assert read["gflow_jobs_submitted_total", owner] == read["gflow_jobs_started_total", owner] == 2
    assert read["gflow_jobs_failed_total", owner] == read["gflow_events_total", "job_failed"] == 1
    assert {event for name, event in (key for key in read if key[0] == "gflow_events_total")} == {*EventKind}


async def test_of_notifications(tmp_path):
    target = Target(wanted=["job_submitted"], name='a "target"\\')
    async with House(tmp_path, targets=[target]) as house:
        await house.start()
        await eventually(lambda: target.payloads, "the delivery")
        read = await figures(house)
    labels = (target.kind, target.name)
    assert read["gflow_notifications_delivered_total", *labels] == 1
    assert read["gflow_notifications_retried_total", *labels] == read["gflow_notifications_dropped_total", *labels] == 0
    assert read["gflow_notifications_queued", *labels] == read["gflow_notifications_paused", *labels] == 0


async def test_no_parameters(house):
    await house.refused("GET", "/metrics?name=x", status=400, code="malformed")


def test_users_without_number_are_counted_together():
    tally, kind = Tally(), EventKind.RESERVATION_CREATED
    for number in [*range(MOST_USERS + 5), 0]:
        tally.count(Event(kind, 0.0, None, {"user": f"u{number}"}))
    assert (tally.counts[kind, "u0"], tally.counts[kind, OTHERS]) == (2, 5)
