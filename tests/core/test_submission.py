"""What is refused at submission and at update, and that a retried submission queues nothing twice."""

import math
from typing import Any

import pytest

from gflow.core.errors import Impossible, Malformed, NotFound
from gflow.core.limits import MAX_TIME_LIMIT_SECS
from gflow.core.model import EarlySignal, Gpu, JobId, State
from gflow.core.submission import FIXED, LATE_SECS, MAX_COMMAND_BYTES, check
from support.jobs import HOUR, Bench, gpus, spec

MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"command": "true", "argv": ("true",)}, "exactly one of"),
    ({"command": "true", "script_digest": "d"}, "exactly one of"),
    ({"command": "tr\0ue"}, "command contains a NUL"),
    ({"argv": ("a", "b\0")}, "argument contains a NUL"),
    ({"run_dir": "/a\0"}, "working directory contains a NUL"),
    ({"conda_env": "\0"}, "conda environment contains a NUL"),
    ({"parameters": {"a": "\0"}}, "parameter contains a NUL"),
    ({"parameters": {"a b": "1"}}, "Invalid parameter name 'a b'"),
    ({"parameters": {"é": "1"}}, "Invalid parameter name 'é'"),
    ({"run_dir": "relative"}, "'relative' is not an absolute path"),
    ({"run_dir": ""}, "not an absolute path"),
    ({"name": ""}, "Invalid name: use 1 to 128"),
    ({"name": "  "}, "Invalid name"),
    ({"name": "a\nb"}, "Invalid name"),
    ({"name": "n" * 129}, "Invalid name"),
    ({"project": "p" * 65}, "Invalid project: use 1 to 64"),
    ({"priority": -1}, "Invalid priority -1: use 0 to 255"),
    ({"priority": 256}, "Invalid priority 256"),
    ({"max_retries": -1}, "Invalid max_retries -1"),
    ({"max_retries": 1001}, "Invalid max_retries"),
    ({"time_limit_secs": 0}, "Invalid time limit"),
    ({"time_limit_secs": -1.0}, "Invalid time limit"),
    ({"time_limit_secs": math.nan}, "Invalid time limit"),
    ({"time_limit_secs": math.inf}, "Invalid time limit"),
    ({"time_limit_secs": MAX_TIME_LIMIT_SECS + 1}, "Invalid time limit"),
    ({"memory_mb": 0}, "Invalid memory request"),
    ({"memory_mb": 1 << 40}, "Invalid memory request"),
    ({"gpu_memory_mb": -5}, "Invalid GPU memory request"),
    ({"gpus": -1}, "Invalid GPU count -1"),
    ({"gpus": 2, "gpu_indices": (0, -1)}, "Invalid GPU index -1: use 0 or more"),
    ({"gpus": 2, "gpu_indices": (1,)}, "asks for 2 GPUs, but names 1$"),
    ({"gpus": 2, "gpu_indices": (1, 1)}, "asks for 2 GPUs, but names 1$"),
    ({"early_signal": EarlySignal(10, 60.0)}, "needs a time limit"),
    ({"early_signal": EarlySignal(99, 60.0), "time_limit_secs": HOUR}, "Invalid signal 99"),
    ({"early_signal": EarlySignal(10, 0.0), "time_limit_secs": HOUR}, "some seconds before"),
]

IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"command": ""}, "The command is empty"),
    ({"command": " \n\t"}, "The command is empty"),
    ({"argv": ()}, "The command is empty"),
    ({"argv": ("", "x")}, "The command is empty"),
    ({"command": "x" * (MAX_COMMAND_BYTES + 1)}, "longer than 128 KiB"),
    ({"argv": ("é" * MAX_COMMAND_BYTES,)}, "longer than 128 KiB"),
    ({"argv": ("x", *["y" * 100_000] * 21)}, "longer than 2 MiB together"),
    ({"parameters": {"a": "y" * (2 << 20)}}, "longer than 2 MiB together"),
    ({"gpus": 3}, "asks for 3 GPUs, but this machine has 2"),
    ({"gpus": 1, "shared": True}, "must say how much GPU memory"),
    ({"gpus": 1, "shared": True, "gpu_memory_mb": 8193}, "1 GPU with 8193M of memory, but the largest here has 8G$"),
    ({"gpus": 2, "gpu_memory_mb": 24576}, "2 GPUs with 24G of memory each, but the largest here has 8G$"),
    ({"gpus": 1, "gpu_indices": (2,)}, "asks for GPU 2, but gflow has only 0-1$"),
    ({"gpus": 2, "gpu_indices": (0, 1), "gpu_memory_mb": 9216}, "asks for GPU 0 with 9G of memory, but it has 8G$"),
    ({"memory_mb": 65536}, "asks for 64G of memory, but this machine has 62.5G$"),
    ({"depends_on": (5,)}, "Dependency job 5 does not exist"),
]


@pytest.fixture
def machine(make_bench: Any) -> Bench:
    bench: Bench = make_bench(2, gpu_memory_mb=8192, memory_mb=64000)
    return bench


@pytest.mark.parametrize(("fields", "complaint"), MALFORMED)
def test_malformed_submissions_are_refused(machine: Bench, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Malformed, match=complaint):
        machine.submit(**fields)


@pytest.mark.parametrize(("fields", "complaint"), IMPOSSIBLE)
def test_impossible_submissions_are_refused(machine: Bench, fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Impossible, match=complaint):
        machine.submit(**fields)


def test_a_job_without_any_work_is_refused(machine: Bench) -> None:
    with pytest.raises(Malformed, match="exactly one of"):
        machine.submit(command=None)


@pytest.mark.parametrize(("fields", "complaint"), [case for case in MALFORMED + IMPOSSIBLE if "argv" not in case[0]])
def test_no_update_gets_past_what_a_submission_does_not(machine: Bench, fields: dict[str, Any], complaint: str) -> None:
    job = machine.queued()
    with pytest.raises((Malformed, Impossible), match=complaint):
        machine.update(job, **fields)


def test_what_just_fits_is_taken(machine: Bench) -> None:
    machine.queued(command="x" * MAX_COMMAND_BYTES)
    machine.queued(argv=("prog", *("x" * 1000 for _ in range(100))))
    machine.queued(gpus=2, shared=True, gpu_memory_mb=8192, memory_mb=64000)
    machine.queued(name="ä" * 128, priority=255, max_retries=1000, time_limit_secs=float(MAX_TIME_LIMIT_SECS))
    machine.queued(early_signal=EarlySignal(10, 2 * HOUR), time_limit_secs=HOUR)


def test_gpus_that_do_not_tell_their_memory_may_have_enough(machine: Bench) -> None:
    machine.set_machine([*gpus(1, 8192), Gpu(1, "unknown", memory_mb=None)])
    machine.starts(machine.queued(gpus=1, shared=True, gpu_memory_mb=20000))
    with pytest.raises(Impossible, match=r"with 20000M of memory each, but only 1 of the GPUs here has as much$"):
        machine.submit(gpus=2, shared=True, gpu_memory_mb=20000)


def test_what_a_card_has_is_never_rounded_up(machine: Bench) -> None:
    """A card sold with 24 GB may have a little less, and "24G, but the largest has 24G" would help nobody."""
    machine.set_machine(gpus(1, 24564))
    with pytest.raises(Impossible, match=r"1 GPU with 24G of memory, but the largest here has 23\.9G$"):
        machine.submit(gpus=1, gpu_memory_mb=24576)


def test_a_machine_without_gpus(machine: Bench) -> None:
    machine.set_machine([])
    with pytest.raises(Impossible, match=r"asks for 1 GPU, but this machine has none$"):
        machine.submit(gpus=1)
    with pytest.raises(Impossible, match=r"asks for GPU 0, but gflow has none$"):
        machine.submit(gpus=1, gpu_indices=(0,))


