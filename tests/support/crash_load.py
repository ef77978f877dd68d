"""Clients of a daemon that is killed again and again, and what each of them knows to have been acknowledged.

A client does one thing after the other. A request whose answer was lost is `in doubt`: it may have been carried out or
not, and is asked again, in the same words, once the daemon is back. So what must be true of a job is known at any time,
up to one request.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from typing import Any

from support.daemon import Answer, Daemon

CODES = 5
MAY_FOLLOW = {"held": ("release", "cancel"), "later": ("hold", "cancel"), "later held": ("release", "cancel")}
BECOMES = {
    ("held", "release"): "free",
    ("held", "cancel"): "cancelled",
    ("later", "hold"): "later held",
    ("later", "cancel"): "cancelled",
    ("later held", "release"): "later",
    ("later held", "cancel"): "cancelled",
}
STATES = {
    "free": {"Queued", "Running", "Finished", "Failed"},
    "held": {"Hold"},
    "later": {"Queued"},
    "later held": {"Hold"},
    "cancelled": {"Cancelled"},
}


@dataclass
class Wanted:
    """One job as a client wants it.

    - token: in its name, its command and its key, and in those of no other. code: the exit code it will have.
    - id: None until acknowledged. is_, may_be: what it is, and what it may have become by a request in doubt.
    - priority, may_have: the same of its priority.
    """

    token: str
    code: int
    is_: str = "free"
    may_be: str | None = None
    priority: int = 10
    may_have: int | None = None
    id: int | None = None

    def problem(self, job: dict[str, Any]) -> str | None:
        """What is wrong with the daemon's record of it."""
        allowed = STATES[self.is_] | (STATES[self.may_be] if self.may_be else set())
        if job["run_name"] != self.token:
            return f"job {self.id} is {self.token}, and was given to {job['run_name']}, too"
        if job["state"] not in allowed:
            return f"job {self.id} is {self.is_} (perhaps {self.may_be}), and found {job['state']}"
        if job["priority"] not in (self.priority, self.may_have):
            return f"job {self.id} has priority {self.priority}, and was found with {job['priority']}"
        return None

    def ended_wrong(self, job: dict[str, Any]) -> bool:
        """Whether it has ended, and not with its exit code."""
        if job["state"] not in ("Finished", "Failed"):
            return False
        return (job["exit_code"], job["state"]) != (self.code, "Failed" if self.code else "Finished")


@dataclass
class Gate:
    """Open while the daemon is up. `parked` is how many clients wait at it."""

    opened: threading.Event = field(default_factory=threading.Event)
    parked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_(self) -> None:
        """Wait until it is open."""
        if self.opened.is_set():
            return
        with self.lock:
            self.parked += 1
        self.opened.wait()
        with self.lock:
            self.parked -= 1


class Client(threading.Thread):
    """Submits, one by one and in batches, holds, releases, cancels and updates, until `leave` is set and nothing is in
    doubt any more. `jobs` are all that were acknowledged, `requests` counts the answers by kind of request."""

    def __init__(self, daemon: Daemon, number: int, gate: Gate, seed: str) -> None:
        super().__init__(name=f"client {number}", daemon=True)
        self.jobs: list[Wanted] = []
        self.requests: Counter[str] = Counter()
        self.lost_answers = 0
        self.leave = threading.Event()
        self.failure: BaseException | None = None
        self._daemon = daemon
        self._gate = gate
        self._chance = random.Random(seed)
        self._later = time.time() + 86_400
        self._tokens = (f"c{number}n{n}" for n in count())

    def run(self) -> None:
        try:
            while not self.leave.is_set():
                self._act()
                self.leave.wait(self._chance.random() * 0.04)  # the shape of the load; nothing depends on it
        except BaseException as failure:
            self.failure = failure
            raise

    def _act(self) -> None:
        kind = self._chance.choice(["run", "run", "batch", "held", "later", "change", "change", "change", "compact"])
        if kind == "compact" and self._chance.random() < 0.1:
            self._ask("compact", "POST", "/state/compact", {})
        elif kind in ("run", "held", "later"):
            self._submit([self._wanted("free" if kind == "run" else kind)])
        elif kind == "batch":
            self._submit([self._wanted("free") for _ in range(self._chance.randrange(2, 5))])
        elif changeable := [job for job in self.jobs if job.is_ in MAY_FOLLOW][-8:]:
            self._change(self._chance.choice(changeable))

    # -- what it asks

    def _wanted(self, is_: str) -> Wanted:
        return Wanted(next(self._tokens), self._chance.randrange(CODES), is_)

    def _submit(self, jobs: list[Wanted]) -> None:
        bodies = [self._body(job) for job in jobs]
        if len(bodies) == 1:
            made = [self._ask("submit", "POST", "/jobs", bodies[0]).body]
        else:
            made = self._ask("batch", "POST", "/jobs/batch", bodies).body
        for job, record in zip(jobs, made, strict=True):
            job.id = record["id"]
            self.jobs.append(job)

    def _body(self, job: Wanted) -> dict[str, Any]:
        command = f"echo $GFLOW_JOB_ID {job.token} >>ran; exit {job.code}"
        body = {"command": command, "run_name": job.token, "submit_key": job.token, "gpus": 1}
        body |= {"run_dir": str(self._daemon.work)}
        return body | {"held": {"hold": True}, "later": {"scheduled_at": self._later}}.get(job.is_, {})

    def _change(self, job: Wanted) -> None:
        if self._chance.random() < 0.4:
            job.may_have = self._chance.randrange(1, 200)
            self._ask("update", "PATCH", f"/jobs/{job.id}", {"priority": job.may_have})
            job.priority, job.may_have = job.may_have, None
            return
        how = self._chance.choice(MAY_FOLLOW[job.is_])
        job.may_be = BECOMES[job.is_, how]
        self._ask(how, "POST", f"/jobs/{job.id}/{how}", {}, once_done=409)
        job.is_, job.may_be = job.may_be, None

    def _ask(self, kind: str, method: str, path: str, body: Any, once_done: int = 0) -> Answer:
        """The answer, however often the daemon dies meanwhile. `once_done` is what it may be where one was lost."""
        lost = False
        while True:
            self._gate.pass_()
            try:
                answer = self._daemon.http(method, path, body)
            except (ConnectionRefusedError, FileNotFoundError):
                continue  # never sent
            except (OSError, HTTPException, ValueError):
                self.lost_answers += 1
                lost = True
                continue
            assert answer.status in (200, 201) or (lost and answer.status == once_done), (kind, path, answer)
            self.requests[kind] += 1
            return answer
