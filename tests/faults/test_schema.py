"""Schemathesis against a real daemon: what is asked, by its document or against it, is answered as that says.

Nothing that is submitted here may run: the daemon is drained first, and the route that ends that is left out.
"""

import contextlib
import copy
import os
import sys
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from requests.adapters import HTTPAdapter
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

from support.daemon import Daemon, UnixConnection
from support.effort import examples

TIMES = int(os.environ.get("GFLOW_FUZZ", "1"))
CASES = examples(3) * TIMES
"""Of each kind for each operation; `GFLOW_FUZZ=50` for a long night."""

LONG = ("/events", "/jobs/{job_id}/wait", "/jobs/{job_id}/log/stream")
"""May take for ever, and are given a moment."""

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
TRIED: list[int] = []


class OverUnix(HTTPAdapter):
    """Has requests speak to a Unix socket."""

    def __init__(self, daemon: Daemon) -> None:
        super().__init__()
        self._daemon = daemon

    def get_connection_with_tls_context(self, *_ignored: Any, **_more: Any) -> HTTPConnectionPool:
        return _Pool(self._daemon)


class _Pool(HTTPConnectionPool):
    def __init__(self, daemon: Daemon) -> None:
        super().__init__("gflowd")
        self._daemon = daemon

    def _new_conn(self) -> HTTPConnection:
        connection = HTTPConnection("gflowd")
        unix = UnixConnection(self._daemon.socket, 60)
        unix.connect()
        connection.sock = unix.sock
        return connection


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with Daemon("--simulated-gpus", "2") as daemon:
        assert daemon.http("POST", "/drain", {"reason": "nothing may run"}).status == 200
        jobs = [{"argv": ["true"]}, {"argv": ["true"], "hold": True}, {"command": "x", "group": "g", "key": "1"}]
        daemon.submit_all(jobs)
        daemon.submit("y", depends_on=1, parameters={"a": "b"})
        assert daemon.http("POST", "/jobs/1/cancel").status == 200
        yield daemon


@pytest.fixture(scope="module")
def session(daemon: Daemon) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://gflowd", OverUnix(daemon))
        yield session


@pytest.fixture(scope="module")
def schema(daemon: Daemon) -> Any:
    """The document, with ids that there are more often than not."""
    document = copy.deepcopy(daemon.get("/openapi.json"))
    document["paths"].pop("/resume")
    document["paths"].pop("/replace")  # it ends every connection; see e2e/test_reload.py
    for about in document["paths"].values():
        for parameter in about.get("parameters", []):
            few = ["g"] if parameter["name"] == "group_id" else [0, 1, 2, 3, 4, 5, 2**53 - 1]
            parameter["schema"] = {"enum": few}
    return schemathesis.openapi.from_dict(document)


def try_out(operation: Any, session: requests.Session, mode: GenerationMode) -> None:
    is_long = operation.path in LONG

    @hypothesis.settings(
        max_examples=max(2, CASES // 4) if is_long else CASES,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(operation.as_strategy(generation_mode=mode))
    def answered(case: Any) -> None:
        TRIED.append(1)
        try:
            answer = case.call(base_url="http://gflowd", session=session, timeout=0.2 if is_long else 60)
        except requests.exceptions.RequestException:
            assert is_long
            return
        assert answer.status_code < 500
        case.validate_response(answer, checks=CHECKS)

    answered()


LASTING = ("/jobs", "/groups", "/quotas", "/reservations", "/gpu-processes")


def kept(daemon: Daemon) -> Any:
    """What a restart has to leave as it is."""
    return {path: daemon.get(path) for path in LASTING} | {"drained": daemon.get("/status")["drained"]}


@pytest.mark.once
@pytest.mark.timeout(180 * TIMES)
def test_every_answer_is_as_the_document_says(daemon: Daemon, session: requests.Session, schema: Any):
    pid = daemon.pid
    for result in schema.get_all_operations():
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing to say, or nothing to say wrongly
                try_out(result.ok(), session, mode)
    sys.stdout.write(f"{len(TRIED)} requests made of the document\n")
    assert len(TRIED) > 10
    assert daemon.get("/health") == {"status": "ok", "pid": pid}
    before = kept(daemon)
    assert [job for job in before["/jobs"] if job["started_at"] is not None] == []
    checked = daemon.cli("gctl", "state", "check")
    assert checked.returncode == 0, checked
    daemon.restart()
    assert kept(daemon) == before