def test_begin_times_in_the_past_are_refused(machine: Bench) -> None:
    held = machine.queued(hold=True)
    for past in (0.0, machine.now.wall - LATE_SECS - 1, math.nan, math.inf):
        with pytest.raises(Impossible, match="begin time is in the past"):
            machine.submit(begin_at=past)
        with pytest.raises(Impossible, match="begin time is in the past"):
            machine.update(held, begin_at=past)
        with pytest.raises(Impossible, match="begin time is in the past"):
            machine.release(held, past)


def test_a_request_that_took_a_moment_is_not_too_late(machine: Bench) -> None:
    machine.starts(machine.queued(begin_at=machine.now.wall - 1))


def test_one_bad_job_refuses_the_whole_batch(machine: Bench) -> None:
    with pytest.raises(Impossible, match="asks for 9 GPUs"):
        machine.submit_all([spec(), spec(gpus=9), spec()], groups={"g": 2})
    assert machine.engine.jobs == {}
    assert machine.queued() == 1


def test_a_batch_is_born_in_order(machine: Bench) -> None:
    specs = [spec(task_id=task) for task in range(3)]
    ids = machine.submit_all(specs, hold=frozenset({1}))
    assert machine.told() == [("submitted", job_id) for job_id in ids]
    assert ids == [1, 2, 3]
    assert machine.states(*ids) == ["Queued", "Hold", "Queued"]
    assert [machine.job(job_id).spec.task_id for job_id in ids] == [0, 1, 2]


def test_ids_are_never_used_again_not_even_after_a_restart(machine: Bench) -> None:
    first = machine.queued()
    machine.cancel(first)
    assert machine.told() == [("cancelled", first)]
    later = machine.restarted()
    assert later.queued() == first + 1
    machine.engine.next_job_id = type(machine.engine.next_job_id)(50)
    assert machine.restarted().queued() == 50


def test_a_retried_submission_is_the_same_job(machine: Bench) -> None:
    job = machine.queued(submit_key="k")
    assert machine.submit(submit_key="k") == job
    assert machine.told() == []
    machine.starts(job)
    machine.end(job)
    assert machine.told() == [("completed", job)]
    assert machine.submit(submit_key="k", command="other") == job
    later = machine.restarted()
    assert later.submit(submit_key="k") == job
    assert later.told() == []


def test_a_key_belongs_to_its_owner(machine: Bench) -> None:
    assert machine.queued(submit_key="k") != machine.queued(submit_key="k", owner="ben")


def test_a_retried_batch_makes_only_what_is_missing(machine: Bench) -> None:
    first = machine.queued(submit_key="a")
    ids = machine.submit_all([spec(submit_key=key) for key in ("a", "b", "b", "c")])
    assert ids == [first, first + 1, first + 1, first + 2]
    assert machine.told() == [("submitted", first + 1), ("submitted", first + 2)]


def test_a_retried_submission_is_answered_though_it_would_now_be_refused(machine: Bench) -> None:
    dead = machine.queued()
    job = machine.queued(submit_key="k", gpus=2, begin_at=machine.now.wall + 10, depends_on=(dead,))
    machine.set_machine([])
    machine.sleep(HOUR)
    assert machine.submit(submit_key="k", gpus=2, begin_at=machine.now.wall - HOUR, depends_on=(dead,)) == job
    assert machine.told() == []


def test_a_retried_submission_does_not_bring_an_old_group_limit_back(machine: Bench) -> None:
    machine.queued(submit_key="k", group_id="g", groups={"g": 1})
    machine.set_group_limit("g", 5)
    machine.submit(submit_key="k", group_id="g", groups={"g": 1})
    assert machine.engine.groups["g"].max_concurrent == 5
    assert machine.told() == [("updated", 1)]


