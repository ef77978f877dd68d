"""Requests that are wrong are refused with a sentence and a stable word, and change nothing."""

import uuid

import pytest

from support.daemon import Answer, Daemon

GOOD = {"command": "true", "run_dir": "/", "hold": True}


def refused(answer: Answer, status: int, code: str, *words: str) -> None:
    assert (answer.status, answer.body["code"]) == (status, code), answer
    assert set(answer.body) == {"error", "code"}
    assert "\n" not in answer.body["error"]
    for word in words:
        assert word in answer.body["error"]


MALFORMED = {
    "nothing": b"",
    "no JSON": b"hello",
    "half a body": b'{"command": "true"',
    "not UTF-8": b'{"command": "\xff"}',
    "a word": b'"true"',
    "a number": b"1",
    "null": b"null",
    "a list": b"[]",
    "not a number": b'{"command": "true", "run_dir": "/", "priority": NaN}',
    "infinite": b'{"command": "true", "run_dir": "/", "time_limit": 1e999}',
    "deep": b"[" * 200_000,
    "huge number": b'{"command": "true", "run_dir": "/", "gpus": ' + b"9" * 100_000 + b"}",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize("path", ["/jobs", "/jobs/batch"])
def test_a_body_that_cannot_be_read(shared: Daemon, path: str, body: bytes):
    before = shared.jobs().keys()
    refused(shared.http("POST", path, raw=body), 400, "malformed")
    assert shared.jobs().keys() == before


WRONG = {
    "gpus": ["1", 1.5, -1, None, True, [1], 10**30],
    "priority": ["10", 256, -1, None, {}],
    "command": [1, ["true"], {}, True],
    "run_dir": [1, None, "relative", "a\0b"],
    "argv": ["true", [1], []],
    "depends_on_ids": ["1", ["1"], 1, [None], [1.5]],
    "depends_on": ["1", 1.5],
    "time_limit": ["1:00", -1, 0, {"secs": -1}, {"secs": 1, "more": 2}, {"secs": "1"}, True],
    "scheduled_at": ["tomorrow", {"secs": 1}],
    "environment": ["x", [], {"A": 1}, {"A=B": "x"}, {"A": "x\0"}, {"": "x"}],
    "parameters": [{"a": 1}, [], {"a b": "1"}],
    "max_retries": [-1, "1", 1e10, 10**9],
    "max_concurrent": [0, -1, "1"],
    "gpu_sharing_mode": ["None", 1],
    "gpu_indices": ["0", [-1], [0.5], [2**53 - 1], [[0]], 1, {}],
    "gpu_memory_limit_mb": [0, -1, "1G", 1.5],
    "retry_on_oom": ["yes", 1, None],
    "dependency_mode": ["Some", 1],
    "early_signal": [{"signal": 999, "secs_before": 1}, {"signal": "USR1", "secs_before": 1}, {"signal": 10}, 10],
    "memory_limit_mb": [0, -1, "1G", 1.5],
    "run_name": [1, "a\nb", "x" * 1000],
    "umask": [-1, 0o1000, "022"],
    "hold": ["yes", 1],
    "submit_key": [1, []],
}


@pytest.mark.parametrize("field", WRONG)
def test_values_of_the_wrong_type_or_range(shared: Daemon, field: str):
    before = shared.jobs().keys()
    for value in WRONG[field]:
        body = {**GOOD, field: value}
        if field == "argv":
            del body["command"]
        answer = shared.http("POST", "/jobs", body)
        assert answer.status in (400, 422), (field, value, answer)
        assert answer.body["code"] in ("malformed", "impossible"), answer
        batch = shared.http("POST", "/jobs/batch", [GOOD, body])
        assert batch.status == answer.status, (field, value, batch)
    assert shared.jobs().keys() == before


def test_unknown_fields_are_named(shared: Daemon):
    refused(shared.http("POST", "/jobs", {**GOOD, "colour": "red"}), 400, "malformed", "colour")
    job_id = shared.submit(**GOOD)
    refused(shared.http("PATCH", f"/jobs/{job_id}", {"colour": "red"}), 400, "malformed", "colour")
    refused(shared.http("PATCH", f"/jobs/{job_id}", {"state": "Running"}), 400, "malformed", "state")
    refused(shared.http("PATCH", f"/jobs/{job_id}", {}), 400, "malformed")
    assert shared.job(job_id)["state"] == "Hold"


def test_what_only_the_server_sets_is_accepted_and_ignored(shared: Daemon):
    mine = {"id": 1, "state": "Finished", "submitted_by": "somebody", "finished_at": None, "gpu_ids": [0]}
    answer = shared.http("POST", "/jobs", {**GOOD, **mine})
    assert answer.status == 201
    job = shared.job(answer.body["id"])
    assert (job["state"], job["submitted_by"] != "somebody", job["gpu_ids"]) == ("Hold", True, None)


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/jobs?state=Sleeping", "Sleeping"),
        ("/jobs?limit=0", "limit"),
        ("/jobs?limit=x", "limit"),
        ("/jobs?ids=3-1", "3-1"),
        ("/jobs?ids=1-99999999999", "99999999999"),
        ("/jobs?order=up", "up"),
        ("/jobs?colour=red", "colour"),
        ("/jobs?created_after=nan", "created_after"),
        ("/queue?columns=COLOUR", "COLOUR"),
        ("/queue", "columns"),
        ("/queue?columns=ST&sort=colour", "colour"),
        ("/queue?columns=ST&states=Sleeping", "Sleeping"),
        ("/health?x=1", "x"),
        ("/jobs/1/log/content?tail=0", "tail"),
        ("/jobs/resolve-dependency?shorthand=@x", "@x"),
        ("/events?last_event_id=x", "x"),
    ],
)
def test_unknown_words_in_a_query(shared: Daemon, path: str, word: str):
    shared.submit("true")
    refused(shared.http("GET", path), 400, "malformed", word)


