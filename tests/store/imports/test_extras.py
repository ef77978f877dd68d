"""What is no job in the older gflow's state, and anything at all."""

import contextlib
import json

import msgpack
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.submission import check
from gflow.store.imports.plan import NotImportable, Plan
from support.older import (
    SAMPLE_JSON,
    SAMPLE_MSGPACK,
    around,
    check_holds,
    convert,
    old_job,
    old_state,
    packed,
    refused,
    span,
    stamp,
)

# -- everything that is no job -----------------------------------------------------------------------------------------


def test_reservations_quotas_and_usage_come_along():
    state = old_state(
        version=4,
        next_reservation_id=3,
        reservations=[
            {
                "id": 1,
                "user": "alice",
                "gpu_spec": {"count": 2},
                "start_time": stamp(1.9e9),
                "duration": span(7200),
                "status": "Pending",
                "created_at": stamp(1.7e9 + 0.5),
                "cancelled_at": None,
            },
            {
                "id": 5,
                "user": "bob",
                "gpu_spec": {"indices": [0, 2]},
                "start_time": stamp(1.6e9),
                "duration": span(1800),
                "status": "Cancelled",
                "created_at": stamp(1.5e9),
                "cancelled_at": stamp(1.55e9),
            },
        ],
        quota_overrides={
            "users": {"alice": {"max_running_jobs": 3, "max_running_gpus": None}},
            "projects": {"p": {"max_queued_jobs": 9}},
            "default_user": {"max_running_gpus": 4},
        },
        fair_share_usage={
            "alice": {"usage": 12.5, "last_update": stamp(1.7e9)},
            "bob": {"usage": 0, "last_update": 1.6e9},
            "eve": {},
        },
    )
    assert convert(state).settings == {
        "reservations": [
            {
                "id": 1,
                "user": "alice",
                "gpu_count": 2,
                "start_at": 1.9e9,
                "duration_secs": 7200.0,
                "status": "Pending",
                "created_at": 1.7e9 + 0.5,
                "cancelled_at": None,
            },
            {
                "id": 5,
                "user": "bob",
                "gpu_indices": [0, 2],
                "start_at": 1.6e9,
                "duration_secs": 1800.0,
                "status": "Cancelled",
                "created_at": 1.5e9,
                "cancelled_at": 1.55e9,
            },
        ],
        "next_reservation_id": 6,
        "quota_overrides": {
            "users": {"alice": {"max_running_jobs": 3}},
            "projects": {"p": {"max_queued_jobs": 9}},
            "default_user": {"max_running_gpus": 4},
        },
        "fair_share_usage": {
            "alice": {"usage": 12.5, "last_update": 1.7e9},
            "bob": {"usage": 0.0, "last_update": 1.6e9},
            "eve": {"usage": 0.0, "last_update": None},
        },
    }


# -- anything at all ---------------------------------------------------------------------------------------------------

SAMPLES = {
    "JSON": json.loads(SAMPLE_JSON.read_bytes()),
    "MessagePack": msgpack.unpackb(SAMPLE_MSGPACK.read_bytes(), strict_map_key=False),
}
ODDITIES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=3),
    st.sampled_from(
        ["Queued", "Hold", "Running", "Failed", "All", "Any", "Shared", "live", "~/x", "/s.sh", "Finished"]
    ),
    st.lists(st.integers(0, 18), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2),
    st.builds(stamp, st.floats(0, 4e9)),
    st.builds(span, st.floats(0, 4e9)),
    st.builds(lambda job_id: {"DependencyFailed": job_id}, st.integers(0, 20)),
)


def places(value, path=()):
    """Every place in a nested value, as the way to it."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


@st.composite
def changed_samples(draw):
    state = SAMPLES[draw(st.sampled_from(sorted(SAMPLES)))]
    for _ in range(draw(st.integers(1, 6))):
        state = changed(state, draw(st.sampled_from(sorted(places(state), key=str))), draw(ODDITIES))
        if not isinstance(state, dict):
            break
    return state


def survive(data: bytes) -> None:
    """Whatever it is, it is either taken over as something an engine can go on from, or refused."""
    with contextlib.suppress(NotImportable):
        plan = convert(data, around(read_script=lambda path: b"text"))
        check_specs(plan)


def check_specs(plan: Plan) -> None:
    for job in plan.jobs:
        if job.finished_at is None:
            check(job.spec)


@given(changed_samples())
@settings(max_examples=300, deadline=None)
def test_samples_with_anything_in_any_place_are_sound_or_refused(state):
    survive(packed(state))


@given(
    st.sampled_from([SAMPLE_JSON.read_bytes(), SAMPLE_MSGPACK.read_bytes()]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_samples_with_other_bytes_are_sound_or_refused(data, changes):
    for place, new in changes:
        data = data[:place] + new + data[place + len(new) :]
    survive(data)


@given(st.sampled_from([SAMPLE_JSON.read_bytes(), SAMPLE_MSGPACK.read_bytes()]), st.integers(0, 10_300))
@settings(max_examples=100, deadline=None)
def test_a_file_that_was_cut_short_is_refused(data, length):
    if length < len(data):
        refused(data[:length])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["Queued", "Hold", "Running", "Finished", "Failed", "Cancelled"]),
            st.lists(st.integers(1, 9), max_size=3),
            st.sampled_from(["All", "Any"]),
            st.booleans(),
            st.none() | st.integers(0, 9),
            st.lists(st.integers(0, 2), max_size=2),
        ),
        max_size=8,
    )
)
@settings(max_examples=500, deadline=None)
def test_whatever_jobs_say_of_each_other_they_hold_together(described):
    jobs = [
        old_job(
            number,
            state=state,
            depends_on_ids=depends_on,
            dependency_mode=mode,
            auto_cancel_on_dependency_failure=auto_cancel,
            retried_from=retried_from,
            gpu_ids=gpu_ids,
            gpus=len(gpu_ids),
            run_name=f"{'live' if number % 2 else 'gone'}{number}",
            started_at=stamp(5),
        )
        for number, (state, depends_on, mode, auto_cancel, retried_from, gpu_ids) in enumerate(described, 1)
    ]
    engine = check_holds(convert(old_state(*jobs)))
    for job in engine.jobs.values():
        assert job.id not in job.spec.depends_on
