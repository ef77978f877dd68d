"""GPUs as they are seen and allowed, reservations as records, what is measured, and retries with more GPU memory."""

from collections.abc import Callable
from typing import Any

import pytest

from gflow.core.errors import Impossible, Malformed, NotFound, WrongState
from gflow.core.measuring import KEEP_SECS, verdict
from gflow.core.model import Exit, Gpu, GpuProcessId, GpuStatus, GpuUse, JobId
from gflow.core.quotas import Limits
from gflow.core.reservations import KEPT_SECS, SLOT_SECS, Reservation, Status, gpu_set, indices
from support.jobs import HOUR, Bench, gpus

MakeBench = Callable[..., Bench]
STRANGER = GpuProcessId(4242, 7)


def see(bench: Bench, count: int = 2, memory_mb: int = 1000, **status: GpuStatus) -> None:
    """A look at the devices; `g0=...` is what is seen of device 0."""
    seen = {int(name[1:]): each for name, each in status.items()}
    bench.step(bench.engine.observe_gpus, gpus(count, memory_mb), seen, bench.now)


# -- vetoes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "veto"),
    [
        (GpuStatus(fault="lost"), "lost"),
        (GpuStatus(foreign=(STRANGER,)), "unmanaged(pid=4242)"),
        (GpuStatus(foreign=(STRANGER, GpuProcessId(5, 0))), "unmanaged(pid=4242,5)"),
    ],
)
def test_a_device_out_of_use_is_not_given_out(make_bench: MakeBench, status: GpuStatus, veto: str) -> None:
    bench = make_bench(2, gpu_memory_mb=1000)
    see(bench, g0=status)
    assert bench.engine.resources.veto(0) == veto
    first, second = bench.queued(gpus=1), bench.queued(gpus=1)
    bench.starts(first)
    assert bench.job(first).gpu_ids == (1,)
    see(bench)
    assert bench.told() == [("gpu_available", 0)]
    bench.starts(second)


def test_a_job_on_a_device_that_falls_away_is_left_alone(make_bench: MakeBench) -> None:
    bench = make_bench(2, gpu_memory_mb=1000)
    job = bench.running(gpus=2)
    see(bench, g1=GpuStatus(fault="lost"))
    assert bench.states(job) == ["Running"]
    see(bench, count=1)
    bench.end(job)
    assert bench.told() == [("completed", job)]
    bench.starts(bench.queued(gpus=1))


