"""The job record: its fields in their order, and numbers that read back as they were."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.api.answers import encode
from gflow.core.model import (
    DependencyMode,
    EarlySignal,
    GpuUse,
    Group,
    JobId,
    Reason,
    ReasonKind,
    State,
    Stop,
    StopCause,
    StopStep,
)
from gflow.wire.jobs import duration, job_json, moment, reason_json
from gflow.wire.requests import Duration, Moment, epoch, seconds
from support.ledger import make_job
from support.strategies import groups, jobs, maybe, reasons

GFLOWS = """id script command gpus conda_env run_dir priority depends_on depends_on_ids dependency_mode
auto_cancel_on_dependency_failure task_id gpu_sharing_mode gpu_memory_limit_mb time_limit memory_limit_mb submitted_by
redone_from retried_from max_retries auto_close_tmux parameters group_id max_concurrent run_name project state gpu_ids
submitted_at started_at finished_at reason alive notifications scheduled_at""".split()
"""The fields of gflow's own record, in its order; `alive` only while the job runs, `notifications` if there are any."""

OURS = """argv script_args exit_code signal status_detail stopping early_signal keep_session session log_path
restart_count retried_as redone_as gpu_indices retry_on_oom oom_restarts gpu_use gpu_memory_verdict gpu_share_mb
after_end group key hold_after_failures cpus""".split()


def record(job, reason=None, group=None):
    return job_json(job, reason, group, job.gpu_use, session="gjob-1", log_path="/logs/1.log")


@given(jobs, maybe(reasons), maybe(groups))
def test_every_job_has_exactly_the_documented_fields_in_order(job, reason, group):
    absent = {"alive": job.state is not State.RUNNING, "notifications": not job.spec.notify_emails}
    expected = [name for name in (*GFLOWS, *OURS) if not absent.get(name)]
    assert list(record(job, reason, group)) == expected


def test_who_is_sent_mail_is_told_as_gflow_does():
    job = make_job(1, notify_emails=("a@b", "c@d"), notify_on=("job_failed",))
    assert record(job)["notifications"] == {"emails": ["a@b", "c@d"], "events": ["job_failed"]}


@given(jobs, maybe(reasons), maybe(groups))
def test_every_job_can_be_encoded(job, reason, group):
    told = json.loads(encode(record(job, reason, group)))
    assert told["id"] == job.id
    assert told["run_name"] == job.run_name
    assert told["parameters"] == dict(job.spec.parameters)


def test_bytes_that_are_no_text_come_out_as_python_sends_them():
    job = make_job(1, command=None, argv=("cat", "\udcff"))
    assert json.loads(encode(record(job)))["argv"] == ["cat", "\udcff"]


@pytest.mark.parametrize(
    ("depends_on", "mode", "single"),
    [((), None, None), ((7,), "All", 7), ((7, 8), "All", None), ((7,), "Any", None), ((7, 8), "Any", None)],
)
def test_the_old_field_for_one_dependency(depends_on, mode, single):
    job = make_job(9, depends_on=depends_on, dependency_mode=DependencyMode(mode) if mode else None)
    told = record(job)
    assert (told["depends_on"], told["depends_on_ids"], told["dependency_mode"]) == (single, list(depends_on), mode)


def test_what_gflow_has_no_field_for():
    job = make_job(1, state=State.RUNNING, early_signal=EarlySignal(10, 30.0), restart_count=2)
    stop = Stop(StopCause.TIMEOUT, StopStep.TERMINATE, 5.0)
    told = record(replace(job, stop=stop, exit_code=137))
    assert (told["stopping"], told["exit_code"], told["signal"]) == ("timeout", 137, "SIGKILL")
    assert (told["early_signal"], told["restart_count"]) == ({"signal": 10, "secs_before": 30.0}, 2)
    assert (told["session"], told["log_path"], told["alive"]) == ("gjob-1", "/logs/1.log", True)


def test_what_was_asked_of_gpus_and_what_became_of_it():
    use = GpuUse(samples=3, mean_pct=50.5, peak_pct=99.0, peak_mb=11469)
    asked = {"gpus": 2, "gpu_indices": (0, 3), "shared": True, "gpu_memory_mb": 20480, "retry_on_oom": True}
    told = record(replace(make_job(1, **asked, oom_restarts=1), gpu_use=use, gpu_share_mb=21000))
    assert (told["gpus"], told["gpu_indices"], told["gpu_sharing_mode"]) == (2, [0, 3], "Shared")
    assert (told["retry_on_oom"], told["oom_restarts"], told["gpu_share_mb"]) == (True, 1, 21000)
    assert told["gpu_use"] == {"samples": 3, "mean_pct": 50.5, "peak_pct": 99.0, "peak_mb": 11469}
    assert told["gpu_memory_verdict"] == "declared 20G, peak 11.2G"
    plain = record(make_job(1))
    assert (plain["gpu_indices"], plain["gpu_use"], plain["gpu_memory_verdict"]) == ([], None, None)


def test_the_limit_of_a_group_is_told_with_each_of_its_jobs():
    job = make_job(1, group_id="g")
    assert record(job, group=Group("g", 3))["max_concurrent"] == 3
    assert record(job, group=Group("g"))["max_concurrent"] is None
    assert record(job)["max_concurrent"] is None


# -- numbers ---------------------------------------------------------------------------------------------------------

nanos = st.integers(0, 999_999_999)


@given(st.integers(0, 366 * 86400), nanos)
def test_durations_read_back_as_they_were_sent(secs, nanos):
    sent = seconds(Duration(secs, nanos))
    assert duration(sent) == {"secs": secs, "nanos": pytest.approx(nanos, abs=10)} or nanos > 999_999_990
    assert seconds(Duration(**duration(sent))) == pytest.approx(sent, abs=1e-9)


@given(st.floats(0, 1e9, allow_nan=False))
def test_a_duration_has_less_than_a_second_of_nanoseconds(secs):
    told = duration(secs)
    assert 0 <= told["nanos"] < 1_000_000_000
    assert told["secs"] + told["nanos"] / 1e9 == pytest.approx(secs, abs=1e-9)


@pytest.mark.parametrize("secs", [math.nextafter(1.0, 0.0), math.nextafter(60.0, 0.0), 0.9999999999])
def test_almost_a_second_is_rounded_up_to_one(secs):
    assert duration(secs) == {"secs": round(secs), "nanos": 0}


@given(st.floats(0, 2**33, allow_nan=False))
def test_moments_read_back_as_they_were(at):
    told = moment(at)
    assert 0 <= told["nanos_since_epoch"] < 1_000_000_000
    assert epoch(Moment(**told)) == pytest.approx(at, abs=1e-6)


@given(st.integers(0, 2**33))
def test_whole_seconds_stay_whole(secs):
    assert moment(float(secs)) == {"secs_since_epoch": secs, "nanos_since_epoch": 0}
    assert duration(secs) == {"secs": secs, "nanos": 0}


def test_nothing_is_nothing():
    assert (duration(None), moment(None), seconds(None), epoch(None)) == (None, None, None, None)
    assert (seconds(1.5), epoch(1.5)) == (1.5, 1.5)


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (None, None),
        (Reason(ReasonKind.GPU), "WaitingForGpu"),
        (Reason(ReasonKind.HELD), "JobHeldUser"),
        (Reason(ReasonKind.DEPENDENCY_FAILED, JobId(7)), {"DependencyFailed": 7}),
        (Reason(ReasonKind.SYSTEM, text="disk full"), {"SystemError": "disk full"}),
    ],
)
def test_reasons_are_gflows(reason, told):
    assert reason_json(reason) == told
