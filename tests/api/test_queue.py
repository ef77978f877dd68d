"""GET /queue: lines of cells, ready for a command that only aligns them."""

import threading
import time

import pytest
import trio.testing

from gflow.wire.columns import COLUMNS
from support.desk import eventually

CELL_END = "\x1f"


async def ask(house, query):
    """The lines as lists of cells, and how many jobs there were before the limit."""
    answer = await house.client.get(f"/queue?{query}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "" or answer.text.endswith("\n")
    lines = answer.text.split("\n")[:-1]
    return [line.split(CELL_END) for line in lines], int(answer.headers["x-total"])


async def ids(house, query):
    lines, _ = await ask(house, f"columns=JOBID&{query}")
    return [int(line[0]) for line in lines]


@pytest.fixture(params=["at hand", "in the history"])
async def crowd(house, request):
    """1 runs on two GPUs, 2 finished, 3 is held, 4 is held and somebody else's, 5 waits for 1."""
    await house.start(run_name="delta", project="p", gpus=2)
    await house.end(await house.start(run_name="alpha", gpus=1), 0)
    await house.submit(run_name="charlie", hold=True, project="p", priority=5)
    await house.come_as(12345)
    await house.submit(run_name="bravo", hold=True, priority=50, gpus=4)
    await house.come_as(0)
    await house.submit(run_name="echo", depends_on=1)
    if request.param == "in the history":
        await house.retire(2)
    return house


async def test_moments_in_seconds(crowd):
    columns = "columns=JOBID,SUBMIT,START,END&ids=2"
    (local,), _ = await ask(crowd, columns)
    (cells,), _ = await ask(crowd, f"{columns}&epoch=1")
    assert [cell[0] for cell in cells[1:]] == ["@"] * 3
    read = [time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(int(cell[1:]))) for cell in cells[1:]]
    assert read == local[1:]
    by_id, _ = await ask(crowd, "columns=JOBID,SUBMIT,START,END&states=CD&epoch=1")
    assert by_id == [cells]


QUERIES = [
    ("", [1, 3, 4, 5]),
    ("states=all", [1, 2, 3, 4, 5]),
    ("states=CD,Running", [1, 2]),
    ("states=h", [3, 4]),
    ("ids=1-3", [1, 2, 3]),
    ("ids=2,99", [2]),
    ("ids=1-3&states=Hold", [3]),
    ("users=uid:12345", [4]),
    ("users=all", [1, 3, 4, 5]),
    ("users=*", [1, 3, 4, 5]),
    ("users=uid:12345,nobody-such", [4]),
    ("mine=1", [1, 3, 5]),
    ("mine=0", [1, 3, 4, 5]),
    ("mine=1&users=uid:12345", [1, 3, 5]),
    ("names=delta,echo", [1, 5]),
    ("names=del", []),
    ("project=p", [1, 3]),
    ("since=1", [1, 3, 4, 5]),
    ("since=99999999999", []),
    ("sort=id", [1, 3, 4, 5]),
    ("sort=name&states=all", [2, 4, 3, 1, 5]),
    ("sort=state&states=all", [5, 3, 4, 1, 2]),
    ("sort=priority", [4, 1, 5, 3]),
    ("sort=gpus", [4, 1, 3, 5]),
    ("sort=nodes", [4, 1, 3, 5]),
    ("sort=time&states=R,CD", [1, 2]),
    ("limit=2", [1, 3]),
    ("limit=-2", [4, 5]),
    ("limit=0", [1, 3, 4, 5]),
    ("limit=99", [1, 3, 4, 5]),
    ("limit=1&sort=priority", [4]),
]


async def test_which_jobs_and_in_which_order(crowd):
    for query, found in QUERIES:
        assert await ids(crowd, query) == found, query


async def test_the_total_is_counted_before_the_limit(crowd):
    lines, total = await ask(crowd, "columns=JOBID&limit=1")
    assert (len(lines), total) == (1, 4)
    assert await ask(crowd, "columns=JOBID&names=nothing") == ([], 0)


async def test_cells_come_in_the_order_asked_for(crowd):
    columns = ["NAME", "ST", "JOBID", "NODES", "NODELIST(REASON)", "PROJECT"]
    lines, _ = await ask(crowd, f"columns={','.join(columns)}")
    assert lines == [
        ["delta", "R", "1", "2", "0,1", "p"],
        ["charlie", "H", "3", "0", "(JobHeldUser)", "p"],
        ["bravo", "H", "4", "4", "(JobHeldUser)", "-"],
        ["echo", "PD", "5", "0", "(Dependency)", "-"],
    ]


async def test_every_column_has_a_text_for_every_job(crowd):
    lines, _ = await ask(crowd, f"columns={','.join(COLUMNS)}&states=all")
    for line in lines:
        assert len(line) == len(COLUMNS)
        assert all(cell for cell in line)


