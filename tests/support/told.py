"""One event of every kind, and the payloads and deliveries that are made of them."""

from dataclasses import replace

from gflow.core.events import Event, EventKind
from gflow.core.model import GpuUse, Job, JobId, JobSpec, Reason, ReasonKind, State
from gflow.notify.base import Delivery
from gflow.notify.formats import addressed
from gflow.notify.payloads import payload

AT = 1_770_208_245.25
"""2026-02-04T12:30:45Z, the moment of the samples."""

SAMPLE_DELIVERY = "1042-1f3a5c7e9b2d-qxkbvd"
HOST, VERSION = "gpu-server-01", "0.1.0"
GROUP = "6f1c2a9e-3d0b-4c57-9a51-0f6d3f0a7b12"

SPEC = JobSpec(
    owner="alice",
    run_dir="/home/alice/project",
    argv=("python", "train.py", "--epochs", "100"),
    name="train",
    project="ml-research",
    gpus=2,
    time_limit_secs=7200,
    max_retries=1,
)
WAITING = Job(id=JobId(42), spec=SPEC, run_name="train", state=State.QUEUED, submitted_at=AT - 4300)
RUNNING = replace(WAITING, state=State.RUNNING, gpu_ids=(0, 1), run_id="r", started_at=AT - 4205)
ENDED = replace(RUNNING, finished_at=AT, gpu_use=GpuUse(samples=420, mean_pct=91.5, peak_pct=99.0, peak_mb=11468))
FAILED = replace(ENDED, state=State.FAILED, exit_code=3, retried_as=JobId(43))
MEMBER = replace(ENDED, state=State.FINISHED, exit_code=0).with_spec(group_id=GROUP, group_name="sweep", task_id=10)
SHARING = RUNNING.with_spec(shared=True, gpus=1, gpu_memory_mb=6144)

RESERVATION = {
    "reservation_id": 7,
    "user": "bob",
    "gpu_count": 2,
    "gpu_indices": None,
    "start_at": 1_770_213_600.0,
    "end_at": 1_770_220_800.0,
}

EVENTS = {
    event.kind.value: event
    for event in (
        Event(EventKind.SUBMITTED, AT, replace(WAITING, submitted_at=AT)),
        Event(EventKind.UPDATED, AT, WAITING.with_spec(priority=20)),
        Event(EventKind.STARTED, AT, replace(RUNNING, started_at=AT)),
        Event(EventKind.COMPLETED, AT, replace(ENDED, state=State.FINISHED, exit_code=0)),
        Event(EventKind.FAILED, AT, FAILED),
        Event(
            EventKind.CANCELLED,
            AT,
            replace(
                WAITING,
                state=State.CANCELLED,
                finished_at=AT,
                reason=Reason(ReasonKind.DEPENDENCY_FAILED, JobId(41)),
                detail="dependency 41 did not finish",
            ).with_spec(depends_on=(JobId(41),)),
        ),
        Event(
            EventKind.TIMEOUT,
            AT,
            replace(
                ENDED, state=State.TIMEOUT, exit_code=130, started_at=AT - 7200, detail="time limit of 02:00:00 reached"
            ),
        ),
        Event(EventKind.HELD, AT, replace(WAITING, state=State.HOLD)),
        Event(EventKind.RELEASED, AT, WAITING),
        Event(
            EventKind.GPU_MEMORY_EXCEEDED, AT, replace(SHARING, gpu_ids=(1,)), {"declared_mb": 6144, "used_mb": 7014}
        ),
        Event(EventKind.GPU_IDLE, AT, RUNNING, {"idle_secs": 1800}),
        Event(EventKind.GPU_AVAILABLE, AT, None, {"gpu": 1, "uuid": "GPU-8f6d2e4c-0b1a-4a53-9d62-6c1f0e7a9b35"}),
        Event(EventKind.RESERVATION_CREATED, AT, None, RESERVATION),
        Event(EventKind.RESERVATION_CANCELLED, AT, None, {**RESERVATION, "gpu_count": None, "gpu_indices": [0, 3]}),
        Event(
            EventKind.GROUP_COMPLETED,
            AT,
            MEMBER,
            {"group_id": GROUP, "user": "alice", "first_job_id": 33, "counts": {"Finished": 9, "Failed": 1}},
        ),
        Event(
            EventKind.GROUP_HELD,
            AT,
            replace(ENDED, state=State.FAILED, exit_code=1).with_spec(group_id=GROUP, group_name="lr", key="lr=0.1"),
            {
                "group_id": GROUP,
                "group_name": "lr",
                "user": "alice",
                "first_job_id": 40,
                "reason": "3 jobs in a row of its group 'lr' failed within a minute (the last: job 42, exit code 1)",
                "failed": [40, 41, 42],
                "held": 17,
            },
        ),
        Event(EventKind.SCHEDULER_ONLINE, AT, None, {"version": VERSION}),
        Event(EventKind.SCHEDULER_DRAINED, AT, None, {"by": "root", "reason": "driver update"}),
        Event(EventKind.SCHEDULER_RESUMED, AT, None, {"by": "root"}),
    )
}
"""The very events the samples in docs/notifications.md are of."""


def told(event="job_failed", **changes):
    """A payload; `changes` are of the job's specification."""
    found = EVENTS[event]
    if changes:
        found = replace(found, job=found.job.with_spec(**changes))
    return payload(found, host=HOST, version=VERSION)


def sample(event):
    """What a webhook is sent of an event, as documented."""
    return addressed(told(event), SAMPLE_DELIVERY)


def delivery(payload=None, number=17, attempt=1):
    payload = told() if payload is None else payload
    return Delivery(f"{number}-key", number, payload["event"], payload, attempt)
