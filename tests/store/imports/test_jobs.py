"""One job of the older gflow as one of ours: what is brought into range, its work, and whether it still runs."""

import hashlib

import pytest

from gflow.core.model import Reason, ReasonKind, State
from gflow.core.submission import FAR_SECS, check
from gflow.store.imports.jobs import LOST
from support.older import (
    NOW,
    around,
    convert,
    notes,
    old_job,
    old_state,
    one,
    only,
    packed,
    span,
    stamp,
)

# -- what is brought into range ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "spec", "note"),
    [
        ({"time_limit": span(0)}, {"time_limit_secs": None}, "time limit is 0"),
        ({"time_limit": span(4e9)}, {"time_limit_secs": 366 * 86400.0}, "longer than 366 days"),
        ({"memory_limit_mb": 0}, {"memory_mb": None}, "memory_limit_mb is 0"),
        ({"memory_limit_mb": 2**64 - 1}, {"memory_mb": 1 << 34}, "memory_limit_mb"),
        ({"gpu_memory_limit_mb": 0}, {"gpu_memory_mb": None}, "gpu_memory_limit_mb is 0"),
        ({"gpu_sharing_mode": "Shared", "gpus": 1}, {"shared": False}, "without saying how much memory"),
        ({"max_retries": 5000}, {"max_retries": 1000}, "max_retries"),
        ({"project": "p" * 65}, {"project": None}, "project"),
        ({"project": " p "}, {"project": "p"}, ""),
        ({"parameters": {"a-b": "1", "c": "2"}}, {"parameters": {"c": "2"}}, "'a-b'"),
        ({"run_name": "x\x1b[2J"}, {"name": None}, "renamed"),
        ({"run_name": "n" * 129}, {"name": None}, "renamed"),
        ({"run_dir": "."}, {"run_dir": "/home/alice"}, "not absolute"),
        ({"run_dir": "~/w"}, {"run_dir": "/home/alice/w"}, "not absolute"),
        ({"run_dir": "w/../v"}, {"run_dir": "/home/alice/v"}, "not absolute"),
        ({"submitted_by": ""}, {"owner": "unknown"}, ""),
        ({"submitted_by": "a\nb"}, {"owner": "unknown"}, ""),
        ({"scheduled_at": stamp(9e9)}, {"begin_at": NOW.wall + FAR_SECS}, "ten years"),
        ({"conda_env": ""}, {"conda_env": None}, ""),
        (
            {"notifications": {"emails": ["a@b", "c d@e", "a@b"], "events": ["*", "job_lost"]}},
            {"notify_emails": ("a@b",), "notify_on": ("*",)},
            "'c d@e': left out",
        ),
        (
            {"notifications": {"emails": ["a@b"], "events": []}},
            {"notify_emails": ("a@b",), "notify_on": ("job_completed", "job_failed", "job_timeout", "job_cancelled")},
            "",
        ),
        ({"notifications": {"emails": [], "events": ["job_failed"]}}, {"notify_emails": (), "notify_on": ()}, ""),
    ],
)
def test_what_gflow_allowed_and_ours_does_not_is_brought_into_range_and_noted(fields, spec, note):
    plan = convert(old_state(old_job(1, **fields)))
    job = plan.jobs[0]
    assert {name: getattr(job.spec, name) for name in spec} == spec
    assert job.state is State.QUEUED
    assert note in notes(plan, 1)
    assert bool(note) == bool(plan.notes)
    check(job.spec)


def test_a_command_that_could_never_start_fails_and_says_why():
    job = one(command="x" * 200_000)
    assert job.state is State.FAILED
    assert "128 KiB" in job.reason.text
    assert job.finished_at == NOW.wall


@pytest.mark.parametrize(
    ("fields", "submitted_at"),
    [
        ({"state": "Finished", "started_at": stamp(70.0), "finished_at": stamp(80.0)}, 70.0),
        ({"state": "Cancelled", "finished_at": stamp(80.0)}, 80.0),
        ({"state": "Running", "started_at": stamp(70.0), "run_name": "live"}, 70.0),
        ({}, NOW.wall),
    ],
)
def test_a_missing_time_of_submission_is_not_after_what_is_known(fields, submitted_at):
    assert one(**fields).submitted_at == submitted_at


