"""One shape of errors, and no request that ends the daemon."""

import contextlib
import json
import logging

import pytest
import trio

from gflow.api.services import Services
from support.desk import eventually
from support.house import House


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nonsense", 404, "not_found"),
        ("GET", "/jobs/", 404, "not_found"),
        ("GET", "/jobs/1/nonsense", 404, "not_found"),
        ("GET", "/%ff%fe", 404, "not_found"),
        ("GET", "/jobs/..%2f..%2fetc/log", 404, "not_found"),
        ("DELETE", "/jobs", 405, "method_not_allowed"),
        ("DELETE", "/jobs/1", 405, "method_not_allowed"),
        ("GET", "/jobs/1/cancel", 405, "method_not_allowed"),
        ("PUT", "/health", 405, "method_not_allowed"),
        ("BREW", "/jobs", 405, "method_not_allowed"),
    ],
)
async def test_what_there_is_not(house, method, path, status, code):
    await house.refused(method, path, status=status, code=code)


NO_JSON = [
    b"{",
    b"{'command': 'true'}",
    b"\xff\xfe\x00",
    b'{"command": "true",}',
    b"NaN",
    b'{"priority": NaN}',
    b'{"time_limit": Infinity}',
    b'{"time_limit": -Infinity}',
    b'{"time_limit": 1e999}',
    b"[" * 100_000,
    b'{"id": ' + b"[" * 900 + b"]" * 900 + b"}",
    b"1" * 5000,
    b"",
    b"\0",
]


async def test_what_is_no_json_or_no_job(house):
    for body in NO_JSON:
        for method, path in (("POST", "/jobs"), ("POST", "/jobs/batch"), ("PATCH", "/jobs/1")):
            await house.refused(method, path, body, status=400, code="malformed")
        deep = b'{"defaults": {"id": ' + b"[" * 900 + b"]" * 900 + b'}, "jobs": [{}]}'
        await house.refused("POST", "/jobs/batch", deep, status=400, code="malformed")


async def test_any_content_type_will_do_as_long_as_it_is_json(house):
    content = json.dumps(house.request(hold=True)).encode()
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = await house.client.post("/jobs", content=content, headers={"content-type": kind})
        assert answer.status_code == 201, answer.text


async def told(stream):
    """The status and the JSON of the answer on a bare connection, which the server then closes."""
    received = b""
    while piece := await stream.receive_some():
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


@pytest.mark.parametrize("head", [b"Content-Length: 10485760", b"Transfer-Encoding: chunked"])
async def test_a_body_that_is_too_large_is_refused(house, head):
    async with await house.stream() as stream:
        await stream.send_all(b"POST /jobs HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n\r\n")
        with contextlib.suppress(trio.BrokenResourceError):
            for _ in range(10):
                await stream.send_all((b"100000\r\n" if b"chunked" in head else b"") + b" " * (1 << 20) + b"\r\n")
        status, answer = await told(stream)
    assert (status, answer["code"]) == (413, "too_large")
    assert await house.submit() == 1


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("gflow.api.app.BODY_SECS", 0.05)
    async with House(tmp_path) as house, await house.stream() as stream:
        await stream.send_all(b"POST /jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        status, answer = await told(stream)
        assert (status, answer["code"]) == (408, "timeout")
        assert await house.submit() == 1


async def test_a_bug_is_told_in_brief_and_logged_in_full(house, monkeypatch, caplog):
    def crash(*args):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(Services, "job_bytes", crash)
    await house.submit(hold=True)
    sentence = await house.refused("GET", "/jobs/1", status=500, code="internal")
    assert "secret" not in sentence
    assert [record.exc_info[0] for record in caplog.records if record.levelno == logging.ERROR] == [ZeroDivisionError]
    monkeypatch.undo()
    assert (await house.get("/jobs/1"))["id"] == 1


async def test_a_head_is_a_get_without_a_body(house):
    answer = await house.client.head("/health")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await house.client.get("/health")).status_code == 200, "the connection goes on"


async def test_many_at_once(house):
    async def submit():
        async with house.make_client() as client:
            answer = await client.post("/jobs", json=house.request(hold=True))
            assert answer.status_code == 201

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(submit)
    assert len(house.engine.jobs) == 50
    await eventually(lambda: house.runtime.bus.last_id == 51, "all events, and that the daemon is there")


async def test_a_parameter_is_given_once(house):
    for query in ("limit=1&limit=2", "limit=&limit=2", "limit=1&limit=1"):
        said = await house.refused("GET", f"/jobs?{query}", status=400, code="malformed")
        assert said == "Parameter 'limit' is given 2 times; give it once"


@pytest.mark.parametrize("digits", ["9" * 5000, "9" * 20, "\N{ARABIC-INDIC DIGIT ONE}", "-1", "0"])
async def test_an_id_that_is_none_is_not_found(house, digits):
    await house.submit(hold=True)
    for path in (f"/jobs/{digits}", f"/jobs/{digits}/log", f"/reservations/{digits}"):
        await house.refused("GET", path, status=404, code="not_found")
    await house.refused("POST", f"/jobs/{digits}/cancel", status=404, code="not_found")
