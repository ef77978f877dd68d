"""How jobs end: state, exit code, signal, reason and a sentence for people; and what is refused after the end."""

from collections.abc import Callable

import pytest

from gflow.core.errors import WrongState
from gflow.core.model import Exit, Reason, ReasonKind, State, StopCause
from support.jobs import Bench


@pytest.mark.parametrize(
    ("code", "state", "signal"),
    [
        (0, State.FINISHED, None),
        (1, State.FAILED, None),
        (3, State.FAILED, None),
        (128, State.FAILED, None),
        (130, State.FAILED, 2),
        (137, State.FAILED, 9),
        (139, State.FAILED, 11),
        (192, State.FAILED, 64),
        (193, State.FAILED, None),
        (255, State.FAILED, None),
    ],
)
def test_exit_codes(bench: Bench, code: int, state: State, signal: int | None) -> None:
    job = bench.running()
    bench.sleep(5)
    bench.end(job, code)
    assert bench.told() == [("failed" if code else "completed", job)]
    ended = bench.job(job)
    assert (ended.state, ended.exit_code, ended.signal) == (state, code, signal)
    assert (ended.reason, ended.detail) == (None, None)
    assert (ended.finished_at, ended.started_at) == (bench.now.wall, bench.now.wall - 5)


def test_an_ending_nothing_recorded_has_a_reason(bench: Bench) -> None:
    job = bench.running()
    bench.end(job, code=None, text="the tmux server died")
    assert bench.told() == [("failed", job)]
    ended = bench.job(job)
    assert (ended.state, ended.exit_code, ended.signal) == (State.FAILED, None, None)
    assert ended.reason == Reason(ReasonKind.SYSTEM, text="the tmux server died")
    assert ended.detail == "the tmux server died"


@pytest.mark.parametrize(
    ("cause", "event", "reason", "detail"),
    [
        (StopCause.CANCEL, "cancelled", Reason(ReasonKind.CANCELLED), "cancelled by ben"),
        (StopCause.TIMEOUT, "timeout", None, "time limit of 00:01:00 reached"),
        (StopCause.FINISH, "completed", None, "ended as Finished by ben"),
        (StopCause.FAIL, "failed", None, "ended as Failed by ben"),
    ],
)
def test_a_stop_decides_the_ending_and_the_exit_code_is_kept(
    bench: Bench, cause: StopCause, event: str, reason: Reason | None, detail: str
) -> None:
    job = bench.running(time_limit_secs=60.0)
    bench.stop(job, cause, by="ben")
    assert bench.asked() == [("interrupt", job)]
    bench.end(job, code=130)
    assert bench.told() == [(event, job)]
    ended = bench.job(job)
    assert (ended.exit_code, ended.signal, ended.reason, ended.detail) == (130, 2, reason, detail)
    assert ended.stop is None


def test_a_cancel_by_nobody_in_particular(bench: Bench) -> None:
    job = bench.running()
    bench.cancel(job)
    assert bench.asked() == [("interrupt", job)]
    bench.end(job, code=0)
    assert bench.told() == [("cancelled", job)]
    assert bench.job(job).detail == "cancelled"


def test_a_text_given_with_the_stop_is_what_people_read(bench: Bench) -> None:
    job = bench.running()
    bench.stop(job, StopCause.CANCEL, by="ana", text="wrong data")
    assert bench.asked() == [("interrupt", job)]
    bench.end(job, code=130)
    assert bench.told() == [("cancelled", job)]
    assert bench.job(job).detail == "cancelled by ana: wrong data"


@pytest.mark.parametrize(("code", "event"), [(0, "completed"), (4, "failed")])
def test_leftovers_do_not_change_how_the_job_ended(bench: Bench, code: int, event: str) -> None:
    job = bench.running()
    bench.left_over(job)
    assert bench.asked() == [("signal", job, 15)]
    assert bench.states(job) == ["Running"]
    bench.end(job, code)
    assert bench.told() == [(event, job)]
    assert bench.job(job).exit_code == code


def test_a_job_never_ends_before_it_started(bench: Bench) -> None:
    job = bench.running()
    bench.step(bench.engine.ended, job, Exit(0, bench.now.wall - 100), bench.now)
    assert bench.told() == [("completed", job)]
    assert bench.job(job).finished_at == bench.job(job).started_at