async def test_what_people_typed_cannot_break_a_line(house):
    await house.submit(run_name="ünïcode 名", hold=True)
    job_id = await house.start(run_name="x")
    await house.end(job_id, None, "evil\x1b[31m\nline\x1fcell")
    lines, _ = await ask(house, "columns=JOBID,NAME,REASON&states=all")
    assert lines == [["1", "ünïcode 名", "On hold"], ["2", "x", "evil?[31m?line?cell"]]


WRONG_QUERIES = [
    ("", "No columns given; allowed: JOBID, NAME, ST"),
    ("columns=", "No columns given"),
    ("columns=JOBID,COLOUR", "Unknown column 'COLOUR'; allowed: JOBID, NAME"),
    ("columns=JOBID&states=Sleeping", "Unknown state 'Sleeping'; allowed: Queued (PD)"),
    ("columns=JOBID&sort=colour", "Unknown sort key 'colour'; allowed: id, state, time"),
    ("columns=JOBID&limit=x", "Invalid limit 'x'"),
    ("columns=JOBID&since=x", "Invalid since 'x'"),
    ("columns=JOBID&ids=x", "Invalid job ID or range: x"),
    ("columns=JOBID&mine=maybe", "Invalid mine 'maybe': use 1 or 0"),
    ("columns=JOBID&state=R", "Unknown parameter 'state'; allowed: columns, states"),
]


async def test_what_cannot_be_shown(house):
    for query, says in WRONG_QUERIES:
        assert says in await house.refused("GET", f"/queue?{query}", status=400, code="malformed")


async def test_a_long_queue_lets_others_have_their_turn(house):
    await house.ask("POST", "/jobs/batch", {"defaults": house.request(hold=True), "jobs": [{}] * 1000}, 201)
    assert await ids(house, "") == list(range(1, 1001))
    job_id = await house.start()
    await trio.testing.wait_all_tasks_blocked()
    await eventually(lambda: job_id in house.launcher.running(), "the launch")


async def test_jobs_with_a_terminal(crowd):
    assert await ids(crowd, "terminals=1") == [1]
    assert await ids(crowd, "terminals=1&states=all&ids=1-3") == [1]
    assert await ids(crowd, "terminals=1&ids=2") == []
    assert await ids(crowd, "terminals=1&users=uid:12345") == []
    assert await ids(crowd, "terminals=0") == [1, 3, 4, 5]


async def test_how_far_groups_are(house):
    members = {"defaults": house.request(group_id="g", max_concurrent=1, run_name="sweep"), "jobs": [{}] * 3}
    await house.ask("POST", "/jobs/batch", members, 201)
    await eventually(lambda: 1 in house.launcher.running(), "the start of the first")
    await house.end(1, 0)
    await eventually(lambda: 2 in house.launcher.running(), "the start of the second")
    (group,) = await house.get("/groups?mine=1")
    assert group == {
        "group_id": "g",
        "first_job_id": 1,
        "name": "sweep",
        "user": group["user"],
        "project": None,
        "max_concurrent": 1,
        "jobs": 3,
        "counts": {"Finished": 1, "Running": 1, "Queued": 1},
    }
    assert await house.get(f"/groups?users={group['user']}") == [group]
    assert await house.get("/groups?users=nobody-such") == []
    for job_id in (2, 3):
        await eventually(lambda job_id=job_id: job_id in house.launcher.running(), "the start")
        await house.end(job_id, 0)
    assert await house.get("/groups") == [], "all have ended"


async def test_adding_up_a_long_past_keeps_nobody_waiting(house, monkeypatch):
    may_end = threading.Event()
    real = house.history.usage_by
    monkeypatch.setattr(house.history, "usage_by", lambda *args, **kwargs: may_end.wait(20) and real(*args, **kwargs))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.get, "/stats?by=user")
        for _ in range(3):
            assert (await house.get("/health"))["status"] == "ok"
        may_end.set()


async def test_a_group_is_shown_by_its_name_and_a_name_may_have_commas(house):
    await house.submit(hold=True, group="lr", run_name="lr=1,wd=2")
    await house.submit(hold=True, group_id="208b11c9-3b78-4673-b404-3a896f8fe6c0")
    lines, _ = await ask(house, "columns=GROUP,GROUPID")
    assert lines[0][0] == "lr"
    assert lines[0][1] == house.engine.jobs[1].spec.group_id
    assert lines[1] == ["208b11c9-3b78-4673-b404-3a896f8fe6c0"] * 2
    assert await ids(house, r"names=lr=1\,wd=2,x") == [1]
    assert await ids(house, "names=lr=1,wd=2") == []
    assert await ids(house, "names=,") == []
    assert await ids(house, "group=lr") == [1]
