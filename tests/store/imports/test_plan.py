"""The older gflow's files read: the two samples field by field, every layout there was, and nonsense."""

import hashlib
import math
from dataclasses import replace

import pytest

from gflow.core.model import DependencyMode, Job, JobSpec, Reason, ReasonKind, State
from gflow.core.names import generated_name
from gflow.store.imports.jobs import LOST
from gflow.store.imports.values import Odd, shown, string
from support.older import (
    NOW,
    SAMPLE_JSON,
    SAMPLE_MSGPACK,
    convert,
    jobs_of,
    notes,
    old_job,
    old_state,
    one,
    packed,
    refused,
    span,
    stamp,
)

RUN_DIR = "/home/alice/project"
ALICE = JobSpec(owner="alice", run_dir=RUN_DIR)


# -- the samples -------------------------------------------------------------------------------------------------------


def at(secs: int, nanos: int = 0) -> float:
    return secs + nanos / 1e9


def named(spec: JobSpec, job_id: int, name: str, **fields) -> Job:
    fields = {"state": State.QUEUED, "submitted_at": NOW.wall, **fields}
    return Job(id=job_id, spec=replace(spec, name=name), run_name=name, **fields)


def array_job(job_id: int, task_id: int, started: int, finished: int, name: str, submitted_at: float) -> Job:
    spec = replace(
        ALICE, command="echo '$GFLOW_ARRAY_TASK_ID'", task_id=task_id, time_limit_secs=1800.0, memory_mb=2048
    )
    return named(
        spec,
        job_id,
        name,
        state=State.FINISHED,
        submitted_at=submitted_at,
        started_at=started,
        finished_at=finished,
        gpu_ids=(),
    )


def test_the_sample_of_0_4_10_field_by_field():
    plan = convert(SAMPLE_JSON.read_bytes())
    started = at(1795310176, 435249407)
    lost = Reason(ReasonKind.SYSTEM, text=LOST)
    sweep = replace(ALICE, command="python t.py --lr '{lr}'", gpus=4)
    expected = [
        named(
            replace(ALICE, command="--project ml-research bash -c 'echo prep; sleep 1'", time_limit_secs=600.0),
            1,
            "prep",
            state=State.FAILED,
            submitted_at=started,
            started_at=started,
            finished_at=started,
            gpu_ids=(),
            reason=lost,
            detail=LOST,
        ),
        named(
            replace(
                ALICE,
                command="python train.py --epochs 3",
                gpus=1,
                priority=20,
                depends_on=(1,),
                dependency_mode=DependencyMode.ALL,
                time_limit_secs=14400.0,
            ),
            2,
            "train",
            state=State.CANCELLED,
            finished_at=NOW.wall,
            reason=Reason(ReasonKind.DEPENDENCY_FAILED, 1),
            detail="dependency 1 did not finish",
        ),
        *(
            array_job(
                2 + task,
                task,
                at(1795310176, start),
                at(1795310181, end),
                f"gflow-job-{2 + task}",
                at(1795310176, start),
            )
            for task, start, end in [(1, 435266529, 533819524), (2, 435267294, 533910380), (3, 435268074, 533935372)]
        ),
        named(
            replace(ALICE, script="/home/alice/project/exp.sh", gpus=2, priority=7, time_limit_secs=7200.0),
            6,
            "gflow-job-6",
            state=State.CANCELLED,
            submitted_at=at(1795310188, 360917720),
            finished_at=at(1795310188, 360917720),
            reason=Reason(ReasonKind.CANCELLED),
            detail="cancelled",
        ),
        named(replace(sweep, parameters={"lr": "0.1"}), 7, "lr0.1"),
        named(replace(sweep, parameters={"lr": "0.2"}), 8, "lr0.2"),
        named(
            replace(ALICE, command="bash -c 'exit 3'"),
            9,
            "bad",
            state=State.FAILED,
            submitted_at=at(1795310176, 435269331),
            started_at=at(1795310176, 435269331),
            finished_at=at(1795310181, 539138789),
            gpu_ids=(),
        ),
        named(replace(ALICE, command="sleep 100", time_limit_secs=5.0), 10, "slow", state=State.HOLD),
        named(replace(ALICE, command="python h.py", gpus=1), 11, "held"),
        named(
            replace(
                ALICE,
                owner="bob",
                command="python merge.py",
                gpus=3,
                depends_on=(2, 7),
                dependency_mode=DependencyMode.ALL,
                auto_cancel=False,
            ),
            12,
            "gflow-job-12",
        ),
    ]
    for job, wanted in zip(plan.jobs, expected, strict=True):
        assert job == wanted
    assert (plan.next_job_id, plan.groups, plan.settings, plan.scripts) == (13, (), {}, {})
    assert plan.format == "gflow state version 2, JSON"
    assert plan.sha256 == hashlib.sha256(SAMPLE_JSON.read_bytes()).hexdigest()
    assert notes(plan, 1) == "was running and its tmux session is gone: Failed"
    assert "job 1 did not finish" in notes(plan, 2)


