"""Retries: a failed run is repeated within its budget, and who waited for it waits for the next attempt."""

import pytest

from gflow.core.errors import Impossible
from gflow.core.model import DependencyMode, Reason, ReasonKind, StopCause
from support.jobs import HOUR, Bench, spec


def retried(bench: Bench, job: int, attempt: int) -> None:
    """`job` has failed and `attempt` takes its place."""
    assert bench.told() == [("submitted", attempt), ("failed", job)]
    assert bench.states(job, attempt) == ["Failed", "Queued"]
    assert (bench.job(job).retried_as, bench.job(attempt).spec.retried_from) == (attempt, job)


def test_a_failed_job_is_tried_again(bench: Bench) -> None:
    job = bench.running(max_retries=1, name="n", priority=7, time_limit_secs=HOUR, environment="e", memory_mb=9)
    bench.end(job, code=3)
    retried(bench, job, job + 1)
    assert bench.job(job).exit_code == 3
    first, second = bench.job(job), bench.job(job + 1)
    assert second.run_name == "n"
    assert second.spec == first.with_spec(restart_count=1, retried_from=job).spec
    bench.starts(job + 1)
    bench.end(job + 1)
    assert bench.told() == [("completed", job + 1)]


def test_an_attempt_keeps_a_generated_name(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    bench.end(job, code=1)
    retried(bench, job, job + 1)
    assert bench.job(job + 1).run_name == bench.job(job).run_name


def test_the_budget_counts_the_whole_line_of_attempts(bench: Bench) -> None:
    job = bench.queued(max_retries=2)
    for restarts in range(2):
        bench.starts(job)
        assert bench.job(job).spec.restart_count == restarts
        bench.end(job, code=1)
        retried(bench, job, job + 1)
        job += 1
    bench.starts(job)
    assert bench.job(job).spec.restart_count == 2
    bench.end(job, code=1)
    assert bench.told() == [("failed", job)]
    assert bench.job(job).retried_as is None


def test_without_retries_a_failure_is_final(bench: Bench) -> None:
    job = bench.running()
    bench.end(job, code=1)
    assert bench.told() == [("failed", job)]


def test_success_is_not_repeated(bench: Bench) -> None:
    job = bench.running(max_retries=3)
    bench.end(job)
    assert bench.told() == [("completed", job)]


@pytest.mark.parametrize(
    ("cause", "event"),
    [
        (StopCause.CANCEL, "cancelled"),
        (StopCause.TIMEOUT, "timeout"),
        (StopCause.FAIL, "failed"),
        (StopCause.FINISH, "completed"),
    ],
)
def test_a_job_that_was_asked_to_stop_is_not_repeated(bench: Bench, cause: StopCause, event: str) -> None:
    job = bench.running(max_retries=3)
    bench.stop(job, cause)
    assert bench.asked() == [("interrupt", job)]
    bench.end(job, code=130)
    assert bench.told() == [(event, job)]
    assert bench.job(job).retried_as is None


def test_a_failed_launch_is_tried_again(bench: Bench) -> None:
    job = bench.queued(max_retries=1)
    assert bench.schedule() == [job]
    assert (bench.told(), bench.asked()) == ([("started", job)], [("launch", job)])
    bench.step(bench.engine.launch_failed, job, "no such directory", bench.now)
    retried(bench, job, job + 1)
    assert bench.job(job).reason == Reason(ReasonKind.SYSTEM, text="no such directory")


def test_a_job_lost_with_its_terminal_is_tried_again(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    bench.stop(job, StopCause.LOST, text="the terminal died")
    assert bench.asked() == [("signal", job, 15)]
    bench.end(job, code=None, text="the terminal died")
    retried(bench, job, job + 1)


def test_processes_left_behind_by_a_failed_job_do_not_cost_it_its_retry(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    bench.left_over(job)
    assert bench.asked() == [("signal", job, 15)]
    bench.end(job, code=1)
    retried(bench, job, job + 1)


def test_a_cancel_during_the_removal_of_leftovers_rules_a_retry_out(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    bench.left_over(job)
    bench.cancel(job, by="ana")
    assert bench.asked() == [("signal", job, 15)]
    bench.end(job, code=1)
    assert bench.told() == [("cancelled", job)]
    assert bench.job(job).detail == "cancelled by ana"


def test_dependents_follow_the_new_attempt(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    after, held = bench.queued(depends_on=(job,)), bench.queued(depends_on=(job,), hold=True)
    bench.end(job, code=1)
    attempt = held + 1
    retried(bench, job, attempt)
    assert bench.job(after).spec.depends_on == bench.job(held).spec.depends_on == (attempt,)
    bench.starts(attempt)
    bench.end(attempt)
    assert bench.told() == [("completed", attempt)]
    bench.starts(after)


def test_dependents_fall_with_the_last_attempt(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    after, held = bench.queued(depends_on=(job,)), bench.queued(depends_on=(job,), hold=True)
    bench.end(job, code=1)
    attempt = held + 1
    retried(bench, job, attempt)
    bench.starts(attempt)
    bench.end(attempt, code=1)
    assert bench.told() == [("failed", attempt), ("cancelled", after), ("cancelled", held)]
    assert bench.job(after).reason == Reason(ReasonKind.DEPENDENCY_FAILED, attempt)


def test_a_job_that_needs_any_follows_too(bench: Bench) -> None:
    job, other = bench.running(max_retries=1), bench.running()
    after = bench.queued(depends_on=(job, other), dependency_mode=DependencyMode.ANY)
    bench.end(job, code=1)
    retried(bench, job, after + 1)
    bench.end(other, code=1)
    assert bench.told() == [("failed", other)]
    bench.starts(after + 1)
    bench.end(after + 1)
    assert bench.told() == [("completed", after + 1)]
    bench.starts(after)


def test_a_dependency_on_an_old_attempt_means_the_latest_one(bench: Bench) -> None:
    job = bench.running(max_retries=2)
    for attempt in (job + 1, job + 2):
        bench.end(attempt - 1, code=1)
        retried(bench, attempt - 1, attempt)
        bench.starts(attempt)
    after = bench.queued(depends_on=(job, job + 1))
    changed = bench.queued(hold=True)
    bench.update(changed, depends_on=(job,))
    assert bench.told() == [("updated", changed)]
    assert bench.job(after).spec.depends_on == bench.job(changed).spec.depends_on == (job + 2,)
    with pytest.raises(Impossible, match="Dependency job 99 does not exist"):
        bench.submit(depends_on=(job, 99))


def test_an_attempt_does_not_wait_again_for_what_its_job_waited_for(bench: Bench) -> None:
    first = bench.ended()
    job = bench.queued(depends_on=(first,), begin_at=bench.now.wall + 5, max_retries=1)
    bench.sleep(5)
    bench.starts(job)
    bench.end(job, code=1)
    retried(bench, job, job + 1)
    attempt = bench.job(job + 1).spec
    assert (attempt.depends_on, attempt.begin_at) == ((), None)
    bench.starts(job + 1)


def test_an_attempt_stays_in_its_group(bench: Bench) -> None:
    tasks = bench.submit_all([spec(group_id="g", max_retries=1, task_id=task) for task in range(2)], groups={"g": 1})
    assert len(bench.told()) == 2
    bench.starts(tasks[0])
    bench.end(tasks[0], code=1)
    retried(bench, tasks[0], attempt := tasks[1] + 1)
    assert bench.job(attempt).spec.task_id == 0
    bench.starts(tasks[1])
    assert bench.reason(attempt) == Reason(ReasonKind.RESOURCES)


def test_a_line_of_attempts_outlives_a_restart(bench: Bench) -> None:
    job = bench.running(max_retries=1)
    after = bench.queued(depends_on=(job,))
    bench.end(job, code=1)
    retried(bench, job, after + 1)
    later = bench.restarted()
    later.starts(after + 1)
    later.end(after + 1, code=1)
    assert later.told() == [("failed", after + 1), ("cancelled", after)]