def test_ended_jobs_are_not_asked_what_they_could_run():
    job = one(state="Finished", command=None, script=None, finished_at=stamp(5))
    assert (job.state, job.finished_at) == (State.FINISHED, 5.0)


def test_a_missing_time_of_the_end_is_not_before_the_start():
    job = one(state="Failed", started_at=stamp(70.0))
    assert job.finished_at == 70.0
    assert one(state="Failed", started_at=stamp(70.0), finished_at=stamp(60.0)).finished_at == 70.0
    assert one(state="Cancelled").finished_at == NOW.wall
    assert one(state="Cancelled", submitted_at=stamp(40.0)).finished_at == 40.0


def test_a_waiting_job_has_no_traces_of_a_launch():
    job = one(started_at=stamp(5.0), finished_at=stamp(6.0), gpu_ids=[0], reason="WaitingForGpu")
    assert (job.started_at, job.finished_at, job.gpu_ids, job.reason) == (None, None, None, None)


def test_a_reason_of_the_system_is_kept_as_its_text():
    job = one(state="Failed", reason={"SystemError": "no tmux"}, finished_at=stamp(5))
    assert (job.reason, job.detail) == (Reason(ReasonKind.SYSTEM, text="no tmux"), "no tmux")


def test_groups_are_known_by_their_uuid_however_it_is_written():
    uuid = "2d2c9f40-14ab-419e-89c0-5161b289c743"
    raw = bytes.fromhex(uuid.replace("-", ""))
    jobs = [old_job(1, group_id=uuid.upper(), max_concurrent=2), old_job(2, group_id=raw, max_concurrent=2)]
    plan = convert(packed(old_state(*jobs)))
    assert [(group.id, group.max_concurrent) for group in plan.groups] == [(uuid, 2)]
    assert not plan.notes


@pytest.mark.parametrize(
    ("caps", "states", "cap"),
    [
        ((3, 1), ("Queued", "Queued"), 1),
        ((3, 1), ("Queued", "Finished"), 3),
        ((3, 1), ("Finished", "Finished"), 1),
        ((0, 0), ("Queued", "Queued"), 1),
        ((None, 4), ("Queued", "Queued"), 4),
        ((None, None), ("Queued", "Queued"), None),
    ],
)
def test_members_of_a_group_that_disagree_get_the_smallest_limit_that_still_concerns_one(caps, states, cap):
    uuid = "2d2c9f40-14ab-419e-89c0-5161b289c743"
    jobs = [
        old_job(n, group_id=uuid, max_concurrent=c, state=state)
        for n, (c, state) in enumerate(zip(caps, states, strict=True), 1)
    ]
    plan = convert(old_state(*jobs))
    assert [group.max_concurrent for group in plan.groups] == [cap]


# -- work --------------------------------------------------------------------------------------------------------------


def test_the_text_of_a_script_is_read_now_and_kept():
    asked = []

    def read(path):
        asked.append(path)
        return b"#!/bin/sh\necho hi\n"

    plan = convert(
        old_state(old_job(1, script="run.sh", command="ignored"), old_job(2, script="/a/b.sh", state="Hold")),
        around(read_script=read),
    )
    digest = hashlib.sha256(b"#!/bin/sh\necho hi\n").hexdigest()
    assert asked == ["/somewhere/run.sh", "/a/b.sh"]
    assert plan.scripts == {digest: b"#!/bin/sh\necho hi\n"}
    for job, path in zip(plan.jobs, asked, strict=True):
        assert (job.spec.script, job.spec.script_digest, job.spec.command) == (path, digest, None)
    assert not plan.notes


