"""gjob top and close-sessions."""

import pytest

from gflow.cli.gjob import COMMAND
from gflow.cli.job import top
from support.fake_daemon import reply

ENDED = reply({"error": "Job 7 is Finished, so no process of it runs", "code": "wrong_state"}, 409)


def process(pid, cpu_secs, memory=1 << 30, started_at=0.0, command="python x"):
    about = {"parent": 1, "state": "R", "threads": 2, "command": command}
    return {"pid": pid, "cpu_secs": cpu_secs, "memory_bytes": memory, "started_at": started_at, **about}


def look(at, *processes, gpus=()):
    return {"id": 7, "name": "train", "cpus": 8, "measured_at": at, "processes": [*processes], "gpus": [*gpus]}


def test_cpu_use_is_that_between_two_looks_and_of_a_new_process_that_since_its_start():
    before = look(100.0, process(1, 50.0), process(2, 0.0, started_at=90.0))
    now = look(110.0, process(1, 65.0), process(2, 0.0, started_at=105.0), process(3, 4.0, started_at=106.0))
    assert top.cpu_shares(now, before) == {1: 150.0, 2: 0.0, 3: 100.0}
    assert top.cpu_shares(look(10.0, process(1, 5.0)), None) == {1: 50.0}


def test_the_busiest_come_first_with_sums_and_gpus():
    gpu = {"index": 3, "used_mb": 9000, "memory_mb": 24576, "job_mb": 8192, "utilisation_pct": 97}
    dark = {"index": 4, "used_mb": None, "memory_mb": None, "job_mb": None, "utilisation_pct": None}
    now = look(10.0, process(1, 1.0), process(2, 9.0, 512 << 10, command="a\x1b[2Jb"), gpus=[gpu, dark])
    assert top.lines(now, None) == [
        "Job 7 (train): 2 processes, CPU 100% of 8 cores, memory 1.0G",
        "GPU 3: busy 97%, memory 8.0G (8.8G of 24.0G in use)",
        "GPU 4: busy ?, memory ?",
        " PID   CPU   MEMORY   THREADS   ST   TIME       COMMAND",
        " 2     90%   512K     2         R    00:00:09   a?[2Jb",
        " 1     10%   1.0G     2         R    00:00:01   python x",
    ]
    assert top.lines(look(1.0), None) == ["Job 7 (train): 0 processes, CPU 0.0% of 8 cores, memory 0K"]
    assert max(map(len, top.lines(now, None, 20))) == 20


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(top, "SAMPLE_SECS", 0.0)


def test_once(run, daemon, quick):
    answers = iter([reply(look(10.0, process(1, 5.0))), reply(look(12.0, process(1, 6.0)))])
    daemon.on("GET", "/jobs/7/processes", lambda _asked: next(answers))
    daemon.on("GET", "/jobs/8/processes", reply({"error": "Job 8 does not exist", "code": "not_found"}, 404))
    done = run(COMMAND, "top", "7,8")
    assert (done.status, done.err) == (1, "gjob top: Job 8 does not exist\n")
    assert done.out.startswith("Job 7 (train): 1 process, CPU 50% of 8 cores")
    assert run(COMMAND, "top", "8", "--watch").status == 1


def test_live_until_the_job_has_ended(run, daemon, quick):
    answers = iter([reply(look(float(at), process(1, at / 2))) for at in range(4)])
    daemon.on("GET", "/jobs/7/processes", lambda _asked: next(answers, ENDED))
    done = run(COMMAND, "top", "7", "-w", "--interval", "0.1")
    assert done.status == 0
    assert done.out.count("Job 7 (train): 1 process") == 3
    assert done.out.endswith("Job 7 does not run any more.\n")
    assert "\x1b" not in done.out, "no screen in a pipe"


