"""gqueue --watch: drawn anew on events, without flicker, and without asking the daemon in between."""

import os
import queue
import sys
from pathlib import Path

import pytest

import gflow
from gflow.cli.gqueue import COMMAND
from gflow.cli.watch import counted_on
from support.fake_daemon import reply
from support.terminal import Terminal
from support.wait import until

GROUP = {"group_id": "g", "first_job_id": 1, "name": "sweep", "user": "ann", "max_concurrent": 2}
GROUP |= {"jobs": 4, "counts": {"Finished": 2, "Running": 2}}
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
GREETING = b"event: connected\ndata: {}\n\n"
STARTED = b'id: 7\nevent: job_started\ndata: {"type":"job_started"}\n\n'


def piece(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Stage:
    """A daemon with a queue to look at and events to send."""

    def __init__(self, daemon, home):
        self.daemon, self.home = daemon, home
        self.rows = [["1", "train", "R", "00:00:07", "0", "-"], ["2", "eval", "PD", "-", "1", "(Resources)"]]
        self.events = queue.Queue()
        daemon.on("GET", "/queue", lambda asked: reply(self.text(asked), headers={"X-Total": str(len(self.rows))}))
        daemon.on("GET", "/events", lambda asked: self.stream())
        daemon.on("GET", "/groups", reply([GROUP]))

    def text(self, asked):
        columns = len(asked.query["columns"].split(","))
        return "".join("\x1f".join([*row, *["-"] * (columns - len(row))]) + "\n" for row in self.rows)

    def stream(self):
        yield HEAD + piece(GREETING)
        while (data := self.events.get()) is not None:
            yield piece(data)

    def asked(self, path="/queue"):
        return sum(one.path == path for one in self.daemon.asked)

    def watch(self, *argv, columns=80, lines=24):
        code = "import sys; sys.argv[0] = 'gqueue'; from gflow.cli.gqueue import main; main()"
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "XDG_RUNTIME_DIR": str(self.home)}
        environment |= {"PYTHONPATH": str(Path(gflow.__file__).parents[1]), "LANG": "C.UTF-8", "TZ": "UTC"}
        return Terminal([sys.executable, "-c", code, "-w", *argv], environment, columns, lines)


@pytest.fixture
def stage(daemon, home):
    made = Stage(daemon, home)
    yield made
    made.events.put(None)
    made.events.put(None)


def test_it_asks_on_events_only_and_never_clears_the_screen(stage):
    with stage.watch("--interval", "0.2") as terminal:
        until(lambda: "00:00:09" in terminal.picture, "the time to be counted on")
        assert "train ○" in terminal.picture
        assert stage.asked() == 1, "time alone is no reason to ask"
        stage.rows[1][2] = "R"
        stage.events.put(STARTED)
        until(lambda: "eval ○" in terminal.picture, "the start to be shown")
        assert stage.asked() == 2
        terminal.press("q")
        assert terminal.end() == 0
        assert "\x1b[2J" not in terminal.printed
        assert terminal.printed.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")


def test_a_burst_is_one_picture_and_ctrl_c_ends_it(stage):
    with stage.watch() as terminal:
        until(lambda: terminal.pictures, "the first picture")
        for _ in range(200):
            stage.events.put(STARTED)
        until(lambda: stage.asked() > 1 and stage.events.empty(), "the burst to be over")
        stage.rows = []
        stage.events.put(STARTED)
        until(lambda: "No jobs found." in terminal.picture, "the last event to be shown")
        assert stage.asked() < 20
        terminal.press("\x03")
        assert terminal.end() == 0


def test_it_is_drawn_for_the_size_of_the_terminal_and_a_change_of_that(stage):
    stage.rows = [[str(at), "a-name-that-is-rather-long", "PD", "-", "1", "(Resources)"] for at in range(100)]
    with stage.watch(columns=80, lines=20) as terminal:
        until(lambda: terminal.pictures, "the first picture")
        assert len(terminal.pictures[-1]) == 20
        assert terminal.pictures[-1][-1] == " … 84 more lines"
        terminal.resize(40, 10)
        until(lambda: len(terminal.pictures[-1]) == 10, "the smaller picture")
        assert max(map(len, terminal.pictures[-1])) <= 40
        assert stage.asked() == 1


def test_bars_of_arrays_stay_at_the_bottom(stage):
    stage.rows = [[str(at), "sweep", "PD", "-", "1", "(Resources)", "g"] for at in range(100)]
    with stage.watch(lines=20) as terminal:
        until(lambda: terminal.pictures, "the first picture")
        assert len(terminal.pictures[-1]) == 20
        assert terminal.pictures[-1][-3:-1] == [" … 86 more lines", ""]
        assert terminal.pictures[-1][-1].endswith("2/4  2 running")
        terminal.resize(80, 3)
        until(lambda: len(terminal.pictures[-1]) == 3, "a picture without room for bars")


def test_a_daemon_that_went_away_is_waited_for(stage):
    with stage.watch() as terminal:
        until(lambda: terminal.pictures, "the first picture")
        stage.daemon.on("GET", "/events", b"")
        stage.events.put(None)
        until(lambda: "gflowd went away" in terminal.picture, "that to be said")
        assert "train" in terminal.picture, "what was seen last stays"
        stage.rows = [["3", "later", "PD", "-", "1", "(Resources)"]]
        stage.daemon.on("GET", "/events", lambda asked: stage.stream())
        until(lambda: "later" in terminal.picture and "went away" not in terminal.picture, "it to be back")
        terminal.press("q")
        assert terminal.end() == 0


def test_only_what_counts_is_counted_on():
    asked = ("TIME", "REMAINING", "ST", "TIMELIMIT")
    rows = [["23:59:58", "00:00:03", "R", "1-00:00:00"], ["00:00:01", "-", "CD", "-"], ["-", "UNLIMITED", "R", "-"]]
    assert counted_on(rows, asked, 5.5) == [["1-00:00:03", "00:00:00", "R", "1-00:00:00"], *rows[1:]]
    assert counted_on([["1-23:59:59", "-", "R", "-"]], asked, 1.0)[0][0] == "2-00:00:00"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["-w"], "--watch needs a terminal"),
        (["-w", "-o", "json"], "--watch is for people"),
        (["-t", "-o", "csv"], "--tree is for people"),
        (["-g", "-o", "yaml"], "--by-state is for people"),
        (["--group", "-o", "yaml"], "--by-state is for people"),
        (["-t", "--group"], "--tree and --by-state cannot be used together"),
        (["--progress", "--group", "lr"], "--progress is a table of its own"),
        (["--interval", "2"], "--interval is for --watch"),
        (["--interval", "0"], "from 0.1 to 86400"),
        (["--progress", "-t"], "--progress is a table of its own"),
        (["-t", "-g"], "cannot be used together"),
    ],
)
def test_what_does_not_go_together(run, daemon, argv, complaint):
    done = run(COMMAND, *argv)
    assert (done.status, done.out) == (2, "")
    assert complaint in done.err
