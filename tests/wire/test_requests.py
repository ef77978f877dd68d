"""Whatever a caller sends is either a request or Malformed, never a crash; and nothing is ignored."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gflow.core.errors import Malformed, Refused, TooLarge
from gflow.core.model import DependencyMode, EarlySignal, JobSpec
from gflow.core.notices import ENDINGS
from gflow.core.submission import check
from gflow.wire import requests
from gflow.wire.requests import MOST, GroupLimit, JobRequest, JobUpdate, read, read_batch, spec_changes, spec_from
from support.effort import examples

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**53, -(2**63), 10**400])
texts = st.text(st.characters(), max_size=8)
anything = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
JOB_FIELDS = JobRequest.__struct_fields__
UPDATE_FIELDS = JobUpdate.__struct_fields__
plausible = {
    "gpu_sharing_mode": st.sampled_from(["Exclusive", "Shared", "shared"]),
    "dependency_mode": st.sampled_from(["All", "Any", None, "some"]),
    "time_limit": numbers | st.fixed_dictionaries({"secs": numbers}, optional={"nanos": numbers}),
    "scheduled_at": numbers
    | st.fixed_dictionaries({"secs_since_epoch": numbers}, optional={"nanos_since_epoch": numbers}),
    "early_signal": st.fixed_dictionaries({"signal": numbers, "secs_before": numbers}),
    "depends_on_ids": st.lists(numbers, max_size=3),
    "gpu_indices": st.none() | st.lists(st.integers(-1, 9), max_size=3),
    "parameters": st.dictionaries(texts, texts, max_size=3),
    "argv": st.lists(texts, max_size=3),
    "script_args": st.lists(texts, max_size=3),
    "environment": st.dictionaries(texts, texts, max_size=3),
    "notifications": st.fixed_dictionaries({"emails": st.lists(texts | st.just("a@b"), max_size=3)}),
}


def bodies(fields):
    """Objects with known fields, sensible values, and now and then anything at all."""

    def value(name):
        return plausible.get(name, st.integers(-5, 300) | texts | st.booleans() | st.none()) | anything

    known = {name: value(name) for name in fields}
    return st.fixed_dictionaries({}, optional=known) | st.dictionaries(
        st.sampled_from(fields) | texts, anything, max_size=4
    )


def understood(read_it, *args):
    """What came of a request; it may be refused in one line, and in no other way."""
    try:
        return read_it(*args)
    except (Malformed, TooLarge) as refused:
        json.dumps(str(refused))
        return None


@settings(max_examples=examples(150))
@given(bodies(JOB_FIELDS) | anything)
@example({"time_limit": {"secs": 10**400}})
@example({"id": [[[]]] * 3})
def test_any_json_is_a_job_or_malformed(data):
    request = understood(read, JobRequest, data)
    if request is None:
        return
    spec = understood(lambda: spec_from(request, owner="ana", run_dir="/", script_digest=None, environment=None))
    if spec is not None:
        try:
            check(spec)
        except Refused:
            return
        assert_within_bounds(spec)


def assert_within_bounds(spec):
    """What the log can hold: see store.codec."""
    for name in JobSpec.__dataclass_fields__:
        value = getattr(spec, name)
        if isinstance(value, int):
            assert -MOST <= value <= MOST


@settings(max_examples=examples(100))
@given(bodies(UPDATE_FIELDS) | anything)
def test_any_json_is_an_update_or_malformed(data):
    update = understood(read, JobUpdate, data)
    if update is None:
        return
    old = JobSpec(owner="ana", run_dir="/", command="true", time_limit_secs=60.0, depends_on=(1,))
    changes = understood(spec_changes, update, old)
    assert changes is None or changes.keys() <= JobSpec.__dataclass_fields__.keys()


@settings(max_examples=examples(100))
@given(
    anything
    | st.lists(bodies(JOB_FIELDS), max_size=3)
    | st.fixed_dictionaries({"defaults": bodies(JOB_FIELDS), "jobs": st.lists(bodies(JOB_FIELDS), max_size=3)})
)
def test_any_json_is_a_batch_or_malformed(data):
    found = understood(read_batch, data)
    assert found is None or all(isinstance(job, JobRequest) for job in found)


@given(anything)
def test_any_json_is_a_limit_of_a_group_or_malformed(data):
    understood(read, GroupLimit, data)


# -- batches ---------------------------------------------------------------------------------------------------------


def test_fields_of_a_job_override_the_defaults_of_its_batch():
    first, second = read_batch({"defaults": {"gpus": 1, "priority": 5}, "jobs": [{}, {"gpus": 2}]})
    assert (first.gpus, first.priority, second.gpus, second.priority) == (1, 5, 2, 5)


def test_an_environment_of_the_defaults_is_shared_and_not_copied():
    first, second = read_batch({"defaults": {"environment": {"A": "1"}}, "jobs": [{}, {}]})
    assert first.environment is second.environment


@pytest.mark.parametrize("count", [0, 1001])
def test_the_size_of_a_batch(count):
    with pytest.raises((Malformed, TooLarge), match=r"at least one|maximum of 1000"):
        read_batch([{}] * count)


def test_repeated_defaults_have_a_limit_but_environments_and_scripts_do_not_count(monkeypatch):
    monkeypatch.setattr(requests, "MAX_REPEATED", 1000)
    jobs = [{}] * 10
    read_batch({"defaults": {"environment": {"A": "x" * 5000}, "script_text": "y" * 5000}, "jobs": jobs})
    read_batch({"defaults": {"command": "x" * 70}, "jobs": jobs})
    with pytest.raises(TooLarge, match="each of its 10 jobs"):
        read_batch({"defaults": {"command": "x" * 100}, "jobs": jobs})


# -- requests --------------------------------------------------------------------------------------------------------


def spec_of(**fields):
    request = read(JobRequest, fields)
    return spec_from(request, owner="ana", run_dir="/", script_digest=None, environment=None)


@pytest.mark.parametrize(
    ("fields", "depends_on", "mode"),
    [
        ({}, (), None),
        ({"depends_on": None, "depends_on_ids": []}, (), None),
        ({"depends_on": 3}, (3,), DependencyMode.ALL),
        ({"depends_on": 3, "depends_on_ids": [3]}, (3,), DependencyMode.ALL),
        ({"depends_on": 3, "depends_on_ids": []}, (3,), DependencyMode.ALL),
        ({"depends_on_ids": [3, 4, 3]}, (3, 4), DependencyMode.ALL),
        ({"depends_on_ids": [3, 4], "dependency_mode": "Any"}, (3, 4), DependencyMode.ANY),
        ({"dependency_mode": "Any"}, (), None),
    ],
)
def test_dependencies_have_two_fields_and_one_meaning(fields, depends_on, mode):
    spec = spec_of(**fields)
    assert (spec.depends_on, spec.dependency_mode) == (depends_on, mode)


def test_what_is_given_as_numbers_or_as_gflows_objects_means_the_same():
    plain = spec_of(time_limit=90.5, scheduled_at=1000)
    objects = spec_of(
        time_limit={"secs": 90, "nanos": 500_000_000}, scheduled_at={"secs_since_epoch": 1000, "nanos_since_epoch": 0}
    )
    assert plain == objects
    assert (plain.time_limit_secs, plain.begin_at) == (90.5, 1000.0)


def test_a_signal_before_the_limit():
    assert spec_of(early_signal={"signal": 10, "secs_before": 30}).early_signal == EarlySignal(10, 30.0)


@pytest.mark.parametrize(
    ("fields", "gpus", "indices"),
    [
        ({}, 0, ()),
        ({"gpus": 2}, 2, ()),
        ({"gpus": 2, "gpu_indices": None}, 2, ()),
        ({"gpus": 2, "gpu_indices": []}, 2, ()),
        ({"gpu_indices": [3, 0]}, 2, (0, 3)),
        ({"gpu_indices": [3, 0, 3]}, 2, (0, 3)),
        ({"gpu_indices": [3, 0], "gpus": 2}, 2, (0, 3)),
        ({"gpu_indices": [3], "gpus": 0}, 1, (3,)),
    ],
)
def test_named_gpus_say_how_many_they_are(fields, gpus, indices):
    spec = spec_of(**fields)
    assert (spec.gpus, spec.gpu_indices) == (gpus, indices)


def test_a_number_that_contradicts_the_names_is_refused():
    with pytest.raises(Malformed, match="gpus is 3, but gpu_indices names 2; give gpu_indices alone"):
        spec_of(gpus=3, gpu_indices=[0, 1])
    with pytest.raises(Malformed, match="gpus is 3, but gpu_indices names 1"):
        spec_of(gpus=3, gpu_indices=[1, 1, 1])


@pytest.mark.parametrize(
    "wrong", [{"a": 1}, {"command": 7}, {"gpus": "1"}, {"gpus": 1.0}, {"gpus": True}, {"argv": "ls"}]
)
def test_nothing_is_guessed(wrong):
    with pytest.raises(Malformed, match="Invalid request"):
        read(JobRequest, wrong)


# -- updates ---------------------------------------------------------------------------------------------------------

NEVER_NULL = ("command", "argv", "script", "script_text", "run_dir", "time_limit_delta", "parameter_changes")
OLD = JobSpec(owner="ana", run_dir="/", command="true", gpus=2, priority=77, time_limit_secs=60.0)


def changes(old=OLD, **fields):
    return spec_changes(read(JobUpdate, fields), old)


def test_what_is_absent_stays():
    assert changes() == {}
    assert changes(priority=5) == {"priority": 5}


@pytest.mark.parametrize("field", [name for name in UPDATE_FIELDS if name not in NEVER_NULL])
def test_null_brings_back_the_default(field):
    if field == "max_concurrent":
        assert changes(max_concurrent=None) == {}, "it belongs to the group"
        return
    fresh = JobSpec(owner="ana", run_dir="/")
    cleared = changes(**{field: None})
    assert cleared or field == "dependency_mode"
    for name, value in cleared.items():
        assert value == getattr(fresh, name), name


@pytest.mark.parametrize("field", NEVER_NULL)
def test_what_a_job_cannot_be_without_is_not_cleared(field):
    with pytest.raises(Malformed, match="got `null`"):
        changes(**{field: None})


def test_a_new_command_takes_the_place_of_any_other_work():
    cleared = {"argv": None, "script": None, "script_digest": None, "script_args": ()}
    assert changes(command="ls") == {"command": "ls", **cleared}
    assert changes(argv=["ls"])["command"] is None
    with pytest.raises(Malformed, match="exactly one"):
        changes(command="ls", argv=["ls"])


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"gpus": 3}, {"gpus": 3, "gpu_indices": ()}),
        ({"gpus": None}, {"gpus": 0, "gpu_indices": ()}),
        ({"gpu_indices": [3, 0]}, {"gpus": 2, "gpu_indices": (0, 3)}),
        ({"gpu_indices": [3, 0], "gpus": 2}, {"gpus": 2, "gpu_indices": (0, 3)}),
        ({"gpu_indices": [3], "gpus": None}, {"gpus": 1, "gpu_indices": (3,)}),
        ({"gpu_indices": None}, {"gpu_indices": ()}),
        ({"gpu_indices": []}, {"gpu_indices": ()}),
        ({"gpu_sharing_mode": "Shared", "retry_on_oom": True}, {"shared": True, "retry_on_oom": True}),
        ({"gpu_sharing_mode": "Exclusive"}, {"shared": False}),
    ],
)
def test_a_number_of_gpus_takes_back_their_names_and_names_set_the_number(fields, found):
    assert changes(**fields) == found


def test_an_update_must_not_contradict_itself():
    with pytest.raises(Malformed, match="gpus is 1, but gpu_indices names 2"):
        changes(gpus=1, gpu_indices=[0, 1])
    with pytest.raises(Malformed, match="Invalid gpu_sharing_mode 'Some': use Exclusive or Shared"):
        changes(gpu_sharing_mode="Some")


def test_limits_by_difference():
    assert changes(time_limit_delta=-10) == {"time_limit_secs": 50.0}
    with pytest.raises(Malformed, match="not both"):
        changes(time_limit=5, time_limit_delta=5)
    with pytest.raises(Malformed, match="no time limit"):
        changes(JobSpec(owner="ana", run_dir="/"), time_limit_delta=5)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"depends_on": 3}, {"depends_on": (3,), "dependency_mode": DependencyMode.ALL}),
        ({"depends_on_ids": [3, 4]}, {"depends_on": (3, 4), "dependency_mode": DependencyMode.ALL}),
        ({"depends_on_ids": []}, {"depends_on": (), "dependency_mode": None}),
        ({"depends_on": None}, {"depends_on": (), "dependency_mode": None}),
        (
            {"depends_on_ids": [3], "dependency_mode": "Any"},
            {"depends_on": (3,), "dependency_mode": DependencyMode.ANY},
        ),
        ({"dependency_mode": "Any"}, {"dependency_mode": None}),
    ],
)
def test_dependencies_are_replaced_as_a_whole(fields, found):
    assert changes(**fields) == found


def test_the_mode_alone_can_change():
    old = JobSpec(owner="ana", run_dir="/", depends_on=(3,), dependency_mode=DependencyMode.ALL)
    assert changes(old, dependency_mode="Any") == {"dependency_mode": DependencyMode.ANY}
    assert changes(old, dependency_mode=None) == {"dependency_mode": DependencyMode.ALL}
    assert changes(old, depends_on_ids=[4])["dependency_mode"] is DependencyMode.ALL


@pytest.mark.parametrize(
    ("wanted", "emails", "events"),
    [
        (None, (), ()),
        ({"emails": []}, (), ()),
        ({"emails": [" a@b", "a@b"], "events": []}, ("a@b",), ENDINGS),
        ({"emails": ["a@b"], "events": ["JOB_FAILED ", "*"]}, ("a@b",), ("job_failed", "*")),
    ],
)
def test_mail_is_about_the_end_unless_something_else_is_asked_for(wanted, emails, events):
    spec = spec_of(command="true", run_dir="/", notifications=wanted)
    assert (spec.notify_emails, spec.notify_on) == (emails, events)
    assert changes(notifications=wanted) == {"notify_emails": emails, "notify_on": events}


def test_events_without_an_address_are_a_mistake():
    with pytest.raises(Malformed, match="names events, but no address"):
        spec_of(command="true", run_dir="/", notifications={"events": ["job_failed"]})