def test_what_is_not_there(shared: Daemon):
    for method, path in (
        ("GET", "/jobs/999999"),
        ("GET", "/jobs/999999/log/stream"),
        ("POST", "/jobs/999999/cancel"),
        ("PATCH", "/jobs/999999"),
        ("GET", "/jobs/99999999999999999999999999"),
        ("GET", "/jobs/-1"),
        ("GET", "/no/such/route"),
        ("GET", "/../etc/passwd"),
        ("GET", "/jobs/1%00"),
        ("POST", "/groups/none/max-concurrency"),
    ):
        body = {"max_concurrent": 1} if "groups" in path else {"priority": 1} if method == "PATCH" else None
        refused(shared.http(method, path, body), 404, "not_found")
    refused(shared.http("DELETE", "/jobs"), 405, "method_not_allowed")


def test_a_large_body_is_refused_and_the_daemon_lives(shared: Daemon):
    large = b'{"command": "' + b"x" * 10_000_000 + b'"}'
    refused(shared.http("POST", "/jobs", raw=large), 413, "too_large")
    assert shared.get("/health")["pid"] == shared.pid


def test_a_batch_is_all_or_nothing_and_has_a_limit(shared: Daemon):
    before = shared.jobs().keys()
    refused(shared.http("POST", "/jobs/batch", [GOOD] * 1001), 413, "too_large", "1000")
    refused(shared.http("POST", "/jobs/batch", []), 400, "malformed")
    refused(shared.http("POST", "/jobs/batch", [*[GOOD] * 5, {**GOOD, "gpus": 3}]), 422, "impossible", "2")
    assert shared.jobs().keys() == before


def test_exactly_one_kind_of_work(shared: Daemon):
    for work in ({}, {"command": "a", "argv": ["a"]}, {"argv": ["a"], "script_text": "a"}, {"command": "  "}):
        answer = shared.http("POST", "/jobs", {"run_dir": "/", **work})
        assert answer.status in (400, 422), (work, answer)
    missing = shared.http("POST", "/jobs", {"run_dir": "/", "script": "/no/such/script"})
    refused(missing, 422, "impossible", "/no/such/script")


def test_a_wrong_state_is_a_conflict(shared: Daemon):
    job_id = shared.submit("true")
    shared.wait_job(job_id)
    for verb in ("hold", "release", "cancel", "finish", "fail"):
        refused(shared.http("POST", f"/jobs/{job_id}/{verb}"), 409, "wrong_state", "Finished")
    refused(shared.http("PATCH", f"/jobs/{job_id}", {"priority": 1}), 409, "wrong_state", "Finished")
    refused(shared.http("GET", f"/jobs/{job_id}/attach"), 409, "wrong_state")


def test_a_submission_repeated_under_its_key_is_one_job(shared: Daemon):
    key = uuid.uuid4().hex
    first = shared.http("POST", "/jobs", {**GOOD, "submit_key": key})
    second = shared.http("POST", "/jobs", {**GOOD, "submit_key": key, "command": "false"})
    assert first == second
    batch = [{**GOOD, "submit_key": f"{key}-{number}"} for number in range(3)]
    ids = shared.submit_all(batch)
    assert shared.submit_all([*batch, {**GOOD, "submit_key": key}]) == [*ids, first.body["id"]]
    assert shared.job(first.body["id"])["command"] == "true"


def test_long_answers_and_many_requests_on_one_connection(shared: Daemon):
    connection = shared.connection()
    for _ in range(50):
        connection.request("GET", "/jobs")
        response = connection.getresponse()
        assert response.status == 200
        response.read()
    connection.close()
