"""The output of jobs: its path, its end, and all of it as it comes."""

import io
from pathlib import Path

import httpx
import pytest
import trio

from gflow.api import logs as module
from gflow.core.errors import Unavailable
from support.desk import eventually
from support.hanging import hanging
from support.lease import leased

LINES = b"one\ntwo\nthree\nfour\n"


@pytest.fixture
async def job(house):
    """The path of a running job that has printed four lines."""
    job_id = await house.start()
    house.write_log(job_id, LINES)
    return f"/jobs/{job_id}/log"


@pytest.fixture(autouse=True)
def look_often(monkeypatch):
    monkeypatch.setattr(module, "FOLLOW_SECS", 0.005)


async def stream(house, path):
    answer = await house.client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return answer.content


async def test_where_it_is(house, job):
    assert await house.get(job) == str(house.data_dir / "logs" / "1.log")


# -- content ---------------------------------------------------------------------------------------------------------


async def test_its_end(house, job):
    told = await house.get(f"{job}/content")
    path = str(house.data_dir / "logs" / "1.log")
    assert told == {"job_id": 1, "path": path, "size": 19, "truncated": False, "content": LINES.decode()}
    told = await house.get(f"{job}/content?tail=2")
    assert (told["content"], told["truncated"], told["size"]) == ("three\nfour\n", True, 19)
    told = await house.get(f"{job}/content?max_bytes=8")
    assert (told["content"], told["truncated"]) == ("ee\nfour\n", True)
    assert (await house.get(f"{job}/content?tail=4"))["truncated"] is False


async def test_bytes_that_are_no_text_are_replaced(house, job):
    house.write_log(1, b"\xff\xfe\n")
    assert (await house.get(f"{job}/content?tail=1"))["content"] == "\ufffd\ufffd\n"


async def test_a_progress_bar_is_one_line(house, job):
    house.write_log(1, b"10%\r50%\r100%\nlast")
    assert (await house.get(f"{job}/content?tail=2"))["content"] == "10%\r50%\r100%\nlast"


async def test_a_job_that_has_not_started_has_no_log_yet(house):
    await house.submit(hold=True)
    for path in ("content", "stream", "stream?last=3"):
        sentence = await house.refused("GET", f"/jobs/1/log/{path}", status=404, code="not_found")
        assert sentence == "Job 1 has no log yet"


WRONG_QUERIES = [
    ("content?tail=0", "Invalid tail 0: use 1 to 20000"),
    ("content?tail=20001", "Invalid tail 20001"),
    ("content?max_bytes=0", "Invalid max_bytes 0: use 1 to 4194304"),
    ("content?max_bytes=4194305", "Invalid max_bytes 4194305"),
    ("content?tail=x", "use a whole number"),
    ("content?follow=1", "Unknown parameter 'follow'"),
    ("stream?first=1&last=1", "Give one of first, last and offset"),
    ("stream?first=0", "Invalid first 0"),
    ("stream?last=-1", "Invalid last -1"),
    ("stream?last=99999999999999999999", "Invalid last"),
    ("stream?follow=maybe", "Invalid follow 'maybe'"),
    ("stream?tail=1", "Unknown parameter 'tail'"),
]


async def test_what_cannot_be_shown(house, job):
    for query, says in WRONG_QUERIES:
        assert says in await house.refused("GET", f"{job}/{query}", status=400, code="malformed")


@pytest.mark.parametrize("path", ["content", "stream", "stream?follow=1", "stream?last=3"])
async def test_a_log_that_its_owner_keeps_to_himself_is_unavailable(house, job, path, caplog):
    with leased(house.data_dir / "logs" / "1.log"), trio.fail_after(10):
        says = await house.refused("GET", f"{job}/{path}", status=503, code="unavailable")
    assert says.endswith("1.log cannot be read: Resource temporarily unavailable")
    assert "Traceback" not in caplog.text


async def test_a_log_on_a_disk_that_hangs_is_unavailable(house, job, monkeypatch):
    reads = module._Reads(0.02)
    with hanging() as read, pytest.raises(Unavailable, match=r"The log /log cannot be read: it does not answer"):
        await reads.of(house.engine.job(1), read, Path("/log"))
    assert (await house.client.get(f"{job}/content")).status_code == 200


async def test_an_answer_whose_log_cannot_be_read_any_more_is_broken_off(house, job, caplog, monkeypatch):
    def unreadable(_path, _offset):
        raise Unavailable("The log cannot be read")

    monkeypatch.setattr(module, "_read", unreadable)
    with pytest.raises(httpx.RemoteProtocolError):
        await house.client.get(f"{job}/stream")
    assert "Traceback" not in caplog.text


async def test_following_waits_for_a_log_to_be_readable_again(house, job, monkeypatch):
    tried, read = [], module._read

    def readable_later(path, offset):
        tried.append(offset)
        if len(tried) < 5:
            raise Unavailable("The log cannot be read")
        return read(path, offset)

    monkeypatch.setattr(module, "_read", readable_later)
    follower = Follower(house, f"{job}/stream?follow=1")
    await eventually(lambda: follower.received == LINES, "what there is")
    await house.end(1)
    await eventually(follower.over.is_set, "the end")


# -- stream ----------------------------------------------------------------------------------------------------------


PARTS = [
    ("", LINES),
    ("?first=1", b"one\n"),
    ("?first=3", b"one\ntwo\nthree\n"),
    ("?first=99", LINES),
    ("?last=1", b"four\n"),
    ("?last=3", b"two\nthree\nfour\n"),
    ("?last=99", LINES),
]


async def test_all_of_it_or_an_end(house, job):
    for query, found in PARTS:
        assert await stream(house, f"{job}/stream{query}") == found, query


