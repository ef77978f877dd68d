import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.events import Event, EventKind
from gflow.core.model import Job, JobSpec
from gflow.store import codec
from support import strategies
from support.effort import examples
from support.ledger import make_job


def through_msgpack(value):
    return codec.unpack(codec.pack(value))


@given(strategies.jobs)
def test_a_job_comes_back_exactly(job):
    assert codec.job_from_map(through_msgpack(codec.job_to_map(job))) == job


@given(strategies.groups)
def test_a_group_comes_back_exactly(group):
    assert codec.group_from_map(through_msgpack(codec.group_to_map(group))) == group


@given(strategies.events)
def test_an_event_comes_back_exactly(event):
    assert codec.event_from_map(through_msgpack(codec.event_to_map(event))) == event


@given(st.text(st.characters()))
def test_every_string_python_has_can_be_kept(text):
    assert through_msgpack(text) == text


@pytest.mark.parametrize(
    ("model", "always", "optional"),
    [
        (JobSpec, {"owner", "run_dir"}, codec._SPEC),
        (Job, {"id", "spec", "run_name", "state", "submitted_at"}, codec._LIFE),
    ],
)
def test_the_format_has_every_field_of_the_model_with_the_same_default(model, always, optional):
    by_name = {field.name: field for field in dataclasses.fields(model)}
    assert by_name.keys() == always | optional.keys()
    for name, default in optional.items():
        field = by_name[name]
        made = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        assert (made, type(made)) == (default, type(default))


@given(strategies.jobs)
@settings(max_examples=examples(30))
def test_types_survive_too(job):
    """1 is not True and 60 is not 60.0 in what the API answers, though Python calls them equal."""
    back = codec.job_from_map(through_msgpack(codec.job_to_map(job)))
    assert repr(dataclasses.replace(back, spec=job.spec)) == repr(job)
    parameters = dict(job.spec.parameters)  # an empty mapping comes back as the shared empty one
    assert repr(dataclasses.replace(back.spec, parameters=parameters)) == repr(job.spec)
    assert repr(dict(back.spec.parameters)) == repr(parameters)


def test_a_plain_job_takes_no_more_keys_than_it_has_facts():
    plain = codec.job_to_map(make_job(7))
    assert plain == {
        "id": 7,
        "spec": {"owner": "ada", "run_dir": "/home/ada/work", "command": "echo 7"},
        "run_name": "calm-otter-0007",
        "state": "Queued",
        "submitted_at": 1_700_000_007.0,
    }


def test_keys_of_a_later_version_are_ignored():
    job = make_job(7)
    plain = codec.job_to_map(job)
    plain["colour"] = "blue"
    plain["spec"]["phase_of_the_moon"] = 3
    assert codec.job_from_map(plain) == job
    assert codec.group_from_map({"id": "g", "weight": 1}).id == "g"


@pytest.mark.parametrize("missing", ["id", "spec", "run_name", "state", "submitted_at"])
def test_a_job_without_what_every_job_has_is_refused(missing):
    plain = codec.job_to_map(make_job(7))
    del plain[missing]
    with pytest.raises((KeyError, TypeError)):
        codec.job_from_map(plain)


def test_an_unknown_state_is_refused():
    with pytest.raises(KeyError, match="Exploded"):
        codec.job_from_map(codec.job_to_map(make_job(7)) | {"state": "Exploded"})


def test_no_two_jobs_share_a_changeable_value():
    first, second = (codec.job_from_map(through_msgpack(codec.job_to_map(make_job(n)))) for n in (1, 2))
    for job in (first, second):
        with pytest.raises(TypeError):
            job.spec.parameters["name"] = "value"


def test_an_event_names_its_job_only_if_it_is_the_same_object():
    job, equal = make_job(7), make_job(7)
    assert codec.event_to_map(Event(EventKind.HELD, 1.0, job), {job.id: job}) == {
        "kind": "job_held",
        "at": 1.0,
        "id": 7,
    }
    assert "job" in codec.event_to_map(Event(EventKind.HELD, 1.0, equal), {job.id: job})
