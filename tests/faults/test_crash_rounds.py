"""The daemon under load is killed at random moments, again and again: nothing acknowledged is lost, nothing runs twice.

Several clients submit, hold, release, cancel and update at once. The jobs are real ones in tmux; each leaves its id and
its token in a ledger and ends with the exit code it was made for. Few jobs are kept at hand and not for long, so that
ended ones move to the history all the time; snapshots are asked for now and then. `GFLOW_CRASH_ROUNDS=50` goes on
longer, and with `pytest -s` a table says how it went.
"""

import os
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from gflow.store.history import History, HistoryError
from support.crash_load import Client, Gate, Wanted
from support.daemon import Daemon
from support.effort import examples
from support.wait import until

ROUNDS = int(os.environ.get("GFLOW_CRASH_ROUNDS", str(max(2, examples(6)))))
SEED = os.environ.get("GFLOW_CRASH_SEED") or str(time.time_ns())
CLIENTS = 4
CONFIG = """\
[daemon]
simulated_gpus = 8

[daemon.history_keep]
jobs = 20
"""

HASTY = """\
import sys
from gflow.cli.gflowd import main
from gflow.daemon import historian
historian.FRESH_SECS, historian.PAUSE_SECS, historian.LOOK_AGAIN_SECS = 4.0, 0.1, 1.0
sys.argv[0] = "gflowd"
main()
"""
"""A daemon whose ended jobs move to the history within seconds, and not minutes."""


