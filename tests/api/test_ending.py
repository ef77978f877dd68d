"""Cancelling many at once, saying why, and signals that end nothing."""

from support.desk import eventually


async def states(house, *job_ids):
    return [house.engine.job(job_id).state.value for job_id in job_ids]


async def test_a_list_is_cancelled_as_far_as_it_can_be(house):
    running, waiting = await house.start(gpus=4), await house.submit(hold=True)
    done = await house.start()
    await house.end(done)
    answer = await house.ask("POST", "/jobs/cancel", {"ids": [99, waiting, done, running, waiting]})
    assert answer["jobs"] == [{"id": running, "state": "Running"}, {"id": waiting, "state": "Hold"}]
    assert [(job["id"], job["code"]) for job in answer["failed"]] == [(done, "wrong_state"), (99, "not_found")]
    assert answer["failed"][1]["error"] == "Job 99 does not exist"
    for job_id in (running, waiting):
        assert (await house.get(f"/jobs/{job_id}/wait"))["state"] == "Cancelled"


async def test_a_job_that_is_being_tried_again_says_as_which(house):
    failed = await house.start(max_retries=1)
    await house.end(failed, 1)
    says = f"Job {failed} has ended already: Failed; it goes on as job {failed + 1}"
    for how in ("cancel", "cancel?dry_run=1"):
        assert await house.refused("POST", f"/jobs/{failed}/{how}", status=409, code="wrong_state") == says
    answer = await house.ask("POST", "/jobs/cancel", {"ids": [failed]})
    assert [job["error"] for job in answer["failed"]] == [says]


async def test_so_does_one_that_has_left(house):
    failed = await house.start(max_retries=1)
    await house.end(failed, 1)
    await house.retire(failed)
    says = await house.refused("POST", f"/jobs/{failed}/cancel", status=409, code="wrong_state")
    assert says == f"Job {failed} is Failed and cannot be changed any more; it goes on as job {failed + 1}"
    answer = await house.ask("POST", "/jobs/cancel", {"ids": [failed]})
    assert [job["error"].partition("; ")[2] for job in answer["failed"]] == [f"it goes on as job {failed + 1}"]


async def test_none_of_a_list_starts_because_another_makes_room(house):
    first = await house.start(gpus=4)
    others = [await house.submit(gpus=4) for _ in range(3)]
    await house.ask("POST", "/jobs/cancel", {"ids": [first, *others]})
    await house.get(f"/jobs/{first}/wait")
    assert [call for call in house.launcher.calls if call[0] == "launch"] == [("launch", first)]
    assert await states(house, first, *others) == ["Cancelled"] * 4


async def test_what_depends_on_another_of_the_list_is_cancelled_with_it(house):
    first = await house.submit(hold=True)
    second = await house.submit(depends_on=first)
    third = await house.submit(depends_on=second)
    body = {"ids": [first, second], "dry_run": True}
    foreseen = await house.ask("POST", "/jobs/cancel", body)
    assert foreseen["dependents"] == [{"id": third, "state": "Queued", "blocked_by": second}]
    assert await states(house, first, second, third) == ["Hold", "Queued", "Queued"], "nothing was done"
    answer = await house.ask("POST", "/jobs/cancel", body | {"dry_run": False})
    assert answer == foreseen
    assert answer["failed"] == []
    assert await states(house, first, second, third) == ["Cancelled"] * 3


async def test_dependents_that_fall_only_with_all_of_the_list_are_foreseen(house):
    one, two = [await house.submit(hold=True) for _ in range(2)]
    either = await house.submit(depends_on_ids=[one, two], dependency_mode="Any")
    for ids, fallen in (([one], []), ([one, two], [either])):
        answer = await house.ask("POST", "/jobs/cancel", {"ids": ids, "dry_run": True})
        assert [job["id"] for job in answer["dependents"]] == fallen


async def test_a_reason_is_kept_and_shown(house):
    waiting, running = await house.submit(hold=True), await house.start()
    house.launcher.manners[running] = {}
    me = house.engine.job(running).spec.owner
    await house.ask("POST", "/jobs/cancel", {"ids": [waiting, running], "reason": "wrong data"})
    assert (await house.get(f"/jobs/{waiting}"))["status_detail"] == f"cancelled by {me}: wrong data"
    (why,) = (await house.get(f"/jobs/{running}/why"))["reasons"]
    assert why["text"] == "It is being stopped: it was cancelled (wrong data)."
    house.launcher.finish(running, 130)
    ended = await house.get(f"/jobs/{running}/wait")
    assert (ended["reason"], ended["status_detail"]) == ("CancelledByUser", f"cancelled by {me}: wrong data")
    single = await house.submit(hold=True)
    await house.ask("POST", f"/jobs/{single}/cancel?reason=too%20late")
    assert (await house.get(f"/jobs/{single}"))["status_detail"] == f"cancelled by {me}: too late"


async def test_what_cannot_be_understood_cancels_nothing(house):
    job_id = await house.submit(hold=True)
    for body in (
        {},
        {"ids": "1"},
        {"ids": [0]},
        {"ids": [1], "reason": ""},
        {"ids": [1], "reason": "a\nb"},
        {"ids": [1], "reason": "x" * 501},
        {"ids": [1], "why": "x"},
    ):
        await house.refused("POST", "/jobs/cancel", body, status=400, code="malformed")
    assert await states(house, job_id) == ["Hold"]


async def test_too_many_at_once(house):
    await house.refused("POST", "/jobs/cancel", {"ids": list(range(1, 10_002))}, status=413, code="too_large")


async def test_only_one_s_own_jobs(house):
    await house.come_as(20001)
    theirs = await house.submit(hold=True)
    await house.come_as(20002)
    mine = await house.submit(hold=True)
    answer = await house.ask("POST", "/jobs/cancel", {"ids": [theirs, mine]})
    assert [(job["id"], job["code"]) for job in answer["failed"]] == [(theirs, "forbidden")]
    assert await states(house, theirs, mine) == ["Hold", "Cancelled"]
    await house.refused("POST", f"/jobs/{theirs}/signal", {"signal": 10}, status=403, code="forbidden")


async def test_a_signal_reaches_a_running_job_and_cancels_nothing(house):
    job_id = await house.start()
    house.launcher.manners[job_id] = {}
    answer = await house.ask("POST", f"/jobs/{job_id}/signal", {"signal": 10})
    assert answer == {"id": job_id, "signal": "SIGUSR1", "processes": 1}
    assert house.launcher.calls[-1] == ("signal", job_id, 10)
    assert (await house.get(f"/jobs/{job_id}"))["stopping"] is None


async def test_signals_that_cannot_be_sent(house):
    waiting = await house.submit(hold=True)
    sentence = await house.refused("POST", f"/jobs/{waiting}/signal", {"signal": 10}, status=409, code="wrong_state")
    assert sentence == f"Job {waiting} is Hold, not Running"
    await house.refused("POST", "/jobs/99/signal", {"signal": 10}, status=404, code="not_found")
    for body in ({"signal": 0}, {"signal": 65}, {"signal": "USR1"}, {}):
        await house.refused("POST", f"/jobs/{waiting}/signal", body, status=400, code="malformed")


async def test_a_signal_to_a_job_that_is_being_started(house):
    house.launcher.hold_launches()
    job_id = await house.submit()
    await eventually(lambda: house.launcher.calls, "the launch")
    sentence = await house.refused("POST", f"/jobs/{job_id}/signal", {"signal": 10}, status=409, code="wrong_state")
    assert "is being started" in sentence
    house.launcher.let_launch()