def test_a_job_that_ended_while_nobody_looked_ended_when_it_did(bench: Bench) -> None:
    job = bench.running()
    bench.sleep(500)
    bench.step(bench.engine.ended, job, Exit(0, bench.now.wall - 100), bench.now)
    [event] = bench.events()
    assert event.at == bench.now.wall
    assert event.job.finished_at == bench.now.wall - 100


def test_the_event_tells_of_the_state_it_led_to(bench: Bench) -> None:
    job = bench.running(time_limit_secs=60.0)
    bench.sleep(60)
    assert bench.enforce() == [("interrupt", job)]
    bench.end(job, code=130)
    [event] = bench.events()
    assert (event.job.state, event.job.exit_code, event.job.finished_at) == (State.TIMEOUT, 130, bench.now.wall)


def test_the_start_counts_from_the_first_instruction(bench: Bench) -> None:
    job = bench.queued()
    assert bench.schedule() == [job]
    assert (bench.told(), bench.asked()) == ([("started", job)], [("launch", job)])
    assert (bench.job(job).started_at, bench.job(job).started_boot) == (bench.now.wall, None)
    bench.sleep(3)
    bench.launched(job)
    assert (bench.job(job).started_at, bench.job(job).started_boot) == bench.now


def test_news_of_a_launch_after_the_end_changes_nothing(bench: Bench) -> None:
    job = bench.ended()
    ended = bench.job(job)
    bench.launched(job)
    assert bench.job(job) is ended


def test_a_launch_that_never_happened_is_ordered_again_under_another_name(bench: Bench) -> None:
    job = bench.queued()
    assert bench.schedule() == [job]
    first = bench.job(job).run_id
    bench.step(bench.engine.relaunch, job, "again")
    assert (bench.told(), bench.asked()) == ([("started", job)], [("launch", job), ("launch", job)])
    assert (first, bench.job(job).run_id) == ("run-1", "again")


def reports(bench: Bench) -> list[Callable[[int], object]]:
    engine, now = bench.engine, bench.now
    return [
        lambda job: engine.ended(job, Exit(1, now.wall), now),
        lambda job: engine.launch_failed(job, "why", now),
        lambda job: engine.left_over(job, now),
        lambda job: engine.relaunch(job, "again"),
    ]


def test_reports_about_jobs_that_do_not_run_are_refused(bench: Bench) -> None:
    ended, waiting = bench.ended(max_retries=3), bench.queued(max_retries=3)
    for report in reports(bench):
        for job, state in ((ended, "Finished"), (waiting, "Queued")):
            with pytest.raises(WrongState, match=f"Job {job} is {state}, not Running"):
                bench.step(report, job)


@pytest.mark.parametrize("cause", [StopCause.FINISH, StopCause.FAIL, StopCause.TIMEOUT])
def test_only_a_running_job_can_be_declared_ended(bench: Bench, cause: StopCause) -> None:
    for job, state in ((bench.queued(), "Queued"), (bench.queued(hold=True), "Hold")):
        with pytest.raises(WrongState, match=f"Job {job} is {state}, not Running"):
            bench.stop(job, cause)


def test_an_ended_job_cannot_be_stopped(bench: Bench) -> None:
    job = bench.ended()
    with pytest.raises(WrongState, match=f"Job {job} has ended already: Finished"):
        bench.cancel(job)
    with pytest.raises(WrongState, match=f"Job {job} is Finished, not Running"):
        bench.stop(job, StopCause.FAIL)


def test_an_ended_job_that_goes_on_says_as_which(bench: Bench) -> None:
    job = bench.running(max_retries=2)
    for last in (job + 1, job + 2):
        bench.end(last - 1, code=1)
        assert bench.told() == [("submitted", last), ("failed", last - 1)]
        bench.starts(last)
        with pytest.raises(WrongState, match=f"^Job {job} has ended already: Failed; it goes on as job {last}$"):
            bench.cancel(job)
    bench.end(job + 2)
    assert bench.told() == [("completed", job + 2)]
    with pytest.raises(WrongState, match=f"^Job {job} has ended already: Failed$"):
        bench.cancel(job)
