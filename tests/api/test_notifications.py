"""Notifications over HTTP: who is told of events, how that goes, tests and redeliveries; and who may ask for them."""

import trio

from support.desk import eventually
from support.house import House
from support.target import Target

ANA = 20001
OF_JOBS = ("job_submitted", "job_started", "job_completed", "job_failed")
FIELDS = [
    "kind",
    "name",
    "key",
    "queued",
    "delivered",
    "retried",
    "dropped",
    "mail_withheld",
    "given_up",
    "last_result",
    "last_result_at",
    "last_failure",
    "last_failure_at",
    "paused",
    "paused_until",
    "next_try",
]


async def target_of(house, at=0):
    return (await house.get("/notifications"))["targets"][at]


async def test_without_targets(house):
    told = await house.get("/notifications")
    assert told == {
        "enabled": False,
        "max_concurrent_deliveries": 16,
        "outbox": str(house.data_dir / "outbox.sqlite"),
        "outbox_trouble": None,
        "events_lost": 0,
        "targets": [],
        "given_up": [],
    }
    assert not (house.data_dir / "outbox.sqlite").exists()
    sentence = await house.refused("POST", "/notifications/test", {}, status=404, code="not_found")
    assert sentence == "There is no target to test; notifications are off, or none is set"


async def test_every_transition_is_told_in_order_with_the_job_as_it_then_was(tmp_path):
    target = Target(wanted=OF_JOBS)
    async with House(tmp_path, targets=[target]) as house:
        job_id = await house.start()
        await house.end(job_id, 3)
        await eventually(lambda: len(target.payloads) == 3, "three events")
        told = await target_of(house)
    assert list(told) == FIELDS
    assert (told["queued"], told["delivered"], told["last_result"], told["next_try"]) == (0, 3, "delivered", None)
    assert [one["event"] for one in target.payloads] == ["job_submitted", "job_started", "job_failed"]
    assert [one["job"]["state"] for one in target.payloads] == ["Queued", "Running", "Failed"]
    assert target.payloads[2]["job"]["exit_code"] == 3
    assert [identity for identity, _ in target.ids] == [f"{number}-t" for number in target.delivered]


async def test_a_dead_target_is_seen_to_be_paused(tmp_path, monkeypatch):
    monkeypatch.setattr("gflow.daemon.lane.FIRST_PAUSE_SECS", 0.01)
    dead, live = Target("dead", wanted=OF_JOBS, max_retries=1), Target("live", wanted=OF_JOBS)
    dead.down = True
    async with House(tmp_path, targets=[dead, live]) as house:
        for _ in range(5):
            await house.submit(hold=True)
        await eventually(lambda: len(live.delivered) == 5 and len(dead.attempts) == 6, "the attempts")
        told = await target_of(house)
        assert (told["paused"], told["queued"], told["last_failure"]) == (True, 5, "connection refused")
        assert told["paused_until"] > house.runtime.clock().wall + 10
        assert (await target_of(house, 1))["queued"] == 0


async def test_undelivered_events_go_out_after_a_restart(tmp_path):
    dead, again = Target(wanted=OF_JOBS), Target(wanted=OF_JOBS)
    dead.down = True
    async with House(tmp_path, targets=[dead]) as house:
        for _ in range(5):
            await house.submit(hold=True)
    async with House(tmp_path, house.launcher, targets=[again]) as house:
        await eventually(lambda: len(again.delivered) == 5, "all of them")
        assert again.delivered == sorted(again.delivered)
        assert {identity for identity, _ in again.ids} >= {identity for identity, _ in dead.ids}
        assert (await house.get("/notifications"))["events_lost"] == 0