def test_the_sample_of_0_4_18_field_by_field():
    plan = convert(SAMPLE_MSGPACK.read_bytes())
    group = "2d2c9f40-14ab-419e-89c0-5161b289c743"
    sweep = replace(ALICE, command="python t.py --lr '{lr}'", gpus=4, group_id=group)
    submitted = {
        1: 797976281, 2: 815303014, 3: 832567664, 4: 832575202, 5: 832576423, 6: 851090877, 7: 867635798, 8: 867647530,
    }  # fmt: skip
    given = {number: at(1795310254, nanos) for number, nanos in submitted.items()}
    expected = [
        named(
            replace(ALICE, command="bash -c 'echo prep; sleep 1'", project="ml-research", time_limit_secs=600.0),
            1,
            "gjob-1-prep",
            state=State.FINISHED,
            submitted_at=given[1],
            started_at=at(1795310254, 880894451),
            finished_at=at(1795310258, 959608392),
            gpu_ids=(),
        ),
        named(
            replace(
                ALICE,
                command="python train.py --epochs 3",
                gpus=1,
                priority=20,
                depends_on=(1,),
                dependency_mode=DependencyMode.ALL,
                time_limit_secs=14400.0,
            ),
            2,
            "gjob-2-train",
            submitted_at=given[2],
        ),
        *(
            array_job(2 + task, task, at(1795310254, start), at(*end), f"gjob-{2 + task}", given[2 + task])
            for task, start, end in [
                (1, 880977610, (1795310258, 967916084)),
                (2, 880989527, (1795310258, 956300851)),
                (3, 880999337, (1795310260, 2316268)),
            ]
        ),
        named(
            replace(ALICE, script="/home/alice/project/exp.sh", gpus=2, priority=7, time_limit_secs=7200.0),
            6,
            "gjob-6",
            state=State.CANCELLED,
            submitted_at=given[6],
            finished_at=at(1795310276, 141347200),
            reason=Reason(ReasonKind.CANCELLED),
            detail="cancelled",
        ),
        named(replace(sweep, parameters={"lr": "0.1"}), 7, "gjob-7-lr0_1", submitted_at=given[7]),
        named(replace(sweep, parameters={"lr": "0.2"}), 8, "gjob-8-lr0_2", submitted_at=given[8]),
        named(
            replace(ALICE, command="bash -c 'exit 3'", max_retries=1),
            9,
            "gjob-9-bad",
            state=State.FAILED,
            submitted_at=at(1795310258, 967822541),
            started_at=at(1795310258, 979013475),
            finished_at=at(1795310260, 15489870),
            gpu_ids=(),
        ),
        named(
            replace(ALICE, command="sleep 100", time_limit_secs=5.0),
            10,
            "gjob-10-slow",
            state=State.TIMEOUT,
            submitted_at=at(1795310260, 1914507),
            started_at=at(1795310260, 80856157),
            finished_at=at(1795310272, 783070473),
            gpu_ids=(),
            detail="time limit of 00:00:05 reached",
        ),
        named(
            replace(ALICE, command="python s.py", gpus=1, shared=True, gpu_memory_mb=20480),
            11,
            "gjob-11-shared",
            submitted_at=at(1795310260, 26159478),
        ),
        named(
            replace(ALICE, command="python m.py", begin_at=1801468800.0),
            12,
            "gjob-12-later",
            submitted_at=at(1795310260, 42831815),
        ),
        named(
            replace(ALICE, command="true", notify_emails=("a@example.com",), notify_on=("job_failed",)),
            13,
            "gjob-13-mailme",
            state=State.FINISHED,
            submitted_at=at(1795310260, 59141668),
            started_at=at(1795310260, 80923423),
            finished_at=at(1795310262, 134939139),
            gpu_ids=(),
        ),
        named(
            replace(ALICE, command="python h.py", gpus=1),
            14,
            "gjob-14-held",
            state=State.HOLD,
            submitted_at=at(1795310260, 75617124),
        ),
        named(
            replace(
                ALICE,
                owner="bob",
                command="python merge.py",
                gpus=3,
                depends_on=(2, 7),
                dependency_mode=DependencyMode.ALL,
                auto_cancel=False,
            ),
            15,
            "gjob-15",
            submitted_at=at(1795310276, 158914264),
        ),
        named(
            replace(ALICE, command="bash -c 'exit 3'", max_retries=1, redone_from=9),
            16,
            "gjob-16",
            state=State.FAILED,
            submitted_at=at(1795310276, 480727769),
            started_at=at(1795310276, 480881558),
            finished_at=at(1795310277, 522837181),
            gpu_ids=(),
        ),
    ]
    for job, wanted in zip(plan.jobs, expected, strict=True):
        assert job == wanted
    assert [(g.id, g.max_concurrent) for g in plan.groups] == [(group, 1)]
    assert plan.settings == {
        "quota_overrides": {"users": {"alice": {"max_running_gpus": 4}}},
    }
    assert (plan.next_job_id, plan.format) == (17, "gflow state version 4, MessagePack")
    assert plan.warnings() == []


