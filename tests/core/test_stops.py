"""Time limits and the ladder Ctrl-C, SIGTERM, SIGKILL: to the second, by a clock nobody can set."""

import pytest

from gflow.core.errors import Forbidden, WrongState
from gflow.core.model import EarlySignal, Exit, StopCause
from gflow.core.stops import signal_name
from support.jobs import HOUR, MINUTE, Bench

INT, TERM, KILL, USR1 = "interrupt", 15, 9, 10


def due_in(bench: Bench) -> float | None:
    """Seconds until the enforcer must act."""
    due = bench.engine.next_deadline_boot()
    return None if due is None else due - bench.now.boot


def test_a_job_within_its_limit_is_left_alone(bench: Bench) -> None:
    job = bench.running(time_limit_secs=MINUTE)
    assert due_in(bench) == MINUTE
    bench.sleep(59.999)
    assert bench.enforce() == []
    assert bench.job(job).stop is None


def test_a_job_without_a_limit_is_never_due(bench: Bench) -> None:
    bench.running()
    assert due_in(bench) is None
    bench.sleep(1e9)
    assert bench.enforce() == []


def test_the_ladder_of_a_time_limit(bench: Bench) -> None:
    job = bench.running(time_limit_secs=MINUTE)
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job)]
    assert bench.states(job) == ["Running"]
    assert due_in(bench) == 10
    bench.sleep(9.999)
    assert bench.enforce() == []
    bench.sleep(0.001)
    assert bench.enforce() == [("signal", job, TERM)]
    assert due_in(bench) == 5
    bench.sleep(5)
    assert bench.enforce() == [("signal", job, KILL)]
    for _ in range(3):
        assert due_in(bench) == 1
        bench.sleep(1)
        assert bench.enforce() == [("signal", job, KILL)]
    bench.end(job, code=137)
    assert bench.told() == [("timeout", job)]
    assert due_in(bench) is None


def test_the_grace_time_is_a_setting(make_bench: type[Bench]) -> None:
    bench = make_bench(grace_secs=2.5)
    job = bench.running()
    bench.cancel(job)
    assert bench.asked() == [(INT, job)]
    assert due_in(bench) == 2.5


def test_a_cancel_takes_the_same_ladder(bench: Bench) -> None:
    job = bench.running(time_limit_secs=5.0)
    bench.cancel(job)
    assert bench.asked() == [(INT, job)]
    bench.sleep(10)
    assert bench.enforce() == [("signal", job, TERM)], "the limit, passed meanwhile, adds nothing"
    bench.sleep(5)
    assert bench.enforce() == [("signal", job, KILL)]
    bench.end(job, code=137)
    assert bench.told() == [("cancelled", job)]


def test_the_first_cause_of_a_stop_decides(bench: Bench) -> None:
    job = bench.running(time_limit_secs=MINUTE)
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job)]
    bench.sleep(3)
    bench.cancel(job)
    assert bench.asked() == []
    assert due_in(bench) == 7
    bench.end(job, code=130)
    assert bench.told() == [("timeout", job)]


def test_asking_again_does_not_start_the_ladder_anew(bench: Bench) -> None:
    job = bench.running()
    bench.cancel(job)
    assert bench.asked() == [(INT, job)]
    bench.sleep(9)
    bench.cancel(job)
    assert bench.asked() == []
    assert due_in(bench) == 1


def test_a_job_being_stopped_keeps_what_it_holds_until_it_is_gone(make_bench: type[Bench]) -> None:
    bench = make_bench(1)
    job = bench.running(gpus=1)
    waiting = bench.queued(gpus=1)
    bench.cancel(job)
    assert bench.asked() == [(INT, job)]
    assert bench.schedule() == []
    bench.end(job, code=130)
    assert bench.told() == [("cancelled", job)]
    bench.starts(waiting)


@pytest.mark.parametrize("cause", [StopCause.LEFTOVERS, StopCause.LOST])
def test_what_outlives_its_main_process_is_terminated_at_once(bench: Bench, cause: StopCause) -> None:
    job = bench.running()
    bench.stop(job, cause)
    assert bench.asked() == [("signal", job, TERM)]
    bench.sleep(5)
    assert bench.enforce() == [("signal", job, KILL)]
    bench.sleep(1)
    assert bench.enforce() == [("signal", job, KILL)]


def test_leftovers_of_a_job_being_stopped_stay_on_its_ladder(bench: Bench) -> None:
    job = bench.running()
    bench.cancel(job)
    bench.left_over(job)
    assert bench.asked() == [(INT, job)]
    bench.sleep(10)
    assert bench.enforce() == [("signal", job, TERM)]
    bench.end(job, code=130)
    assert bench.told() == [("cancelled", job)]