class _Screen:
    """A terminal of 30 x 3 at which q is pressed after some pictures."""

    def __init__(self, pictures):
        self.pictures, self.drawn = pictures, []

    def size(self):
        return 30, 3

    def draw(self, lines):
        self.drawn.append(lines)

    def quits_within(self, secs):
        return len(self.drawn) == self.pictures


def test_q_ends_it():
    class Client:
        def processes(self, job_id):
            return look(10.0, process(1, 5.0))

    screen = _Screen(2)
    assert top._draw_again(screen, Client(), {7: look(9.0, process(1, 4.0))}, 0.1) == []
    (head, *_), _ = screen.drawn
    assert head.endswith("(q: quit)")
    assert {len(lines) for lines in screen.drawn} == {3}


@pytest.mark.parametrize("interval", ["0", "x", "nan", "-1", "1e9"])
def test_intervals_that_are_none(run, daemon, interval):
    assert run(COMMAND, "top", "7", "-w", "--interval", interval).status == 2


# -- terminals -----------------------------------------------------------------------------------------------------


@pytest.fixture
def terminals(daemon):
    def terminal(job_id, name, state):
        return {"id": job_id, "name": name, "state": state, "user": "ann", "session": f"gjob-{job_id}"}

    jobs = [terminal(1, "train-1", "Finished"), terminal(2, "train-2", "Failed"), terminal(3, "test", "Running")]
    daemon.on("GET", "/terminals", reply(jobs))
    for job_id in (1, 2):
        daemon.on("DELETE", f"/jobs/{job_id}/terminal", reply({"session": f"gjob-{job_id}", "closed": True}))
    daemon.on("DELETE", "/jobs/4/terminal", reply({"session": "gjob-4", "closed": False}))
    daemon.on("DELETE", "/jobs/3/terminal", reply({"error": "Job 3 is Running: …", "code": "wrong_state"}, 409))
    return daemon


@pytest.mark.parametrize(
    ("argv", "closed", "summary", "status"),
    [
        (["--all"], [1, 2], "Closed=2 AlreadyClosed=0 Failed=0", 0),
        (["1", "4"], [1], "Closed=1 AlreadyClosed=1 Failed=0", 0),
        (["-j", "1,3"], [1], "Closed=1 AlreadyClosed=0 Failed=1", 1),
        (["-s", "Failed"], [2], "Closed=1 AlreadyClosed=0 Failed=0", 0),
        (["-p", "train"], [1, 2], "Closed=2 AlreadyClosed=0 Failed=0", 0),
        (["-p", "*-2"], [2], "Closed=1 AlreadyClosed=0 Failed=0", 0),
        (["--names", "train-1,nothing"], [1], "Closed=1 AlreadyClosed=0 Failed=0", 0),
        (["1-2", "-s", "CD"], [1], "Closed=1 AlreadyClosed=0 Failed=0", 0),
    ],
)
def test_terminals_are_closed_by_ids_names_patterns_and_states(run, terminals, argv, closed, summary, status):
    done = run(COMMAND, "close-sessions", *argv)
    assert done.out.splitlines() == [*(f"gjob-{job_id}" for job_id in closed), f"gjob close-sessions: {summary}"]
    assert done.status == status


@pytest.mark.parametrize("argv", [["-p", "["], ["--names", "train-1,x[1"]])
def test_a_pattern_that_is_none_is_refused(run, terminals, argv):
    done = run(COMMAND, "close-sessions", *argv)
    assert (done.status, done.out) == (2, "")
    assert "has a [ without its ]" in done.err
    assert terminals.asked == []


def test_a_dry_run_closes_nothing(run, terminals):
    done = run(COMMAND, "close", "--all", "--dry-run")
    assert (done.status, done.out) == (0, "gjob-1\ngjob-2\n")
    assert {asked.method for asked in terminals.asked} == {"GET"}


def test_somebody_has_to_say_which(run, daemon):
    done = run(COMMAND, "close-sessions")
    assert (done.status, daemon.asked) == (2, [])