def test_an_attempt_does_not_take_over_the_key(machine: Bench) -> None:
    job = machine.running(submit_key="k", max_retries=1)
    machine.end(job, code=1)
    assert machine.told() == [("submitted", job + 1), ("failed", job)]
    assert machine.submit(submit_key="k") == job


@pytest.mark.parametrize("field", sorted(FIXED))
def test_where_a_job_comes_from_cannot_be_changed(machine: Bench, field: str) -> None:
    job = machine.queued()
    with pytest.raises(Impossible, match=f"The {field} of job {job} was settled when it was submitted"):
        machine.update(job, **{field: "x"})


def test_an_update_is_not_held_up_by_what_it_does_not_change(machine: Bench) -> None:
    """The machine lost a GPU and the begin time has come: the priority can be changed all the same."""
    job = machine.queued(gpus=2, begin_at=machine.now.wall + 1, hold=True)
    machine.set_machine(gpus(1))
    machine.sleep(HOUR)
    machine.update(job, priority=20)
    assert machine.told() == [("updated", job)]
    with pytest.raises(Impossible, match="asks for 2 GPUs, but this machine has 1"):
        machine.update(job, gpus=2)


def test_names_are_given_and_taken_back(machine: Bench) -> None:
    job = machine.queued()
    generated = machine.job(job).run_name
    machine.update(job, name="mine")
    assert machine.job(job).run_name == "mine"
    machine.update(job, name=None)
    assert machine.job(job).run_name == generated
    assert machine.told() == [("updated", job)] * 2


def test_everything_asked_of_an_unknown_job_is_not_found(machine: Bench) -> None:
    engine, now = machine.engine, machine.now
    for ask in (machine.hold, machine.release, machine.cancel, machine.update, engine.job):
        with pytest.raises(NotFound, match="Job 7 does not exist"):
            ask(7)
    with pytest.raises(NotFound, match="Group 'g' does not exist"):
        machine.step(engine.set_group_limit, "g", 1, now)


def test_the_jobs_of_a_user_in_the_order_they_were_submitted(machine: Bench) -> None:
    mine = [machine.queued(max_retries=1), machine.queued(owner="ben"), machine.queued()]
    machine.starts(*mine)
    machine.end(mine[0], code=1)
    assert machine.told() == [("submitted", 4), ("failed", mine[0])]
    assert list(machine.engine.submitted_by("ana")) == [mine[0], mine[2]], "an attempt is nobody's submission"
    assert list(machine.engine.submitted_by("eve")) == []


def test_an_environment_is_needed_until_its_job_ends_and_a_script_as_long_as_it_is_at_hand(machine: Bench) -> None:
    job = machine.running(environment="env", command=None, script="/s", script_digest="text")
    assert machine.engine.live_digests() == ({"env"}, {"text"})
    machine.end(job)
    assert machine.told() == [("completed", job)]
    assert machine.engine.live_digests() == (set(), {"text"})
    assert machine.job(job).state is State.FINISHED
    machine.engine.retire([JobId(job)])
    assert machine.engine.live_digests() == (set(), set())


@pytest.mark.parametrize(
    "address", ["", "a", "@b", "a@", "a b@c", "a@b\nBcc: c@d", "a@b,c@d", "<a@b>", "ä@b", "a@.b", "a@b."]
)
def test_mail_goes_to_addresses_only(address: str) -> None:
    with pytest.raises(Malformed, match="Notifications: invalid e-mail address"):
        check(spec(notify_emails=(address,)))


def test_mail_is_about_known_events_to_a_few_addresses() -> None:
    check(spec(notify_emails=("a@b", "a.b+c@d-e.org"), notify_on=("job_failed", "group_completed", "*")))
    with pytest.raises(Malformed, match="unknown event 'job_exploded': use job_submitted, job_updated, "):
        check(spec(notify_on=("job_exploded",)))
    with pytest.raises(Malformed, match="at most 20 addresses, not 21"):
        check(spec(notify_emails=("a@b",) * 21))