# -- every layout ------------------------------------------------------------------------------------------------------

JOBS = [
    old_job(1, state="Finished", finished_at=stamp(1.7e9 + 5.25), started_at=stamp(1.7e9), gpu_ids=[0], gpus=1),
    old_job(2, depends_on=1, depends_on_ids=[1], dependency_mode="Any", time_limit=span(90.5), submitted_at=stamp(9)),
    old_job(3, state="Cancelled", finished_at=stamp(8.0), reason={"DependencyFailed": 1}, submitted_at=stamp(7)),
]
ORDER = (
    "id script command gpus conda_env run_dir priority depends_on depends_on_ids dependency_mode "
    "auto_cancel_on_dependency_failure task_id time_limit memory_limit_mb submitted_by redone_from auto_close_tmux "
    "parameters group_id max_concurrent run_name state gpu_ids submitted_at started_at finished_at reason"
).split()
SPECIFIED = (
    "script command conda_env run_dir parameters submitted_by submitted_at task_id redone_from retried_from "
    "max_retries auto_close_tmux run_name project notifications depends_on depends_on_ids dependency_mode "
    "auto_cancel_on_dependency_failure scheduled_at"
).split()
FILLED = {"gpus": 0, "priority": 10, "depends_on_ids": [], "auto_cancel_on_dependency_failure": True, "parameters": {}}
FILLED |= {"auto_close_tmux": False}


def positional(job, order=ORDER):
    values = {**dict.fromkeys(order), **FILLED, **job}
    return [list(value.values()) if _is_time(value) else value for value in map(values.__getitem__, order)]


def _is_time(value) -> bool:
    return isinstance(value, dict) and value.keys() & {"secs", "secs_since_epoch"} != set()


def split(jobs):
    return {
        "job_specs": [{key: value for key, value in job.items() if key in SPECIFIED} for job in jobs],
        "job_runtimes": [{key: value for key, value in job.items() if key not in SPECIFIED} for job in jobs],
    }


