"""Reservations over HTTP: gflow's routes, who may use them, and that nothing is promised twice or lost."""

import errno
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from gflow.core.model import Now
from support.desk import eventually
from support.faulty_disk import FaultyDisk
from support.house import House

ANA, BEN = 20001, 20002
SLOT, HOUR, DAY = 1800, 3600, 86400
BEGUN = time.time()
MOMENT = {"secs_since_epoch", "nanos_since_epoch"}


def slot(ahead_secs=DAY):
    """A half hour about so far ahead, in UTC and in every zone that is whole or half hours from it."""
    return int(BEGUN + ahead_secs) // SLOT * SLOT + SLOT


def sent(user="alice", start_at=None, secs=2 * HOUR, **fields):
    """What a client of gflow sends."""
    start_time = {"secs_since_epoch": start_at or slot(), "nanos_since_epoch": 0}
    spec = {} if fields.keys() & {"gpu_count", "gpu_indices"} else {"gpu_count": 1}
    return {"user": user, "start_time": start_time, "duration_secs": secs} | spec | fields


async def reserve(house, *args, **fields):
    """Create a reservation; its id."""
    return (await house.ask("POST", "/reservations", sent(*args, **fields)))["reservation_id"]


async def cancel(house, reservation_id):
    answer = await house.client.delete(f"/reservations/{reservation_id}")
    assert answer.status_code == 200, answer.text
    return answer.content


async def begun(house, user, **fields):
    """A reservation that was made in the past and is in force now; its id."""
    now = house.runtime.clock()
    start_at = slot(-DAY)
    made, outcome = house.engine.reserve(user, start_at, start_at + 2 * DAY, Now(start_at - 60, now.boot), **fields)
    await house.runtime.on_disk(house.runtime.commit(outcome))
    return made.id


async def ids(house, query=""):
    return [one["id"] for one in await house.get(f"/reservations{query}")]


# -- clients of gflow ------------------------------------------------------------------------------------------------


async def test_what_gflows_client_sends_is_answered_as_it_knows(house):
    first, second = slot(DAY), slot(2 * DAY)
    assert await house.ask("POST", "/reservations", sent("alice", first)) == {"reservation_id": 1}
    by_index = sent("bob", second, 1800, gpu_indices=[0, 2])
    assert await house.ask("POST", "/reservations", by_index) == {"reservation_id": 2}
    told = await house.get("/reservations")
    assert [list(one)[:8] for one in told] == [
        ["id", "user", "gpu_spec", "start_time", "duration", "status", "created_at", "cancelled_at"]
    ] * 2
    assert [one["gpu_spec"] for one in told] == [{"count": 1}, {"indices": [0, 2]}]
    assert told[0]["start_time"] == {"secs_since_epoch": first, "nanos_since_epoch": 0}
    assert told[1]["duration"] == {"secs": 1800, "nanos": 0}
    assert told[0]["created_at"].keys() == MOMENT
    assert await house.get("/reservations/2") == told[1]
    assert await cancel(house, 1) == b""
    assert (await house.get("/reservations/1"))["cancelled_at"].keys() == MOMENT


async def test_the_list_is_by_start(house):
    for ahead in (3, 1, 2):
        await reserve(house, "alice", slot(ahead * DAY))
    assert await ids(house) == [2, 3, 1]


async def test_filters(house):
    await begun(house, "alice", gpu_count=1)
    await reserve(house, "bob")
    await reserve(house, "alice")
    await reserve(house, "carol")
    await cancel(house, 4)
    chosen = {
        "": [1, 2, 3, 4],
        "?user=alice": [1, 3],
        "?user=alice,carol": [1, 3, 4],
        "?user=all": [1, 2, 3, 4],
        "?user=nobody-such": [],
        "?status=Pending": [2, 3],
        "?status=pending": [2, 3],
        "?status=active,CANCELLED": [1, 4],
        "?status=completed": [],
        "?active_only=true": [1],
        "?active_only=false": [1, 2, 3, 4],
        "?user=bob&active_only=true": [],
        "?user=alice&status=pending": [3],
    }
    assert {query: await ids(house, query) for query in chosen} == chosen


