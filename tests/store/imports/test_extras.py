"""What is no job in the older gflow's state, and anything at all."""

import contextlib
import json

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.engine import Engine
from gflow.core.errors import OverQuota
from gflow.core.explain import reasons
from gflow.core.model import JobId, JobSpec
from gflow.core.policy import Policy
from gflow.core.submission import check
from gflow.store.imports.plan import NotImportable, Plan
from support.effort import examples
from support.jobs import gpus
from support.older import (
    NOW,
    SAMPLE_JSON,
    SAMPLE_MSGPACK,
    around,
    check_holds,
    convert,
    notes,
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


def reservation(start: float = NOW.wall - 3600, secs: float = 7200, user: str = "bob", **spec):
    """A reservation as gflow writes one; in force for another hour if nothing else is said."""
    times = {"start_time": stamp(start), "duration": span(secs), "created_at": stamp(start), "cancelled_at": None}
    return {"id": 1, "user": user, "gpu_spec": spec, "status": "Active", **times}


def first_pass(*jobs, **more):
    """What the first pass of an engine with four GPUs gives to jobs 1, 2, …; None for one that waits."""
    numbered = [old_job(number, **job) for number, job in enumerate(jobs, 1)]
    engine = check_holds(convert(old_state(*numbered, version=4, **more)))
    return [engine.jobs[JobId(number)].gpu_ids for number in range(1, len(jobs) + 1)], engine


def test_an_imported_reservation_takes_effect():
    for spec, left in (({"indices": [0, 1, 2]}, (3,)), ({"count": 3}, (0,))):
        given, _ = first_pass({"gpus": 1}, {"gpus": 1}, reservations=[reservation(**spec)])
        assert given == [left, None]
    given, _ = first_pass(
        {"gpus": 1}, {"gpus": 3, "submitted_by": "bob"}, reservations=[reservation(indices=[0, 1, 2])]
    )
    assert given == [(3,), (0, 1, 2)]
    over = {**reservation(indices=[0, 1, 2, 3]), "status": "Cancelled"}
    assert first_pass({"gpus": 1}, reservations=[over])[0] == [(0,)]


def test_an_imported_quota_takes_effect():
    quota = {"users": {"alice": {"max_running_gpus": 2, "max_queued_jobs": 1}}}
    given, engine = first_pass(*[{"gpus": 1}] * 3, quota_overrides=quota)
    assert given == [(0,), (1,), None]
    with pytest.raises(OverQuota):
        engine.submit([JobSpec(owner="alice", run_dir="/", command="true")], NOW)


def test_imported_usage_takes_effect():
    usage = {"alice": {"usage": 1e6, "last_update": NOW.wall}, "bob": {"usage": 1.0, "last_update": None}}
    plan = convert(
        old_state(
            *[old_job(n, gpus=4) for n in (1, 2)],
            old_job(3, gpus=4, submitted_by="bob"),
            version=4,
            fair_share_usage=usage,
        )
    )
    engine = Engine(policy=Policy(fair_share_half_life_secs=604800.0))
    engine.set_machine(gpus(4), None)
    engine.restore(plan.jobs, plan.groups, plan.next_job_id, NOW, plan.settings)
    engine.schedule(NOW, iter(["run-1"]))
    assert list(engine.running) == [3]


def test_imported_restrictions_take_effect_and_are_said():
    given, engine = first_pass({"gpus": 1}, {"gpus": 1}, {"gpus": 1}, allowed_gpu_indices=[3, 1, 1])
    assert given == [(1,), (3,), None]
    said = notes(convert(old_state(version=4, allowed_gpu_indices=[3, 1, 1])), None)
    assert said == "jobs go on being given 1, 3 only (allowed_gpu_indices): gctl set-gpus changes that"
    assert first_pass({"gpus": 1}, allowed_gpu_indices=[])[0] == [None]
    engine.allow_gpus(None, NOW)
    assert list(engine.schedule(NOW, iter(["run-4"])).jobs) == [3]


def test_reservations_no_calendar_can_hold_are_brought_into_range():
    plan = convert(old_state(version=4, reservations=[reservation(secs=1e15, count=1)]))
    assert plan.settings["reservations"][0]["duration_secs"] == 366 * 86400.0
    assert notes(plan, None) == "reservation 1 lasts longer than 366 days: made 366 days"
    assert "indices over 1023" in refused(old_state(version=4, reservations=[reservation(indices=[2**32 - 1])]))


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


whole = st.integers(0, 2**32 - 1) | st.integers(0, 9)
times = st.floats(0, 2.5e11) | st.floats(NOW.wall - 86400, NOW.wall + 86400)
any_reservations = st.builds(
    lambda number, user, spec, start, secs, status: {
        **reservation(start, secs, user, **spec),
        "id": number,
        "status": status,
    },
    whole,
    st.sampled_from(["alice", "bob", "carol"]),
    st.builds(lambda n: {"count": n}, whole)
    | st.builds(lambda found: {"indices": found}, st.lists(whole | st.integers(0, 5), max_size=4)),
    times,
    st.floats(0, 1e18),
    st.sampled_from(["Pending", "Active", "Completed", "Cancelled"]),
)
any_limits = st.dictionaries(
    st.sampled_from(["max_running_jobs", "max_running_gpus", "max_queued_jobs"]), st.none() | whole, max_size=3
)
any_usage = st.fixed_dictionaries({"usage": st.floats(0, 1e300), "last_update": st.none() | times.map(stamp)})
users = st.sampled_from(["alice", "bob", "carol"])


@given(
    st.lists(any_reservations, max_size=4),
    st.fixed_dictionaries({}, optional={"users": st.dictionaries(users, any_limits), "default_user": any_limits}),
    st.dictionaries(users, any_usage),
    st.none() | st.lists(whole | st.integers(0, 5), max_size=4),
    st.lists(st.tuples(users, st.integers(0, 3), st.none() | st.integers(1, 99_999)), max_size=6),
)
@settings(max_examples=examples(200))
def test_an_engine_goes_on_from_any_settings(reservations, quotas, usage, allowed, wanted):
    jobs = [
        old_job(number, submitted_by=user, gpus=gpus_, time_limit=None if secs is None else span(secs))
        for number, (user, gpus_, secs) in enumerate(wanted, 1)
    ]
    state = old_state(*jobs, version=4, reservations=reservations, quota_overrides=quotas, fair_share_usage=usage)
    with contextlib.suppress(NotImportable):
        engine = check_holds(convert({**state, "allowed_gpu_indices": allowed}))
        for job in engine.jobs.values():
            assert reasons(engine, job, NOW)
        packed(engine.kept_settings())


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
@settings(max_examples=examples(300))
def test_samples_with_anything_in_any_place_are_sound_or_refused(state):
    survive(packed(state))


@given(
    st.sampled_from([SAMPLE_JSON.read_bytes(), SAMPLE_MSGPACK.read_bytes()]),
    st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=4)), min_size=1, max_size=4),
)
@settings(max_examples=examples(300))
def test_samples_with_other_bytes_are_sound_or_refused(data, changes):
    for place, new in changes:
        data = data[:place] + new + data[place + len(new) :]
    survive(data)


@given(st.sampled_from([SAMPLE_JSON.read_bytes(), SAMPLE_MSGPACK.read_bytes()]), st.integers(0, 10_300))
@settings(max_examples=examples(100))
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
@settings(max_examples=examples(500))
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