async def test_a_test(tmp_path):
    live, dead = Target("live", wanted=OF_JOBS), Target("dead", wanted=OF_JOBS)
    dead.down, live.note = True, "to nobody"
    async with House(tmp_path, targets=[live, dead]) as house:
        answer = await house.ask("POST", "/notifications/test")
        assert [(one["target"], one["kind"], one["error"], one["note"]) for one in answer["results"]] == [
            ("live", "webhook", None, "to nobody"),
            ("dead", "webhook", "connection refused", None),
        ]
        answer = await house.ask("POST", "/notifications/test", {"target": "live"})
        assert [one["target"] for one in answer["results"]] == ["live"]
        sentence = await house.refused("POST", "/notifications/test", {"target": "x"}, status=404, code="not_found")
        assert sentence == "There is no target 'x'; targets: live, dead"
    assert live.payloads[0].keys() == {"event", "timestamp", "text", "scheduler"}
    assert live.payloads[0]["event"] == "test"
    assert live.payloads[0]["timestamp"].endswith("Z")


async def test_a_redelivery(tmp_path):
    target = Target(wanted=OF_JOBS, failures=1, max_retries=0)
    async with House(tmp_path, targets=[target]) as house:
        await house.submit(hold=True)
        await eventually(lambda: target.attempts, "the attempt")
        told = await house.get("/notifications")
        (given_up,) = told["given_up"]
        assert (given_up["event"], given_up["why"]) == ("job_submitted", "connection refused")
        again = {"id": given_up["id"]}
        assert await house.ask("POST", "/notifications/redeliver", again) == again | {"target": "t"}
        await eventually(lambda: target.delivered, "it")
        await eventually(lambda: house.daemon._pool.status()["targets"][0]["queued"] == 0, "the end of it")
        await house.refused("POST", "/notifications/redeliver", again, status=404, code="not_found")


async def test_only_administrators_look_test_and_redeliver(tmp_path):
    target = Target(wanted=OF_JOBS)
    async with House(tmp_path, targets=[target]) as house:
        await house.come_as(ANA)
        for path, body in (("test", {}), ("redeliver", {"id": "1-t"})):
            sentence = await house.refused("POST", f"/notifications/{path}", body, status=403, code="forbidden")
            assert sentence.startswith("Only an administrator may ")
        await house.refused("GET", "/notifications", status=403, code="forbidden")
    assert target.attempts == []


async def test_what_makes_no_sense_is_malformed(house):
    for path, body in (
        ("test", {"targets": ["x"]}),
        ("test", {"target": 7}),
        ("test", b"{"),
        ("redeliver", {}),
        ("redeliver", {"id": 7}),
        ("test?target=x", {}),
    ):
        await house.refused("POST", f"/notifications/{path}", body, status=400, code="malformed")
    await house.refused("GET", "/notifications?a=1", status=400, code="malformed")


async def test_a_target_that_hangs_holds_up_neither_jobs_nor_answers(tmp_path, monkeypatch):
    monkeypatch.setattr("gflow.daemon.run.DRAIN_SECS", 0.1)
    target = Target(wanted=OF_JOBS)
    target.hanging = True
    async with House(tmp_path, targets=[target]) as house:
        with trio.fail_after(10):
            job_id = await house.start()
            assert (await house.end(job_id))["state"] == "Finished"
            assert (await target_of(house))["queued"] == 3


async def test_a_job_whose_mail_nobody_sends_is_queued_with_a_warning(tmp_path):
    wish = {"notifications": {"emails": ["ana@example.com"], "events": ["job_failed"]}}
    chat, mail = Target("chat"), Target("mail")
    mail.kind = "email"
    for targets, warned in (([], True), ([chat], True), ([chat, mail], False)):
        async with House(tmp_path, targets=targets) as house:
            told = await house.ask("POST", "/jobs", house.request(**wish), 201)
            assert ("nobody is mailed" in told.get("warning", "")) is warned
            assert "warning" not in await house.ask("POST", "/jobs", house.request(), 201)
            if not warned:
                wish["notifications"]["emails"].append("far@away")
                told = await house.ask("POST", "/jobs", house.request(**wish), 201)
                assert told["warning"] == "far@away: not mailed: notifications.jobs_may_mail does not name them"