def test_a_cancel_takes_over_a_stop_nobody_asked_for(bench: Bench) -> None:
    job = bench.running()
    bench.left_over(job)
    bench.sleep(2)
    bench.cancel(job, by="ana")
    assert bench.asked() == [("signal", job, TERM)], "the ladder is not climbed twice"
    assert due_in(bench) == 3
    bench.end(job, code=0)
    assert bench.told() == [("cancelled", job)]
    assert bench.job(job).detail == "cancelled by ana"


def test_a_job_cancelled_during_its_launch_is_stopped_and_its_limit_forgotten(bench: Bench) -> None:
    job = bench.queued(time_limit_secs=MINUTE)
    assert bench.schedule() == [job]
    assert due_in(bench) is None, "the limit counts from the first instruction"
    bench.cancel(job)
    assert bench.asked() == [("launch", job), (INT, job)]
    bench.sleep(1)
    bench.launched(job)
    assert due_in(bench) == 9
    bench.end(job, code=130)
    assert bench.told() == [("started", job), ("cancelled", job)]


def test_a_launch_that_fails_during_a_cancel_is_a_cancel(bench: Bench) -> None:
    job = bench.queued(max_retries=1)
    assert bench.schedule() == [job]
    bench.cancel(job)
    assert bench.asked() == [("launch", job), (INT, job)]
    bench.step(bench.engine.launch_failed, job, "no shell", bench.now)
    assert bench.told() == [("started", job), ("cancelled", job)]


def test_a_limit_strikes_nothing_that_has_ended_by_itself(bench: Bench) -> None:
    over, endless = bench.running(time_limit_secs=5.0), bench.running(time_limit_secs=5.0)
    bench.sleep(6)
    bench.step(bench.engine.enforce, bench.now, lambda job: job.id == over)
    assert bench.asked() == [(INT, endless)]
    bench.end(over)
    assert bench.told() == [("completed", over)]
    assert due_in(bench) == 10


def test_the_limit_counts_from_the_first_instruction(bench: Bench) -> None:
    job = bench.queued(time_limit_secs=MINUTE)
    assert bench.schedule() == [job]
    assert (bench.told(), bench.asked()) == ([("started", job)], [("launch", job)])
    bench.sleep(HOUR)
    assert bench.enforce() == []
    bench.launched(job)
    assert due_in(bench) == MINUTE


@pytest.mark.parametrize(("ran_secs", "state"), [(1.0, "Failed"), (4.8, "Failed"), (4.95, "Timeout"), (6.0, "Timeout")])
def test_what_was_over_before_its_limit_was_not_ended_by_it(bench: Bench, ran_secs: float, state: str) -> None:
    job = bench.running(time_limit_secs=5.0, max_retries=1)
    ended_at = bench.now.wall + ran_secs
    bench.sleep(10)  # nobody is there
    assert bench.enforce() == [(INT, job)]
    bench.step(bench.engine.ended, job, Exit(1, ended_at), bench.now, unseen=True)
    assert (state.lower(), job) in bench.told()
    ended = bench.job(job)
    assert (ended.state, ended.finished_at, ended.retried_as is not None) == (state, ended_at, state == "Failed")


@pytest.mark.parametrize("secs", [-HOUR, HOUR])
def test_steps_of_the_wall_clock_change_no_limit(bench: Bench, secs: float) -> None:
    job = bench.running(time_limit_secs=MINUTE)
    bench.step_wall_clock(secs)
    assert bench.enforce() == []
    assert due_in(bench) == MINUTE
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job)]


def test_limits_and_ladders_outlive_a_restart(bench: Bench) -> None:
    stopped, limited, overdue = (bench.running(time_limit_secs=limit * MINUTE) for limit in (1, 9, 2))
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, stopped)]
    bench.sleep(2 * MINUTE)
    later = bench.restarted()
    assert sorted(later.enforce()) == [(INT, overdue), ("signal", stopped, TERM)]
    later.sleep(6 * MINUTE)
    assert (INT, limited) in later.enforce()


def test_several_deadlines_at_once_are_all_kept(bench: Bench) -> None:
    jobs = [bench.running(time_limit_secs=MINUTE) for _ in range(4)]
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job) for job in jobs]


# -- the early signal


def test_the_early_signal_comes_once_before_the_limit(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, 120))
    assert due_in(bench) == HOUR - 120
    bench.sleep(HOUR - 120)
    assert bench.enforce() == [("signal", job, USR1)]
    assert due_in(bench) == 120
    bench.sleep(119)
    assert bench.enforce() == []
    bench.sleep(1)
    assert bench.enforce() == [(INT, job)]


def test_an_early_signal_longer_than_the_limit_comes_at_once(bench: Bench) -> None:
    job = bench.running(time_limit_secs=MINUTE, early_signal=EarlySignal(USR1, 120))
    assert due_in(bench) == 0
    assert bench.enforce() == [("signal", job, USR1)]
    assert due_in(bench) == MINUTE


def test_a_signal_missed_until_the_limit_is_not_sent_any_more(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, 120))
    bench.sleep(2 * HOUR)
    assert bench.enforce() == [(INT, job)]