@pytest.mark.parametrize("chunk", [1, 2, 5, 7, 1000])
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?first=2", b"10%\r50%\r100%\n\xff\n"),
        ("?first=4", b"10%\r50%\r100%\n\xff\n\n\x0c\xc2\x85no line\r\n"),
        ("?last=2", b"\x0c\xc2\x85no line\r\nend"),
        ("?last=1", b"end"),
        ("", b"10%\r50%\r100%\n\xff\n\n\x0c\xc2\x85no line\r\nend"),
    ],
)
async def test_only_newlines_end_lines_wherever_reads_are_cut(house, monkeypatch, chunk, query, found):
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    job_id = await house.start()
    house.write_log(job_id, b"10%\r50%\r100%\n\xff\n\n\x0c\xc2\x85no line\r\nend")
    assert await stream(house, f"/jobs/{job_id}/log/stream{query}") == found


async def test_a_large_log_comes_whole(house, job):
    house.write_log(1, b"x" * 3_000_000)
    assert await stream(house, f"{job}/stream") == LINES + b"x" * 3_000_000


class Follower:
    """Reads a followed log on a connection of its own."""

    def __init__(self, house, path):
        self.received = b""
        self.connected, self.over = trio.Event(), trio.Event()
        house.nursery.start_soon(self._read, house, path)

    async def _read(self, house, path):
        async with house.make_client() as client, client.stream("GET", path) as answer:
            assert answer.status_code == 200
            self.connected.set()
            async for piece in answer.aiter_raw():
                self.received += piece
        self.over.set()


async def test_following_from_before_the_start_to_after_the_end(house):
    blocker = await house.start(gpus=4)
    job_id = await house.submit(gpus=1)
    follower = Follower(house, f"/jobs/{job_id}/log/stream?follow=1")
    await follower.connected.wait()
    await house.end(blocker)
    await eventually(lambda: job_id in house.launcher.running(), "the launch")
    for number in range(5):
        house.write_log(job_id, b"line %d\n" % number)
        await eventually(lambda: follower.received.endswith(b"line %d\n" % number), "the line")  # noqa: B023
    assert not follower.over.is_set()
    house.write_log(job_id, b"the last word")
    await house.end(job_id)
    await eventually(follower.over.is_set, "the end")
    assert follower.received == b"".join(b"line %d\n" % number for number in range(5)) + b"the last word"


async def test_following_a_job_that_is_over_ends_at_once(house, job):
    await house.end(1)
    assert await stream(house, f"{job}/stream?follow=1") == LINES
    assert await stream(house, f"{job}/stream?follow=1&last=1") == b"four\n"


async def test_following_a_job_that_never_runs_ends_with_it(house):
    job_id = await house.submit(hold=True)
    follower = Follower(house, f"/jobs/{job_id}/log/stream?follow=1")
    await follower.connected.wait()
    await house.ask("POST", f"/jobs/{job_id}/cancel")
    await eventually(follower.over.is_set, "the end")
    assert follower.received == b""


async def test_following_from_the_last_lines_on(house, job):
    follower = Follower(house, f"{job}/stream?follow=1&last=1")
    await eventually(lambda: follower.received == b"four\n", "the last line")
    house.write_log(1, b"five\n")
    await eventually(lambda: follower.received == b"four\nfive\n", "the next line")
    await house.end(1)


async def test_following_the_first_lines_ends_with_them(house):
    job_id = await house.start()
    house.write_log(job_id, b"one\nt")
    follower = Follower(house, f"/jobs/{job_id}/log/stream?follow=1&first=2")
    await eventually(lambda: follower.received == b"one\nt", "what there is")
    house.write_log(job_id, b"wo\nthree\n")
    await eventually(follower.over.is_set, "the end")
    assert follower.received == b"one\ntwo\n"


@pytest.mark.parametrize("offset", [10**6, 2**62, 10**17, 10**40])
async def test_behind_the_end_of_a_log_there_is_nothing(house, offset):
    job_id = await house.submit(hold=True)
    house.write_log(job_id, b"one\n")
    answer = await house.client.get(f"/jobs/{job_id}/log/stream?offset={offset}")
    assert (answer.status_code, answer.content) == (200, b"")


class Metered(io.BytesIO):
    """A file that knows the most that was asked of it at once."""

    most = 0

    def read(self, size=-1):
        self.most = max(self.most, len(self.getvalue()) if size is None or size < 0 else size)
        return super().read(size)


@pytest.mark.parametrize("lines", [1, 2, 3, 10**9])
def test_a_line_longer_than_memory_is_not_read_as_a_whole(lines, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    log = Metered(b"first\n" + b"x" * 100_000 + b"\nlast\n")
    starts = [100_007, 6, 0]
    assert module._back(log, len(log.getvalue()), lines) == starts[min(lines, 3) - 1]
    assert log.most <= 1000


def test_many_who_follow_share_the_pace_of_a_few():
    turns = module._Turns()
    assert turns.pause_secs(100.0) == pytest.approx(module.FOLLOW_SECS)
    looks = sorted(turns.pause_secs(200.0) for _ in range(1000))
    assert looks[-1] - looks[0] == pytest.approx(999 / module.LOOKS_A_SECOND)
    assert turns.pause_secs(300.0) == pytest.approx(module.FOLLOW_SECS), "and have it back when they are few"


async def test_nobody_waits_for_the_last_lines_of_a_large_log_any_more(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    path = tmp_path / "1.log"
    path.write_bytes(b"x" * 10_000_000)
    with trio.move_on_after(0.05) as patience:
        await trio.to_thread.run_sync(module._offset_of_last, path, 1)
    assert patience.cancelled_caught