class Rounds:
    """One daemon, its clients, and how it went so far."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.chance = random.Random(SEED)
        self.gate = Gate()
        self.clients = [Client(daemon, number, self.gate, f"{SEED} {number}") for number in range(CLIENTS)]
        self.kills = self.restarts = 0
        self._settled: set[int] = set()

    @property
    def jobs(self) -> list[Wanted]:
        """All that were acknowledged."""
        return [job for client in self.clients for job in client.jobs]

    @property
    def answers(self) -> int:
        return sum(client.requests.total() for client in self.clients)

    def run(self) -> None:
        for client in self.clients:
            client.start()
        for _ in range(ROUNDS):
            self.gate.opened.set()
            self._wait_for_some_answers()
            self._kill()
            self._start()
            self._check()
        self._let_them_leave()

    def _wait_for_some_answers(self) -> None:
        """And a moment more, so that it dies anywhere in what it does."""
        enough = self.answers + self.chance.randrange(20, 80)
        until(lambda: self.answers >= enough or self._failures(), "some answers", 60)
        assert not self._failures(), self._failures()
        self._a_moment(0.05)

    def _a_moment(self, most_secs: float) -> None:
        """Chance decides when it dies; nothing is waited for."""
        threading.Event().wait(self.chance.random() * most_secs)

    def _failures(self) -> list[BaseException]:
        return [client.failure for client in self.clients if client.failure is not None]

    def _kill(self) -> None:
        self.daemon.kill9()
        self.kills += 1
        self.gate.opened.clear()
        until(lambda: self.gate.parked == CLIENTS or self._failures(), "an end of all requests")
        assert not self._failures(), self._failures()

    def _start(self) -> None:
        """In some rounds it is killed once more while it starts."""
        if self.chance.random() < 0.3:
            self.daemon.begin()
            self._a_moment(0.8)
            self.daemon.kill9()
            self.kills += 1
        self.daemon.start()
        self.restarts += 1

    def _check(self) -> None:
        """Everything acknowledged is in force right after a start."""
        assert self.daemon.get("/health")["status"] == "ok"
        hot = self.daemon.jobs()
        for job in self.jobs:
            if job.id not in self._settled:
                record = hot.get(job.id) or self.daemon.job(job.id)
                assert not job.problem(record), job.problem(record)
                if job.id not in hot:
                    self._settled.add(job.id)  # ended, and in the history: looked at once more at the end

    def _let_them_leave(self) -> None:
        for client in self.clients:
            client.leave.set()
        self.gate.opened.set()
        for client in self.clients:
            client.join(60)
            assert not client.is_alive()
        assert not self._failures(), self._failures()

    # -- at the end

    def wait_for_all_ends(self) -> None:
        waiting = {job.id for job in self.jobs if job.is_ == "later"}
        until(lambda: self._busy() <= waiting, "the ends of all jobs", 60 + 2 * ROUNDS)
        until(self._moved, "ended jobs in the history", 60)

    def _moved(self) -> int:
        history = History(self.daemon.data, read_only=True)
        try:
            return history.count()
        except HistoryError:  # the daemon is writing to it
            return 0
        finally:
            history.close()

    def _busy(self) -> set[int]:
        return {job["id"] for job in self.daemon.jobs().values() if job["state"] in ("Queued", "Running")}

    def summary(self) -> dict[str, int]:
        """What is promised, in numbers."""
        records = {job.id: self.daemon.http("GET", f"/jobs/{job.id}") for job in self.jobs}
        found = {job_id: answer.body for job_id, answer in records.items() if answer.status == 200}
        lines = [tuple(line.split()) for line in (self.daemon.work / "ran").read_text().splitlines()]
        runs = Counter(token for _, token in lines)
        free = [job for job in self.jobs if job.is_ == "free"]
        known = [job for job in self.jobs if job.id in found]
        return {
            "acknowledged": len(self.jobs),
            "found": len(found),
            "in the history": self._moved(),
            "ran": len(runs),
            "ran twice": sum(times > 1 for times in runs.values()),
            "never ran": sum(not runs[job.token] for job in free),
            "ran unasked": len(runs.keys() - {job.token for job in free}),
            "ids reused": len(self.jobs) - len(records) + sum(found[j.id]["run_name"] != j.token for j in known),
            "wrong exit codes": sum(job.ended_wrong(found[job.id]) for job in known),
            "not in force": sum(job.problem(found[job.id]) is not None for job in known),
            "strays": self._strays({job.id for job in self.jobs}),
            "answers": self.answers,
            "lost answers": sum(client.lost_answers for client in self.clients),
            "kills": self.kills,
            "restarts": self.restarts,
        }

    def _strays(self, ours: set[int | None]) -> int:
        """Jobs nobody knows of: every submission was repeated until it was answered, so there must be none."""
        highest = max(filter(None, ours))
        known = {job_id for job_id in range(1, highest + 1) if self._exists(job_id)}
        return len(known - ours)

    def _exists(self, job_id: int) -> bool:
        return self.daemon.http("GET", f"/jobs/{job_id}").status == 200


@pytest.fixture
def rounds() -> Iterator[Rounds]:
    daemon = Daemon()
    daemon.program = ("-c", HASTY)
    config = daemon.root / "config" / "gflow"
    config.mkdir(parents=True)
    (config / "gflow.toml").write_text(CONFIG)
    (config / "gflow.toml").chmod(0o600)
    with daemon:
        yield Rounds(daemon)


@pytest.mark.timeout(180 + 20 * ROUNDS)
def test_nothing_acknowledged_is_lost_and_nothing_runs_twice(rounds: Rounds):
    began = time.monotonic()
    rounds.run()
    rounds.wait_for_all_ends()
    summary = rounds.summary()
    table = "\n".join(f"{what:>18} {number:>6}" for what, number in summary.items())
    sys.stdout.write(f"\nseed {SEED}, {ROUNDS} rounds, {time.monotonic() - began:.0f} s\n{table}\n")
    bad = ("ran twice", "never ran", "ran unasked", "ids reused", "wrong exit codes", "not in force", "strays")
    assert {what: summary[what] for what in bad} == dict.fromkeys(bad, 0)
    assert summary["found"] == summary["acknowledged"] > 20 * ROUNDS
    assert summary["kills"] >= summary["restarts"] == ROUNDS
    assert rounds.daemon.stop() == 0