def test_ignored_processes_are_no_veto_until_they_are_gone(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    see(bench, 1, g0=GpuStatus(foreign=(STRANGER,)))
    waiting = bench.queued(gpus=1)
    is_new, _ = bench.step(bench.engine.ignore_gpu_process, 0, STRANGER)
    assert is_new
    assert not bench.step(bench.engine.ignore_gpu_process, 0, STRANGER)[0]
    later = bench.restarted()
    see(later, 1, g0=GpuStatus(foreign=(STRANGER,)))
    later.starts(waiting)
    later.end(waiting)
    see(later, 1, g0=GpuStatus(foreign=(GpuProcessId(4242, 8),)))
    assert later.engine.resources.veto(0) == "unmanaged(pid=4242)", "the same id, another process"
    assert later.engine.resources.ignored == {}
    assert [word for word, _ in later.told()] == ["completed"]


def test_what_is_not_ignored_cannot_be_unignored(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    with pytest.raises(NotFound):
        bench.step(bench.engine.unignore_gpu_process, 0, 1)
    with pytest.raises(Impossible, match="no GPU 3"):
        bench.step(bench.engine.ignore_gpu_process, 3, STRANGER)
    bench.step(bench.engine.ignore_gpu_process, 0, STRANGER)
    bench.step(bench.engine.unignore_gpu_process, 0, STRANGER.pid)
    assert bench.engine.resources.ignored == {}


def test_where_others_are_let_in_what_is_measured_counts(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    bench.step(bench.engine.ignore_gpu_process, 0, STRANGER)
    see(bench, 1, g0=GpuStatus(used_mb=700, foreign=(STRANGER,)))
    large = bench.queued(gpus=1, shared=True, gpu_memory_mb=400)
    assert bench.schedule() == []
    bench.starts(bench.queued(gpus=1, shared=True, gpu_memory_mb=300))
    assert bench.states(large) == ["Queued"]


def test_set_gpus_narrows_and_survives_a_restart(make_bench: MakeBench) -> None:
    bench = make_bench(3)
    bench.step(bench.engine.allow_gpus, [2], bench.now)
    first, second = bench.queued(gpus=1), bench.queued(gpus=1)
    bench.starts(first)
    assert bench.job(first).gpu_ids == (2,)
    later = bench.restarted()
    assert later.schedule() == []
    later.step(later.engine.allow_gpus, None, later.now)
    assert [told.about["gpu"] for told in later.events()] == [0, 1], "nobody has these"
    later.starts(second)
    assert later.restarted().engine.resources.allowed is None


def test_set_gpus_to_none_is_none(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    bench.step(bench.engine.allow_gpus, [], bench.now)
    bench.queued(gpus=1)
    assert bench.restarted().schedule() == []


def test_set_gpus_refuses_what_there_is_not(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    with pytest.raises(Impossible, match=r"Invalid GPU indices \[9\] \(only 2 GPUs detected\)"):
        bench.step(bench.engine.allow_gpus, [0, 9], bench.now)


def test_a_large_enough_card_is_found_for_an_exclusive_job(bench: Bench) -> None:
    cards = [Gpu(0, "a", memory_mb=8000), Gpu(1, "b", memory_mb=24000), Gpu(2, "c", memory_mb=None)]
    bench.set_machine(cards)
    job = bench.running(gpus=1, gpu_memory_mb=20000)
    assert bench.job(job).gpu_ids == (1,)
    with pytest.raises(Impossible, match="only 2 of the GPUs here have as much"):
        bench.submit(gpus=3, gpu_memory_mb=20000)


# -- reservations ------------------------------------------------------------------------------------------------------


def reservation(**fields: Any) -> Reservation:
    return Reservation(
        **{"id": 1, "user": "ana", "start_at": 100.0, "end_at": 200.0, "created_at": 0.0, "gpu_count": 1, **fields}
    )


@pytest.mark.parametrize(
    ("at", "status"), [(99.9, Status.PENDING), (100, Status.ACTIVE), (199.9, Status.ACTIVE), (200, Status.COMPLETED)]
)
def test_the_clock_says_where_a_reservation_stands(at: float, status: Status) -> None:
    assert reservation().status(at) is status
    assert reservation(cancelled_at=1.0).status(at) is Status.CANCELLED


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": " "},
        {"gpu_count": 0},
        {"gpu_count": None},
        {"gpu_indices": [0]},
        {"gpu_count": None, "gpu_indices": []},
        {"lasts": 0.0},
        {"lasts": 1000.0},
        {"lasts": -SLOT_SECS},
        {"lasts": 400 * 86400.0},
        {"begins_in": -HOUR},
        {"gpu_count": 3},
        {"gpu_count": None, "gpu_indices": [7]},
    ],
)
def test_reservations_that_make_no_sense_are_refused(make_bench: MakeBench, wrong: dict[str, Any]) -> None:
    bench = make_bench(2)
    fields = {"user": "ana", "gpu_count": 1, "gpu_indices": None, "lasts": HOUR, "begins_in": HOUR, **wrong}
    start = bench.now.wall + fields["begins_in"]
    what = {"gpu_count": fields["gpu_count"], "gpu_indices": fields["gpu_indices"]}
    with pytest.raises((Malformed, Impossible)):
        bench.step(bench.engine.reserve, fields["user"], start, start + fields["lasts"], bench.now, **what)


def test_reservations_survive_a_restart_and_their_ids_are_never_given_twice(make_bench: MakeBench) -> None:
    bench = make_bench(2)
    book = (bench.engine.reserve, "ana", bench.now.wall + HOUR, bench.now.wall + 2 * HOUR, bench.now)
    first, _ = bench.step(*book, gpu_count=1, by="root")
    bench.step(bench.engine.cancel_reservation, first.id, bench.now)
    assert bench.told() == [("reservation_created", 0), ("reservation_cancelled", 0)]
    bench.sleep(KEPT_SECS + 3 * HOUR)
    start = bench.now.wall + HOUR
    second, _ = bench.step(bench.engine.reserve, "ben", start, start + HOUR, bench.now, gpu_indices=[1, 0, 1])
    assert bench.told() == [("reservation_created", 0)]
    assert (second.id, second.gpu_indices) == (2, (0, 1))
    later = bench.restarted()
    assert later.engine.book.entries == {2: second}, "what is long over is gone"
    later.step(later.engine.cancel_reservation, 2, later.now)
    assert later.told() == [("reservation_cancelled", 0)]
    with pytest.raises(WrongState, match="Cancelled already"):
        later.step(later.engine.cancel_reservation, 2, later.now)
    with pytest.raises(NotFound):
        later.step(later.engine.cancel_reservation, 1, later.now)


def test_sets_of_devices() -> None:
    assert list(indices(gpu_set([5, 0, 2]))) == [0, 2, 5]


# -- what is measured --------------------------------------------------------------------------------------------------


def use(job_id: int, pct: int, used_mb: int | None) -> GpuStatus:
    return GpuStatus(used_mb=used_mb, utilisation_pct=pct, job_mb={JobId(job_id): used_mb})


def test_use_is_sampled_and_kept_with_the_job(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    job = bench.running(gpus=1, gpu_memory_mb=800)
    for pct, used in ((50, 100), (100, 400), (0, 300)):
        see(bench, 1, g0=use(job, pct, used))
        bench.sleep(10)
    assert bench.job(job).gpu_use is None, "not at each look"
    bench.end(job)
    assert bench.told() == [("completed", job)]
    measured = bench.job(job).gpu_use
    assert measured == GpuUse(samples=3, mean_pct=50.0, peak_pct=100.0, peak_mb=400)
    assert verdict(bench.job(job), measured) == "declared 800M, peak 400M"


def test_a_restart_loses_little_of_it(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    job = bench.running(gpus=1)
    see(bench, 1, g0=use(job, 80, 100))
    bench.sleep(KEEP_SECS)
    see(bench, 1, g0=use(job, 40, 100))
    later = bench.restarted()
    see(later, 1, g0=use(job, 0, 50))
    later.end(job)
    assert later.told() == [("completed", job)]
    assert later.job(job).gpu_use == GpuUse(samples=3, mean_pct=pytest.approx(40.0), peak_pct=80.0, peak_mb=100)


def test_a_job_that_takes_more_than_it_declared_is_told_of_and_counted_so(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    greedy = bench.running(gpus=1, shared=True, gpu_memory_mb=300)
    see(bench, 1, g0=use(greedy, 10, 306))
    assert bench.told() == [], "a little is nothing"
    see(bench, 1, g0=use(greedy, 10, 600))
    assert bench.told() == [("gpu_memory_exceeded", greedy)]
    assert bench.job(greedy).detail == "uses 600M of GPU memory, declared 300M"
    waiting = bench.queued(gpus=1, shared=True, gpu_memory_mb=500)
    assert bench.schedule() == []
    see(bench, 1, g0=use(greedy, 10, 400))
    assert bench.schedule() == []
    later = bench.restarted()
    assert later.schedule() == []
    later.end(greedy)
    assert later.told() == [("completed", greedy)]
    later.starts(waiting)


def test_a_job_that_does_not_use_its_gpu_is_told_of_once(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000, idle_gpu_warn_secs=600.0)
    job = bench.running(gpus=1)
    told = []
    for pct in [0] * 12 + [90] + [0] * 12:
        see(bench, 1, g0=use(job, pct, 10))
        told.append(bench.told())
        bench.sleep(60)
    assert [place for place, each in enumerate(told) if each] == [10, 23]
    assert told[10] == [("gpu_idle", job)]


# -- out of GPU memory -------------------------------------------------------------------------------------------------


def fail(bench: Bench, job_id: int, *, oom: bool) -> int | None:
    """The job fails; the id of the attempt that follows."""
    end = Exit(1, bench.now.wall, gpu_memory_ran_out=oom)
    bench.step(bench.engine.ended, job_id, end, bench.now)
    bench.told()
    return bench.job(job_id).retried_as


def test_a_job_out_of_gpu_memory_is_tried_again_with_more(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    job = bench.running(gpus=1, shared=True, gpu_memory_mb=400, retry_on_oom=True)
    see(bench, 1, g0=use(job, 10, 500))
    second = fail(bench, job, oom=True)
    assert second is not None
    assert bench.job(second).spec.gpu_memory_mb == 625
    assert bench.job(job).detail == f"out of GPU memory; job {second} tries again with 625M"
    bench.starts(second)
    third = fail(bench, second, oom=True)
    assert third is not None
    assert bench.job(third).spec.gpu_memory_mb == 782
    bench.starts(third)
    fourth = fail(bench, third, oom=True)
    assert fourth is not None
    assert bench.job(fourth).spec.gpu_memory_mb == 978
    bench.starts(fourth)
    fifth = fail(bench, fourth, oom=True)
    assert fifth is not None
    assert bench.job(fifth).spec.gpu_memory_mb == 1000, "no more than the card has"
    bench.starts(fifth)
    assert fail(bench, fifth, oom=True) is None, "there is no larger card"


@pytest.mark.parametrize(
    ("fields", "oom", "again"),
    [
        ({"retry_on_oom": True, "gpu_memory_mb": 400}, False, False),
        ({"retry_on_oom": False, "gpu_memory_mb": 400}, True, False),
        ({"retry_on_oom": True}, True, False),
        ({"retry_on_oom": True, "gpu_memory_mb": 400}, True, True),
        ({"retry_on_oom": True, "gpu_memory_mb": 400, "max_retries": 1}, False, True),
        ({"retry_on_oom": True, "measured": 900}, True, False),
    ],
)
def test_only_that_failure_uses_these_attempts(
    make_bench: MakeBench, fields: dict[str, Any], oom: bool, again: bool
) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    measured = fields.get("measured")
    job = bench.running(gpus=1, **{name: value for name, value in fields.items() if name != "measured"})
    see(bench, 1, g0=use(job, 10, measured))
    assert (fail(bench, job, oom=oom) is not None) == again


def test_attempts_with_more_memory_leave_the_others_their_number(make_bench: MakeBench) -> None:
    bench = make_bench(1, gpu_memory_mb=1000)
    job = bench.running(gpus=1, gpu_memory_mb=400, retry_on_oom=True, max_retries=1)
    second = fail(bench, job, oom=True)
    assert second is not None
    bench.starts(second)
    third = fail(bench, second, oom=False)
    assert third is not None
    assert bench.job(third).spec.gpu_memory_mb == 500
    bench.starts(third)
    assert fail(bench, third, oom=False) is None


# -- the old faults ----------------------------------------------------------------------------------------------------


def test_a_job_whose_priority_was_lowered_while_it_waited_still_starts(make_bench: MakeBench) -> None:
    bench = make_bench()
    blocker = bench.running(group_id="g", groups={"g": 1})
    waiting = bench.queued(group_id="g", priority=20)
    assert bench.schedule() == []
    bench.update(waiting, priority=5)
    assert bench.told() == [("updated", waiting)]
    bench.starts(bench.queued(priority=10))
    bench.end(blocker)
    assert bench.told() == [("completed", blocker)]
    bench.starts(waiting)


def _narrowed(bench: Bench) -> None:
    bench.step(bench.engine.allow_gpus, [], bench.now)


def _held_to_a_quota(bench: Bench) -> None:
    bench.step(bench.engine.set_quota, "user", "ana", Limits(max_running_jobs=0))


def _reserved_for_others(bench: Bench) -> None:
    bench.step(bench.engine.reserve, "ben", bench.now.wall, bench.now.wall + HOUR, bench.now, gpu_count=2)


def _group_closed(bench: Bench) -> None:
    bench.running(group_id="g", groups={"g": 1})


@pytest.mark.parametrize(
    ("in_the_way", "taken_away"),
    [
        (_narrowed, lambda engine, now: engine.allow_gpus(None, now)),
        (_held_to_a_quota, lambda engine, now: engine.set_quota("user", "ana", Limits(max_running_jobs=1))),
        (_reserved_for_others, lambda engine, now: engine.cancel_reservation(1, now)),
        (_group_closed, lambda engine, now: engine.set_group_limit("g", 2, now)),
    ],
    ids=["set-gpus", "quota", "reservation", "set-limit"],
)
def test_each_of_these_changes_lets_a_waiting_job_start(
    make_bench: MakeBench, in_the_way: Callable[[Bench], None], taken_away: Callable[..., Any]
) -> None:
    bench = make_bench(2)
    bench.sleep(1800 - bench.now.wall % 1800)
    in_the_way(bench)
    bench.told()
    waiting = bench.queued(gpus=1, group_id="g")
    assert bench.schedule() == []
    bench.step(taken_away, bench.engine, bench.now)
    bench.told()
    bench.starts(waiting)


# -- over a restart ----------------------------------------------------------------------------------------------------

CARD = Gpu(0, "GPU-a", "Card", 24576)


def test_the_devices_there_are_are_known_after_a_restart_before_they_are_seen(bench: Bench) -> None:
    bench.step(bench.engine.observe_gpus, [CARD], {}, bench.now)
    assert bench.stored_settings["gpus_seen"] == [[0, "GPU-a", "Card", 24576]]
    holder = bench.running(gpus=1)
    assert bench.step(bench.engine.observe_gpus, [CARD], {}, bench.now).settings == {}
    later = Bench()
    stored = later.engine.restore
    stored(bench.stored_jobs.values(), [], bench.engine.next_job_id, bench.now, bench.stored_settings)
    assert later.engine.resources.gpus == {0: CARD}
    assert later.engine.resources.veto(0) == "not seen since gflowd was started"
    later.engine.ended(JobId(holder), Exit(0, later.now.wall), later.now)
    waiting = later.submit(gpus=1)
    assert later.schedule() == []
    later.step(later.engine.observe_gpus, [CARD], {}, later.now)
    assert later.schedule() == [waiting]
    later.events()


def test_devices_on_paper_are_not_remembered(make_bench: MakeBench) -> None:
    bench = make_bench(1)
    see(bench, 1)
    assert "gpus_seen" not in bench.stored_settings
