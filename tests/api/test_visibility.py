"""`access.visibility = "own"`: that others' jobs are there may be seen, and not what they run, print, or ran into."""

import json

import pytest

from gflow.config import Access
from support.house import House

ANA, BEN = 20001, 20002
SECRET = "hush-7"
"""In everything of Ana's job that nobody else is to see."""

LOOKS = (
    "/jobs",
    "/jobs?ids=1",
    "/jobs/1",
    "/jobs/1/why",
    "/jobs/1/attach",
    "/jobs/1/processes",
    "/jobs/1/log",
    "/jobs/1/log/content",
    "/jobs/1/log/stream",
    "/progress",
    "/terminals",
    "/groups",
    "/forecast",
    "/stats",
    "/info",
    "/metrics",
    "/status",
    "/reservations",
)


@pytest.fixture
async def house(tmp_path):
    """Ana's job runs and has printed something, while Ben calls."""
    async with House(tmp_path, simulated_gpus=2, access=Access(visibility="own")) as opened:
        await opened.come_as(ANA)
        work = opened.root / SECRET
        work.mkdir()
        await opened.start(
            argv=["echo", SECRET],
            run_dir=str(work),
            run_name="train",
            environment={"TOKEN": SECRET},
            parameters={"lr": SECRET},
            group="sweep",
            key=SECRET,
            time_limit=600,
            notifications={"emails": [f"{SECRET}@example.com"], "events": []},
        )
        opened.write_log(1, f"{SECRET} 45%|####      | 45/100 [00:10<00:12]\r".encode())
        await opened.come_as(BEN)
        yield opened


async def first_events(house):
    """What has been told until the job started."""
    told = b""
    async with await house.stream() as stream:
        await stream.send_all(b"GET /events?last_event_id=0 HTTP/1.1\r\nHost: x\r\n\r\n")
        while b"job_started" not in told:
            told += await stream.receive_some()
    return told


async def texts(house):
    """What every look shows the caller: statuses and bodies by path."""
    columns = "JOBID,NAME,ST,TIME,PROGRESS,NODELIST(REASON),USER,REASON,DEPENDS,GROUP,EXIT"
    answers = {path: await house.client.get(path) for path in (*LOOKS, f"/queue?columns={columns}&states=all")}
    found = {path: (answer.status_code, answer.text) for path, answer in answers.items()}
    found["/events"] = 200, (await first_events(house)).decode()
    return found


async def test_others_see_that_it_is_there_and_nothing_of_what_it_does(house):
    seen = await texts(house)
    for path, (status, body) in seen.items():
        assert SECRET not in body, path
        assert status == (403 if path.startswith(("/jobs/1/log", "/jobs/1/attach", "/jobs/1/processes")) else 200), path
    record = json.loads(seen["/jobs/1"][1])
    assert (record["id"], record["run_name"], record["state"], record["submitted_by"]) == (
        1,
        "train",
        "Running",
        f"uid:{ANA}",
    )
    assert record["hidden"] is True
    assert json.loads(seen["/jobs"][1]) == [record]
    assert seen["/progress"][1] == "[]"
    said = json.loads(seen["/jobs/1/log"][1])["error"]
    assert said == f"Job 1 belongs to uid:{ANA}, and is not to be looked into; you are uid:{BEN}"


@pytest.mark.parametrize("uid", [ANA, 0])
async def test_its_owner_and_administrators_see_all_of_it(house, uid):
    await house.come_as(uid)
    seen = await texts(house)
    for path in ("/jobs", "/jobs/1", "/jobs/1/log", "/jobs/1/log/content", "/jobs/1/log/stream"):
        assert seen[path][0] == 200
    for path in ("/jobs", "/jobs/1", "/jobs/1/log/content", "/jobs/1/log/stream"):
        assert SECRET in seen[path][1], path
    assert json.loads(seen["/progress"][1])[0]["percent"] == 45
    assert "hidden" not in json.loads(seen["/jobs/1"][1])
    assert "45%" in next(body for path, (_, body) in seen.items() if path.startswith("/queue"))


async def test_nor_what_became_of_it(house):
    """What a launch or a reason says may name a path of its owner's."""
    await house.come_as(ANA)
    await house.end(1, None, f"{SECRET}: no such directory")
    await house.submit(hold=True)
    whole = await house.get("/jobs/1")
    assert SECRET in whole["status_detail"]
    await house.come_as(BEN)
    for path in ("/jobs/1/wait", "/jobs/1", "/jobs/1/why", "/jobs"):
        assert SECRET not in json.dumps(await house.get(path)), path
    cut = await house.get("/jobs/1")
    assert cut.keys() - {"hidden"} == whole.keys() - {"notifications"}, "no field that clients know is missing"
    assert [type(cut[key]) for key in ("run_dir", "log_path", "parameters", "script_args")] == [str, str, dict, list]
    await house.retire(1)
    assert await house.get("/jobs/1") == cut, "in the history, too"
    queue = await house.client.get("/queue?columns=JOBID,REASON&states=all")
    assert SECRET not in queue.text


async def test_what_was_cut_down_follows_what_it_was_cut_from(house):
    assert (await house.get("/jobs/1"))["time_limit"]["secs"] == 600
    await house.come_as(0)
    await house.ask("PATCH", "/jobs/1", {"time_limit": 500})
    await house.come_as(BEN)
    assert (await house.get("/jobs/1"))["time_limit"]["secs"] == 500
    assert (await house.get("/jobs/1")) == (await house.get("/jobs"))[0]


async def test_otherwise_everybody_sees_everybodys(tmp_path):
    async with House(tmp_path) as house:
        await house.come_as(ANA)
        await house.start(argv=["echo", SECRET])
        house.write_log(1, SECRET.encode())
        await house.come_as(BEN)
        assert (await house.get("/jobs/1"))["argv"] == ["echo", SECRET]
        assert (await house.get("/jobs/1/log/content"))["content"] == SECRET


async def test_an_environment_is_shown_to_nobody(tmp_path):
    """Not even to its owner: it is in the spool, and the API has no route to it."""
    async with House(tmp_path) as house:
        await house.start(environment={"PASSWORD": SECRET})
        for path, (_, body) in (await texts(house)).items():
            assert SECRET not in body, path
