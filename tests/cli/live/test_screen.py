"""The live view without a terminal, driven by the library's pilot, before a daemon that says what a test wants."""

import asyncio
import io
import math
import queue
import sys
import threading

import pytest
from textual.events import Key, Paste

from gflow.cli import top, umbrella
from gflow.cli.command import Failure
from gflow.cli.live.app import Top
from gflow.cli.live.feed import Scope
from gflow.cli.live.picture import ASKED
from support import fake_daemon
from support.fake_daemon import reply

DEADLINE_SECS = 20


def cells(job_id, name, state, **more):
    known = {"JOBID": str(job_id), "NAME": name, "ST": state, "TIME": "00:00:05" if state == "R" else "-"}
    return "\x1f".join((dict.fromkeys(ASKED, "-") | known | {"USER": "ana"} | more)[name] for name in ASKED) + "\n"


class Machine:
    """The fake daemon's jobs, and its stream of events."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.jobs = [cells(1, "train", "R"), cells(2, "eval", "PD"), cells(3, "later", "H")]
        self.gpus = [{"index": 0, "available": False, "reason": None, "jobs": [{"id": 1, "name": "train"}]}]
        self.streams = []
        daemon.on("GET", "/events", self.events)
        daemon.on("GET", "/queue", self.queue)
        daemon.on("GET", "/info", lambda asked: reply({"gpus": self.gpus}))
        daemon.on("GET", "/jobs/1/log/stream", fake_daemon.log(b"epoch 1\r\nepoch 2\r\n"))
        daemon.on("GET", "/jobs/1", reply({"state": "Finished"}))
        for job_id in (2, 3):
            reasons = [{"text": f"Job {job_id} has its reasons."}]
            daemon.on("GET", f"/jobs/{job_id}/why", reply({"id": job_id, "state": "Queued", "reasons": reasons}))

    def events(self, asked):
        pieces = queue.Queue()
        pieces.put(b"HTTP/1.1 200 OK\r\n\r\nevent: connected\ndata: {}\n\n")
        self.streams.append(pieces)
        return iter(pieces.get, None)

    def queue(self, asked):
        wanted, ids = asked.query["states"].split(","), asked.query.get("ids")
        places = {name: ASKED.index(name) for name in ("ST", "JOBID")}
        split = [(line, line.split("\x1f")) for line in self.jobs]
        found = [line for line, row in split if wanted == ["all"] or row[places["ST"]] in wanted]
        found = [line for line in found if ids is None or line.startswith(f"{ids}\x1f")]
        return reply("".join(found), headers={"X-Total": str(len(found))})

    def tell(self):
        self.streams[-1].put(b'id: 1\nevent: job_started\ndata: {"type":"job_started"}\n\n')

    def hang_up(self):
        self.streams[-1].put(None)


@pytest.fixture
def machine(daemon):
    found = Machine(daemon)
    yield found
    for stream in found.streams:
        stream.put(None)


def shown(app):
    """The text of the screen."""
    return "\n".join("".join(part.text for part in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot, look):
    """Wait until `look` holds."""
    async with asyncio.timeout(DEADLINE_SECS):
        while not look():
            await pilot.pause(0.01)


def play(machine, scenario, size=(80, 24), scope=None):
    """Run the view, and `scenario(app, pilot)` once it shows the queue."""

    async def run():
        app = Top(str(machine.daemon.path), scope or Scope())
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: "train" in shown(app))
            await scenario(app, pilot)

    asyncio.run(run())


def asked(machine, method, path):
    return [one for one in machine.daemon.asked if (one.method, one.path) == (method, path)]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 20)])
def test_queue_gpus_log_and_help_are_there_in_every_size(machine, size):
    async def scenario(app, pilot):
        await until(pilot, lambda: "epoch 2" in shown(app))
        text = shown(app)
        assert [len(line) for line in text.splitlines()] == [size[0]] * size[1]
        for word in ("gflow top", "JOBID", "train", "eval", "later", "0 1 train", "job 1 train (R)", "q quit"):
            assert word in text

    play(machine, scenario, size)


def test_it_looks_again_when_it_is_told_and_not_before(machine):
    async def scenario(app, pilot):
        await until(pilot, lambda: "epoch 2" in shown(app))
        looks = len(asked(machine, "GET", "/queue"))
        machine.jobs.append(cells(4, "new-one", "PD"))
        await pilot.pause(0.3)
        assert len(asked(machine, "GET", "/queue")) == looks
        machine.tell()
        await until(pilot, lambda: "new-one" in shown(app))

    play(machine, scenario)


def test_the_selected_job_is_asked_about(machine):
    async def scenario(app, pilot):
        await pilot.press("down")
        await until(pilot, lambda: "Job 2 has its reasons." in shown(app))
        await pilot.press("end")
        await until(pilot, lambda: "Job 3 has its reasons." in shown(app))
        await pilot.press("k", "k", "k", "k")
        await until(pilot, lambda: "epoch 2" in shown(app))

    play(machine, scenario)


def test_a_job_that_has_ended_stays_as_long_as_it_is_selected(machine):
    async def scenario(app, pilot):
        await until(pilot, lambda: "epoch 2" in shown(app))
        await until(pilot, lambda: app._feed.scope.pinned == 1)
        machine.jobs[0] = cells(1, "train", "CD")
        machine.tell()
        await until(pilot, lambda: "job 1 train (CD)" in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: app._feed.scope.pinned == 2)
        machine.tell()
        await until(pilot, lambda: "train (CD)" not in shown(app) and " CD " not in shown(app))

    play(machine, scenario)


def test_cancelling_asks_first(machine):
    machine.daemon.on("POST", "/jobs/1/cancel", reply(None))

    async def scenario(app, pilot):
        await pilot.press("c")
        await until(pilot, lambda: "Cancel job 1 (train)?" in shown(app) and app.screen.seen_at < math.inf)
        await pilot.press("n")
        await until(pilot, lambda: "Cancel job 1" not in shown(app))
        assert asked(machine, "POST", "/jobs/1/cancel") == []
        await pilot.press("c")
        await until(pilot, lambda: "Cancel job 1 (train)?" in shown(app) and app.screen.seen_at < math.inf)
        await pilot.press("y")
        await until(pilot, lambda: "Job 1 cancelled." in shown(app))
        assert len(asked(machine, "POST", "/jobs/1/cancel")) == 1

    play(machine, scenario)


def test_holding_releasing_and_being_refused(machine):
    machine.daemon.on("POST", "/jobs/2/hold", reply(None))
    machine.daemon.on("POST", "/jobs/3/release", reply(None))

    async def scenario(app, pilot):
        await until(pilot, lambda: app._queue.seen_at < math.inf)
        await pilot.press("h")
        await until(pilot, lambda: "no route POST /jobs/1/hold" in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: app._queue.seen_at < math.inf)
        await pilot.press("h")
        await until(pilot, lambda: "Job 2 put on hold." in shown(app))
        await pilot.press("down")
        await until(pilot, lambda: app._queue.seen_at < math.inf)
        await pilot.press("r")
        await until(pilot, lambda: "Job 3 released." in shown(app))

    play(machine, scenario)


def test_filtering(machine):
    async def scenario(app, pilot):
        await pilot.press("slash", *"hold")
        await until(pilot, lambda: "later" in shown(app) and "eval" not in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "filter: hold" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "eval" in shown(app))
        await pilot.press("slash", "q", "escape")
        assert app.is_running

    play(machine, scenario)


def type_at_once(app, keys):
    """As if all of it came in one read."""
    for key in keys:
        name = {"/": "slash", "\r": "enter"}.get(key, key)
        app.post_message(Key(name, key))


def test_what_follows_a_slash_is_text_up_to_enter_however_it_comes(machine):
    async def scenario(app, pilot):
        await until(pilot, lambda: app._queue.seen_at < math.inf)
        type_at_once(app, "/cyhrq")
        await until(pilot, lambda: "cyhrq" in shown(app))
        type_at_once(app, "\r")
        await until(pilot, lambda: "filter: cyhrq" in shown(app))
        await pilot.press("escape")
        type_at_once(app, "/eval\rh")  # h is for a job that nobody has seen selected
        await until(pilot, lambda: "not done: the key came before job 2" in shown(app))
        app.post_message(Paste("/later\rc"))
        await pilot.press("slash", "left", "backspace")
        app.post_message(Paste("ab\r\ny"))

        await until(pilot, lambda: app._filter == "evabl")
        assert app.is_running

    play(machine, scenario)
    assert [one.path for one in machine.daemon.asked if one.method == "POST"] == []


def test_an_answer_that_comes_before_the_question_is_none(machine):
    async def scenario(app, pilot):
        type_at_once(app, "cy")
        await until(pilot, lambda: "Cancel job 1 (train)?" in shown(app) and app.screen.seen_at < math.inf)
        await pilot.press("n")

    play(machine, scenario)
    assert asked(machine, "POST", "/jobs/1/cancel") == []


def test_mine_and_ended_are_asked_of_the_daemon(machine):
    machine.jobs.append(cells(9, "bygone", "F"))

    async def scenario(app, pilot):
        await pilot.press("e")
        await until(pilot, lambda: "bygone" in shown(app))
        await pilot.press("m")
        await until(pilot, lambda: asked(machine, "GET", "/queue")[-1].query.get("mine") == "1")
        assert "mine" in shown(app)

    play(machine, scenario, scope=Scope(users="ana,ben", project="p1"))
    first = asked(machine, "GET", "/queue")[0].query
    assert (first["users"], first["project"]) == ("ana,ben", "p1")


def test_the_log_can_have_the_whole_screen_and_be_looked_back_in(machine):
    text = b"".join(b"line %d\r\n" % number for number in range(100))
    machine.daemon.on("GET", "/jobs/1/log/stream", fake_daemon.log(text))

    async def scenario(app, pilot):
        await until(pilot, lambda: "line 99" in shown(app))
        await pilot.press("l")
        await until(pilot, lambda: "line 80" in shown(app) and "JOBID" not in shown(app))
        await pilot.press(*["left_square_bracket"] * 9)
        await until(pilot, lambda: "line 0 " in shown(app))
        await pilot.press(*["right_square_bracket"] * 9, "l")
        await until(pilot, lambda: "line 99" in shown(app) and "JOBID" in shown(app))

    play(machine, scenario)


def test_keys_are_explained(machine):
    async def scenario(app, pilot):
        await pilot.press("question_mark")
        await until(pilot, lambda: "another job" in shown(app) and app.screen.seen_at < math.inf)
        await pilot.press("q")
        await until(pilot, lambda: "another job" not in shown(app))
        assert app.is_running

    play(machine, scenario, (40, 24))


def test_a_daemon_that_goes_away_is_looked_for(machine):
    async def scenario(app, pilot):
        machine.jobs.append(cells(4, "new-one", "PD"))
        machine.daemon.on("GET", "/events", reply({"error": "stopping", "code": "stopping"}, 503))
        machine.hang_up()
        await until(pilot, lambda: "reconnecting" in shown(app))
        await until(pilot, lambda: "stopping" in shown(app))
        assert "train" in shown(app)
        machine.daemon.on("GET", "/events", machine.events)
        await until(pilot, lambda: "new-one" in shown(app) and "stopping" not in shown(app))

    play(machine, scenario)


def test_a_daemon_that_does_not_answer_holds_up_nobody(machine):
    gate = threading.Event()

    async def scenario(app, pilot):
        machine.daemon.on("GET", "/queue", lambda asked: gate.wait(DEADLINE_SECS) and machine.queue(asked))
        machine.daemon.on("POST", "/jobs/2/hold", lambda asked: gate.wait(DEADLINE_SECS) and reply(None))
        machine.tell()
        await until(pilot, lambda: app._feed.asking_since is not None)
        app._feed.asking_since -= 60
        await pilot.press("down")
        await until(pilot, lambda: app._queue.seen_at < math.inf)
        await pilot.press("h")
        await until(pilot, lambda: "slow: 6" in shown(app) and "asking gflowd" in shown(app))
        assert "job 2 eval" in shown(app)
        await pilot.press("q")

    try:
        play(machine, scenario)
    finally:
        gate.set()


def test_measures_of_gpus_are_asked_for_as_no_event_tells_them(machine, monkeypatch):
    monkeypatch.setattr("gflow.cli.live.feed.MEASURE_SECS", 0.05)
    machine.gpus[0] |= {"utilisation_pct": 10}

    async def scenario(app, pilot):
        await until(pilot, lambda: " 10% " in shown(app))
        machine.gpus[0] |= {"utilisation_pct": 90}
        await until(pilot, lambda: " 90% " in shown(app))

    play(machine, scenario)


def test_without_a_terminal_it_says_what_to_use_instead(run, daemon):
    done = run(top.COMMAND)
    assert (done.status, done.out) == (1, "")
    assert "gqueue" in done.err


def test_a_terminal_that_has_no_lines_is_refused(run, daemon, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with pytest.raises(Failure, match="the encoding ascii has no lines to draw with"):
        top.run({"url": None, "config": None})


def test_an_error_of_its_own_is_one_line_and_no_success(run, daemon, monkeypatch):
    class Broken:
        error = ValueError("boom")

        def __init__(self, path, scope):
            pass

        def leave(self, status):
            pass

        def run(self):
            pass

    monkeypatch.setattr("gflow.cli.live.app.Top", Broken)
    monkeypatch.setattr("gflow.cli.live.terminal.draws_boxes", lambda: True)
    monkeypatch.setattr("gflow.cli.live.terminal.on_signals", lambda leave: None)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    done = run(top.COMMAND)
    assert (done.status, done.err) == (1, "top: ended by an error of its own: ValueError: boom\n")


def test_without_the_library_it_says_how_to_get_it(run, daemon, monkeypatch):
    monkeypatch.delitem(sys.modules, "gflow.cli.live.app")
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    done = run(umbrella.COMMAND.load("top"))
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("top: this needs the library textual; in gflow's source: ")
    assert done.err.endswith(" install '.[top]'\n")


@pytest.mark.parametrize(
    ("receipt", "command"),
    [
        ("pipx_metadata.json", "pipx install --force '.[top]'"),
        ("uv-receipt.toml", "uv tool install '.[top]'"),
        (None, f"{sys.executable} -m pip install '.[top]'"),
    ],
)
def test_it_is_installed_by_what_installed_gflow(tmp_path, monkeypatch, receipt, command):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    if receipt is not None:
        (tmp_path / receipt).touch()
    assert top._install_with("top") == command


def test_who_is_not_there_is_said_before_anything_is_shown(run, home, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    done = run(top.COMMAND)
    assert done.status == 1
    assert "cannot reach gflowd" in done.err
    assert done.out == ""