def test_a_job_whose_script_is_gone_fails_and_takes_along_what_waits_for_it():
    plan = convert(
        old_state(
            old_job(1, script="/gone.sh"),
            old_job(2, depends_on=1),
            old_job(3, depends_on_ids=[2], auto_cancel_on_dependency_failure=False),
        )
    )
    first, second, third = plan.jobs
    assert (first.state, first.reason.text) == (State.FAILED, "Its script '/gone.sh' is gone")
    assert (second.state, second.reason) == (State.CANCELLED, Reason(ReasonKind.DEPENDENCY_FAILED, 1))
    assert third.state is State.QUEUED
    assert notes(plan, 1) == "Its script '/gone.sh' is gone: Failed"


def test_a_script_is_not_kept_for_a_job_that_falls_with_another():
    state = old_state(old_job(1, state="Failed"), old_job(2, script="/there.sh", depends_on=1))
    plan = convert(state, around(read_script=lambda path: b"text"))
    assert plan.jobs[1].state is State.CANCELLED
    assert plan.scripts == {}


# -- running jobs ------------------------------------------------------------------------------------------------------


def running(job_id: int, **fields):
    return old_job(job_id, **{"state": "Running", "started_at": stamp(1.7e9), "gpu_ids": [], **fields})


def test_a_running_job_whose_session_lives_goes_on():
    asked = []

    def session(name, started_at):
        asked.append((name, started_at))
        return "gflow:77.9:train"

    plan = convert(
        old_state(running(1, run_name="tr.ain\x1b", gpus=2, gpu_ids=[0, 3], reason="WaitingForGpu")),
        around(session=session),
    )
    job = plan.jobs[0]
    assert asked == [("tr.ain\x1b", 1.7e9)]
    assert (job.state, job.run_id, job.started_at, job.started_boot) == (State.RUNNING, "gflow:77.9:train", 1.7e9, None)
    assert (job.gpu_ids, job.reason, job.finished_at) == ((0, 3), None, None)


def test_a_running_job_without_a_session_fails_and_is_not_repeated():
    plan = convert(old_state(running(1, max_retries=3), old_job(2, depends_on=1)))
    job = plan.jobs[0]
    assert (job.state, job.reason, job.detail, job.run_id) == (
        State.FAILED,
        Reason(ReasonKind.SYSTEM, text=LOST),
        LOST,
        None,
    )
    assert (job.started_at, job.finished_at, job.retried_as) == (1.7e9, 1.7e9, None)
    assert plan.jobs[1].state is State.CANCELLED


def test_a_script_that_runs_may_be_gone():
    job = only(running(1, run_name="live", script="/my scripts/x.sh"))[1]
    assert (job.state, job.spec.command, job.spec.script) == (State.RUNNING, "bash '/my scripts/x.sh'", None)
    check(job.spec)


def test_what_a_running_job_holds_counts_not_what_it_asked_for():
    plan = convert(old_state(running(1, run_name="live", gpus=2, gpu_ids=[1, 1])))
    assert (plan.jobs[0].spec.gpus, plan.jobs[0].gpu_ids) == (1, (1,))
    assert "runs on 1" in notes(plan, 1)
    assert only(running(1, run_name="live", gpus=2, gpu_ids=None))[1].spec.gpus == 0


def test_a_gpu_is_not_held_twice_unless_it_is_shared():
    shared = {"gpu_sharing_mode": "Shared", "gpu_memory_limit_mb": 1}
    plan = convert(
        old_state(
            running(1, run_name="live1", gpus=2, gpu_ids=[0, 1]),
            running(2, run_name="live2", gpus=2, gpu_ids=[1, 2]),
            running(3, run_name="live3", gpus=1, gpu_ids=[3], **shared),
            running(4, run_name="live4", gpus=1, gpu_ids=[3], **shared),
        )
    )
    assert [job.gpu_ids for job in plan.jobs] == [(0, 1), (2,), (3,), (3,)]
    assert [job.state for job in plan.jobs] == [State.RUNNING] * 4
    assert "GPU 1, which another job has" in notes(plan, 2)
    assert notes(plan, 4) == ""
