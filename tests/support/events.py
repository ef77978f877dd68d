"""A reader of the daemon's stream of events."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from support.daemon import Daemon


class Heard(NamedTuple):
    """One event: its id (None for those without), its name and its data."""

    id: int | None
    kind: str
    data: dict[str, Any]


class Events:
    """`GET /events`, from now on or from after `last_seen`."""

    def __init__(self, daemon: Daemon, last_seen: int | None = None) -> None:
        self._connection = daemon.connection(timeout_secs=30)
        headers = {} if last_seen is None else {"Last-Event-ID": str(last_seen)}
        self._connection.request("GET", "/events", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        assert self._response.headers["Content-Type"] == "text/event-stream"
        assert self.next() == Heard(None, "connected", {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(OSError):
            self._response.close()
        self._connection.close()

    def next(self) -> Heard:
        """The next event; fails if the stream ends or is silent for too long."""
        fields: dict[str, str] = {}
        while line := self._response.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            fields[name] = value
            if line == "\n" and "event" in fields:
                number = fields.get("id")
                return Heard(int(number) if number else None, fields["event"], json.loads(fields["data"]))
        raise AssertionError("the stream ended")

    def until(self, kind: str, job_id: int | None = None) -> list[Heard]:
        """All events up to this one (of any job, if none is named), which is the last."""
        return list(self._until(kind, job_id))

    def _until(self, kind: str, job_id: int | None) -> Iterator[Heard]:
        while True:
            heard = self.next()
            yield heard
            if heard.kind == kind and job_id in (None, heard.data.get("job_id")):
                return