async def test_a_reservation_goes_from_pending_to_active_to_completed(house):
    await reserve(house)
    start_at = (await house.get("/reservations/1"))["start_time"]["secs_since_epoch"]
    seen = []
    for wall in (start_at - 1, start_at, start_at + 2 * HOUR - 1, start_at + 2 * HOUR):
        house.runtime.clock = lambda wall=wall: Now(wall, 5.0)
        seen.append((await house.get("/reservations/1"))["status"])
    assert seen == ["Pending", "Active", "Active", "Completed"]
    assert "Completed already" in await house.refused("DELETE", "/reservations/1", status=409, code="wrong_state")


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gpu_count": 1, "gpu_indices": [0]}, "give gpu_count or gpu_indices"),
        ({"gpu_count": None}, "give gpu_count or gpu_indices"),
        ({"gpu_count": 0}, "at least one GPU"),
        ({"gpu_count": -3}, "at least one GPU"),
        ({"gpu_indices": []}, "at least one GPU"),
        ({"gpu_indices": [-1]}, "Invalid request"),
        ({"gpu_indices": [10**12]}, "Invalid request"),
        ({"user": "  "}, "user"),
        ({"user": "a\nb"}, "user"),
        ({"secs": 0}, "multiple of 30 minutes"),
        ({"secs": -1800}, "multiple of 30 minutes"),
        ({"secs": 2700}, "multiple of 30 minutes"),
        ({"secs": 367 * DAY}, "at most 366 days"),
        ({"timezone": "Mars/Olympus"}, "Invalid timezone: unknown time zone 'Mars/Olympus'"),
        ({"nonsense": 1}, "unknown field `nonsense`"),
        ({"status": "Active"}, "unknown field `status`"),
    ],
)
async def test_what_makes_no_sense_is_malformed(house, fields, says):
    assert says in await house.refused("POST", "/reservations", sent(**fields), status=400, code="malformed")
    assert house.engine.book.entries == {}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"gpu_count": 5}, "Only 4 GPUs may be given out: 0, 1, 2, 3"),
        ({"gpu_indices": [3, 4]}, "Only 4 GPUs may be given out: 0, 1, 2, 3"),
        ({"start_at": 1_700_001_000 // SLOT * SLOT}, "The start of the reservation is past"),
        ({"start_at": slot(11 * 366 * DAY)}, "more than ten years away"),
    ],
)
async def test_what_can_never_be_is_impossible(house, fields, says):
    assert says in await house.refused("POST", "/reservations", sent(**fields), status=422, code="impossible")
    assert house.engine.book.entries == {}


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("status=soon", "Unknown status 'soon'; allowed: Pending, Active, Completed, Cancelled"),
        ("status=active,soon", "Unknown status 'soon'"),
        ("active_only=perhaps", "Invalid active_only 'perhaps'"),
        ("state=active", "Unknown parameter 'state'; allowed: user, status, active_only"),
    ],
)
async def test_unknown_filter_words_are_refused_not_ignored(house, query, says):
    assert says in await house.refused("GET", f"/reservations?{query}", status=400, code="malformed")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_one_that_does_not_exist(house, method):
    sentence = await house.refused(method, "/reservations/9", status=404, code="not_found")
    assert sentence == "Reservation 9 does not exist"


@pytest.mark.parametrize("method", ["POST", "DELETE", "GET"])
async def test_parameters_have_no_meaning_there(house, method):
    path = "/reservations?dry_run=1" if method == "POST" else "/reservations/1?dry_run=1"
    await house.refused(method, path, sent(), status=400, code="malformed")
    assert house.engine.book.entries == {}


# -- the half hours --------------------------------------------------------------------------------------------------