def test_a_job_being_stopped_gets_no_early_signal(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, HOUR - 5))
    bench.cancel(job)
    assert bench.asked() == [(INT, job)]
    bench.sleep(5)
    assert bench.enforce() == []


def test_the_early_signal_is_not_sent_again_after_a_restart(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, 120))
    bench.sleep(HOUR - 100)
    assert bench.enforce() == [("signal", job, USR1)]
    later = bench.restarted()
    assert later.enforce() == []
    assert due_in(later) == 100


def test_a_raised_limit_warns_again_before_the_new_end(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, 120))
    bench.sleep(HOUR - 120)
    assert bench.enforce() == [("signal", job, USR1)]
    bench.update(job, admin=True, time_limit_secs=2 * HOUR)
    assert bench.told() == [("updated", job)]
    assert due_in(bench) == HOUR
    bench.sleep(HOUR)
    assert bench.enforce() == [("signal", job, USR1)]


def test_a_slightly_raised_limit_does_not_repeat_a_warning_that_still_holds(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR, early_signal=EarlySignal(USR1, 120))
    bench.sleep(HOUR - 120)
    assert bench.enforce() == [("signal", job, USR1)]
    bench.sleep(90)
    bench.update(job, admin=True, time_limit_secs=HOUR + 60)
    assert bench.told() == [("updated", job)]
    assert bench.enforce() == []
    assert due_in(bench) == 90


# -- limits changed while the job runs


def test_the_owner_may_lower_the_limit_of_a_running_job(bench: Bench) -> None:
    job = bench.running(time_limit_secs=HOUR)
    bench.sleep(10 * MINUTE)
    bench.update(job, time_limit_secs=20 * MINUTE)
    assert bench.told() == [("updated", job)]
    assert due_in(bench) == 10 * MINUTE
    bench.update(job, time_limit_secs=5 * MINUTE)
    assert bench.told() == [("updated", job)]
    assert bench.enforce() == [(INT, job)]


def test_the_owner_may_set_a_limit_where_there_was_none(bench: Bench) -> None:
    job = bench.running()
    bench.update(job, time_limit_secs=MINUTE)
    assert bench.told() == [("updated", job)]
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job)]


@pytest.mark.parametrize("longer", [HOUR + 1, None])
def test_only_an_administrator_may_raise_the_limit_of_a_running_job(bench: Bench, longer: float | None) -> None:
    job = bench.running(time_limit_secs=HOUR)
    with pytest.raises(Forbidden, match=f"Only an administrator may raise the time limit of running job {job}"):
        bench.update(job, time_limit_secs=longer)
    bench.update(job, admin=True, time_limit_secs=longer)
    assert bench.told() == [("updated", job)]
    bench.sleep(HOUR)
    assert bench.enforce() == []


def test_the_owner_may_raise_the_limit_of_a_waiting_job(bench: Bench) -> None:
    job = bench.queued(time_limit_secs=MINUTE, hold=True)
    bench.update(job, time_limit_secs=HOUR)
    bench.release(job)
    assert bench.told() == [("updated", job), ("released", job)]
    bench.starts(job)
    assert due_in(bench) == HOUR


def test_the_limit_of_a_job_being_stopped_cannot_be_changed(bench: Bench) -> None:
    job = bench.running(time_limit_secs=MINUTE)
    bench.sleep(MINUTE)
    assert bench.enforce() == [(INT, job)]
    with pytest.raises(WrongState, match=f"Job {job} is being stopped"):
        bench.update(job, admin=True, time_limit_secs=HOUR)


def test_the_limit_of_a_job_on_a_lost_gpu_can_be_changed(make_bench: type[Bench]) -> None:
    bench = make_bench(1)
    job = bench.running(gpus=1, time_limit_secs=HOUR)
    bench.set_machine([])
    bench.update(job, time_limit_secs=MINUTE)
    assert bench.told() == [("updated", job)]
    assert due_in(bench) == MINUTE


@pytest.mark.parametrize(("number", "name"), [(2, "SIGINT"), (15, "SIGTERM"), (9, "SIGKILL"), (50, "SIG50")])
def test_signals_have_names(number: int, name: str) -> None:
    assert signal_name(number) == name


def test_after_a_reboot_nothing_is_concluded_from_the_clock_of_the_earlier_boot(bench: Bench) -> None:
    limited, stopped = bench.running(time_limit_secs=MINUTE), bench.running()
    bench.cancel(stopped)
    assert bench.asked() == [(INT, stopped)]
    bench.now = bench.now._replace(boot=3.0)
    bench.step(bench.engine.machine_restarted, bench.now)
    assert bench.job(limited).started_boot is None
    assert due_in(bench) == 10
    bench.sleep(HOUR)
    assert bench.enforce() == [("signal", stopped, TERM)]
    bench.launched(limited)
    bench.sleep(MINUTE)
    assert (INT, limited) in bench.enforce()