LAYOUTS = {
    "0, a map, no version": {"jobs": {str(job["id"]): job for job in reversed(JOBS)}, "next_job_id": 9},
    "1, a map": {"version": 1, "jobs": {str(job["id"]): job for job in JOBS}, "next_job_id": 9},
    "1, a map of numbers": packed({"version": 1, "jobs": {job["id"]: job for job in JOBS}, "next_job_id": 9}),
    "2, a list": {"version": 2, "jobs": JOBS, "next_job_id": 9},
    "3, a list": packed({"version": 3, "jobs": JOBS, "next_job_id": 9, "reservations": []}),
    "4, split, JSON": {"version": 4, **split(JOBS), "next_job_id": 9},
    "4, split": packed({"version": 4, **split(JOBS), "jobs": [], "next_job_id": 9}),
    "an array of five": packed([2, [positional(job) for job in JOBS], "state.json", 9, [1, 0]]),
    "an array of five with maps": packed([2, JOBS, "/x/state.json", 9, None]),
    "a journal": {"ts": 1, "kind": "snapshot", "scheduler": {"version": 4, **split(JOBS), "next_job_id": 9}},
}


@pytest.mark.parametrize("state", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_there_ever_was_holds_the_same_jobs(state):
    plan = convert(state)
    spec = JobSpec(owner="alice", run_dir="/somewhere", command="true")
    assert plan.next_job_id == 9
    assert list(plan.jobs) == [
        Job(
            id=1,
            spec=replace(spec, name="gjob-1", gpus=1),
            run_name="gjob-1",
            state=State.FINISHED,
            submitted_at=1.7e9,
            started_at=1.7e9,
            finished_at=1.7e9 + 5.25,
            gpu_ids=(0,),
        ),
        Job(
            id=2,
            spec=replace(
                spec, name="gjob-2", depends_on=(1,), dependency_mode=DependencyMode.ANY, time_limit_secs=90.5
            ),
            run_name="gjob-2",
            state=State.QUEUED,
            submitted_at=9.0,
        ),
        Job(
            id=3,
            spec=replace(spec, name="gjob-3"),
            run_name="gjob-3",
            state=State.CANCELLED,
            submitted_at=7.0,
            finished_at=8.0,
            reason=Reason(ReasonKind.DEPENDENCY_FAILED, 1),
            detail="dependency 1 did not finish",
        ),
    ]


def test_the_first_positional_jobs_had_no_time_of_submission():
    order = [name for name in ORDER if name != "submitted_at"]
    job = old_job(1, state="Finished", started_at=stamp(5.0), finished_at=stamp(6.0))
    plan = convert(packed([2, [positional(job, order)], "state.json", 2, None]))
    assert (plan.jobs[0].submitted_at, plan.jobs[0].finished_at) == (5.0, 6.0)


def test_gpus_that_were_allowed_come_along_even_if_that_is_none():
    assert convert(packed([2, [], "s", 1, [3, 1, 3]])).settings == {"allowed_gpu_indices": [1, 3]}
    assert convert(old_state(allowed_gpu_indices=[])).settings == {"allowed_gpu_indices": []}
    assert convert(old_state(allowed_gpu_indices=None)).settings == {}


def test_an_empty_state_is_a_state():
    plan = convert({"version": 2, "jobs": {}, "next_job_id": 41})
    assert (plan.jobs, plan.next_job_id) == ((), 41)


def test_ids_go_on_above_every_job_whatever_the_file_says_is_next():
    assert convert(old_state(old_job(70), next_job_id=3)).next_job_id == 71
    assert convert(old_state(old_job(7), next_job_id=2_000_000_000)).next_job_id == 2_000_000_000


def test_a_record_with_nothing_in_it_is_a_job_without_work():
    job = jobs_of(convert({"jobs": [{}]}))[1]
    assert (job.state, job.spec.owner, job.run_name) == (State.FAILED, "unknown", generated_name(1))
    assert job.reason == Reason(ReasonKind.SYSTEM, text="It has neither a command nor a script")


def test_fields_of_later_versions_are_passed_over():
    assert one(colour="green").state is State.QUEUED


# -- what cannot be ----------------------------------------------------------------------------------------------------

NONSENSE = {
    "nothing": b"",
    "zeros": bytes(4096),
    "text": b"hello, world",
    "half a file": SAMPLE_JSON.read_bytes()[:4000],
    "half a packed file": SAMPLE_MSGPACK.read_bytes()[:4000],
    "something after the end": SAMPLE_MSGPACK.read_bytes() + b"\x01",
    "other JSON": {"name": "package", "dependencies": {}},
    "a list of four": packed([2, [], "s", 1]),
    "a number": packed(4),
    "very deep": b'{"version":' + b"[" * 100_000,
    "version is a word": {"version": "2", "jobs": []},
    "jobs is a number": {"version": 2, "jobs": 3},
    "a job is a number": {"version": 2, "jobs": [3]},
    "a job of three values": packed([2, [[1, None, "true"]], "s", 1, None]),
    "an id twice": old_state(old_job(1), old_job(1)),
    "an id of 0": old_state(old_job(0)),
    "an id that is true": {"jobs": [{"id": True}]},
    "a key that is not the id": {"jobs": {"2": old_job(1)}},
    "a key that is no number": {"jobs": {"x": old_job(1)}},
    "specs without runtimes": {"version": 4, "job_specs": [{}], "job_runtimes": []},
    "specs that are a map": {"version": 4, "job_specs": {"a": 1}, "job_runtimes": {"b": 1}},
    "a runtime of another job": {"version": 4, "job_specs": [{}], "job_runtimes": [{"id": 2}]},
    "next_job_id is negative": old_state(next_job_id=-1),
    "notifications is a word": old_state(old_job(1, notifications="all")),
    "reservations is a map": old_state(reservations={}),
    "a reservation without a start": old_state(reservations=[{"id": 1, "user": "a", "duration": span(1)}]),
    "a reservation without GPUs": old_state(
        reservations=[{"id": 1, "user": "a", "duration": span(1), "start_time": stamp(1)}]
    ),
    "a reservation in no state": old_state(
        reservations=[
            {
                "id": 1,
                "user": "a",
                "duration": span(1),
                "start_time": stamp(1),
                "gpu_spec": {"count": 1},
                "status": "Lost",
            }
        ]
    ),
    "quotas as a list": old_state(quota_overrides=[]),
    "a quota of minus one": old_state(quota_overrides={"users": {"alice": {"max_running_jobs": -1}}}),
    "usage that is no number": old_state(fair_share_usage={"alice": {"usage": math.nan}}),
}


@pytest.mark.parametrize("state", NONSENSE.values(), ids=NONSENSE)
def test_what_no_gflow_has_written_is_refused_in_one_line(state):
    refused(state)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("state", "Waiting"),
        ("state", 3),
        ("gpus", "2"),
        ("gpus", -1),
        ("gpus", 1.5),
        ("gpus", True),
        ("priority", 256),
        ("command", ["true"]),
        ("command", "a\0b"),
        ("command", "\ud800"),
        ("depends_on_ids", 3),
        ("depends_on_ids", ["1"]),
        ("dependency_mode", "Some"),
        ("gpu_sharing_mode", "Mine"),
        ("time_limit", 60),
        ("time_limit", {"secs": 1}),
        ("time_limit", {"secs": 1, "nanos": 10**9}),
        ("submitted_at", {"secs_since_epoch": 1 << 62, "nanos_since_epoch": 0}),
        ("started_at", "now"),
        ("parameters", [["a", "b"]]),
        ("parameters", {"a": 1}),
        ("group_id", "all of them"),
        ("reason", "Tired"),
        ("reason", "DependencyFailed"),
        ("reason", {"DependencyFailed": "x"}),
        ("reason", {"SystemError": None}),
        ("auto_close_tmux", 1),
    ],
)
def test_a_field_that_cannot_be_is_named(field, value):
    why = refused(old_state(old_job(1, **{field: value})))
    assert f"job 1: {field.removesuffix('s')}" in why


def test_a_later_version_is_refused_by_its_number():
    assert "newer gflow (state version 5; 0 to 4 can be imported)" in refused({"version": 5, "jobs": []})
    assert "state version 5" in refused(packed({"version": 5, "job_specs": [], "next_job_id": 1}))


def test_a_state_of_our_own_is_refused_by_name():
    assert "nothing to import" in refused(packed({"format": "gflow-state", "version": 1, "jobs": []}))


def test_messages_stay_short():
    assert len(shown("x" * 10_000)) == 60
    nested = []
    for _ in range(100_000):
        nested = [nested]
    assert "nested" in shown(nested)
    with pytest.raises(Odd, match="field is 7 instead of text"):
        string(7, "field")