async def test_off_the_half_hour_the_next_slot_is_named(house):
    at = slot()
    sentence = await house.refused(
        "POST", "/reservations", sent(start_at=at + 600, timezone="UTC"), status=400, code="malformed"
    )
    following = datetime.fromtimestamp(at + SLOT, ZoneInfo("UTC"))
    assert sentence.endswith(f"the next slot is {following:%Y-%m-%d %H:%M} UTC")


async def test_the_half_hours_of_a_zone_that_is_named_count(house):
    there = await house.ask("POST", "/reservations", sent(start_at=slot() + 900, timezone="Asia/Kathmandu"))
    assert there == {"reservation_id": 1}
    await house.refused("POST", "/reservations", sent(start_at=slot() + 900), status=400, code="malformed")


async def test_the_half_hours_of_the_configured_zone_count(tmp_path):
    async with House(tmp_path, simulated_gpus=1, timezone="Pacific/Chatham") as house:
        assert (await house.get("/status"))["timezone"] == "Pacific/Chatham"
        await reserve(house, start_at=slot() + 900)
        await reserve(house, start_at=slot(2 * DAY))
        await house.refused("POST", "/reservations", sent(start_at=slot() + 600), status=400, code="malformed")


async def test_without_a_configured_zone_the_half_hours_of_the_machine_count(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        async with House(tmp_path, simulated_gpus=1) as house:
            await reserve(house, start_at=slot() + 900)
            await reserve(house, start_at=slot(2 * DAY))
    finally:
        monkeypatch.undo()
        time.tzset()


# -- who may ---------------------------------------------------------------------------------------------------------


async def test_only_administrators_reserve(house):
    await house.come_as(ANA)
    for body in (sent("uid:20001"), {"nonsense": 1}):
        sentence = await house.refused("POST", "/reservations", body, status=403, code="forbidden")
        assert sentence == "Only an administrator may reserve GPUs; you are uid:20001"
    assert house.engine.book.entries == {}


async def test_its_user_and_administrators_may_cancel_it(house):
    await reserve(house, " uid:20001 ")
    await reserve(house, "uid:20001")
    await house.come_as(BEN)
    sentence = await house.refused("DELETE", "/reservations/1", status=403, code="forbidden")
    assert sentence == "Reservation 1 belongs to uid:20001; you are uid:20002"
    await house.come_as(ANA)
    await cancel(house, 1)
    await house.come_as(0)
    await cancel(house, 2)
    assert [one["status"] for one in await house.get("/reservations")] == ["Cancelled", "Cancelled"]


async def test_everybody_may_look(house):
    await reserve(house, "uid:20001")
    await house.come_as(BEN)
    assert await ids(house) == [1]
    assert (await house.get("/reservations/1"))["created_by"] == "root"


# -- promises --------------------------------------------------------------------------------------------------------


async def test_nothing_is_promised_twice(house):
    await reserve(house, "alice", gpu_count=3)
    sentence = await house.refused("POST", "/reservations", sent("bob", gpu_count=2), status=409, code="conflict")
    assert sentence == "2 GPUs cannot be reserved: taken by reservation 1 of alice"
    await reserve(house, "bob", gpu_count=1)
    await reserve(house, "bob", slot() + 2 * HOUR, gpu_count=4)
    assert await ids(house) == [1, 2, 3]


async def test_what_a_job_without_a_limit_holds_cannot_be_promised(house):
    running = await house.start(gpus=4)
    sentence = await house.refused("POST", "/reservations", sent("alice"), status=409, code="conflict")
    assert sentence == f"1 GPU cannot be reserved: taken by job {running} of root, which has no time limit"
    await house.ask("PATCH", f"/jobs/{running}", {"time_limit": 60})
    assert await reserve(house) == 1


async def test_a_refused_request_uses_up_no_id(house):
    await reserve(house, gpu_count=4)
    await house.refused("POST", "/reservations", sent("bob"), status=409, code="conflict")
    assert await reserve(house, "bob", slot(2 * DAY)) == 2


async def test_jobs_of_others_are_kept_out_and_start_at_once_when_it_is_cancelled(house):
    await begun(house, "alice", gpu_count=3)
    waiting, fits = await house.submit(gpus=2), await house.submit(gpus=1)
    await eventually(lambda: house.engine.job(fits).started_boot is not None, "the job that fits beside it")
    told = await house.get(f"/jobs/{waiting}")
    assert (told["state"], told["reason"]) == ("Queued", "WaitingForGpu")
    reasons = (await house.get(f"/jobs/{waiting}/why"))["reasons"]
    assert any("for alice (reservation 1)" in why["text"] for why in reasons)
    await cancel(house, 1)
    await eventually(lambda: house.engine.job(waiting).started_boot is not None, "the start")


async def test_its_user_has_them_at_once_and_first(house):
    await begun(house, "root", gpu_indices=[2, 3])
    job_id = await house.start(gpus=1)
    assert house.engine.job(job_id).gpu_ids == (2,)
    await house.come_as(ANA)
    others = await house.start(gpus=2)
    assert house.engine.job(others).gpu_ids == (0, 1)
    waiting = await house.submit(gpus=1)
    await house.come_as(0)
    assert house.engine.job(await house.start(gpus=1)).gpu_ids == (3,)
    assert (await house.get(f"/jobs/{waiting}"))["state"] == "Queued"


async def test_a_job_that_would_reach_into_one_does_not_start_on_its_gpus(house):
    await reserve(house, "alice", slot(HOUR), gpu_count=4)
    unlimited = await house.submit(gpus=1)
    too_long = await house.submit(gpus=1, time_limit=3 * HOUR)
    short = await house.start(gpus=1, time_limit=60)
    assert [(await house.get(f"/jobs/{job_id}"))["state"] for job_id in (unlimited, too_long)] == ["Queued", "Queued"]
    assert (await house.get(f"/jobs/{short}"))["state"] == "Running"


async def test_followers_of_events_are_told(house):
    await reserve(house, "alice", gpu_indices=[0, 2])
    await cancel(house, 1)
    told = [
        (event.kind.value, event.about["reservation_id"], event.about["user"])
        for _, event in house.runtime.bus.latest(2)
    ]
    assert told == [("reservation_created", 1, "alice"), ("reservation_cancelled", 1, "alice")]


# -- nothing acknowledged is lost ------------------------------------------------------------------------------------


async def test_they_survive_a_restart(tmp_path):
    async with House(tmp_path, simulated_gpus=4) as house:
        await reserve(house, "alice", gpu_indices=[1])
        await reserve(house, "bob", gpu_count=2)
        await reserve(house, "carol")
        await cancel(house, 3)
        before = await house.get("/reservations")
    async with House(tmp_path, house.launcher, simulated_gpus=4) as house:
        assert await house.get("/reservations") == before
        await cancel(house, 1)
        assert await reserve(house, "dora") == 4


async def test_while_nothing_can_be_written_none_is_made_or_cancelled(tmp_path):
    disk = FaultyDisk()
    async with House(tmp_path, disk=disk, simulated_gpus=4) as house:
        await reserve(house)
        house.persistence._grace_secs = 0.05
        disk.failing = {"write": errno.ENOSPC, "create": errno.ENOSPC}
        await house.refused("POST", "/jobs", house.request(), status=503, code="unavailable")
        before = dict(house.engine.book.entries)
        for method, path, body in (("POST", "/reservations", sent("bob")), ("DELETE", "/reservations/1", ...)):
            sentence = await house.refused(method, path, body, status=503, code="unavailable")
            assert sentence == "The state cannot be written: No space left on device"
        assert house.engine.book.entries == before
        assert await ids(house) == [1], "looking is allowed"
        disk.failing = {}
        await eventually(lambda: house.persistence.healthy, "the recovery")
        await cancel(house, 1)
