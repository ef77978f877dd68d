"""Commands as processes: what is loaded, and what pipes, signals and full disks see of them."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import gflow
from support.fake_daemon import chunked, reply

SLOW = {
    "asyncclick",
    "re",
    "enum",
    "typing",
    "dataclasses",
    "socket",
    "http.client",
    "rich",
    "platformdirs",
    "trio",
    "msgspec",
}
SLOW |= {"argparse", "tomllib", "datetime", "shlex", "subprocess", "pathlib", "importlib.metadata", "collections"}


def environment(**more):
    source = str(Path(gflow.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": source, **more}


_PROGRAM = """
import sys
from gflow.cli.{name} import main
try:
    main()
finally:
    sys.stdout.flush()
    {code}
"""


def start(name, *argv, code="pass", **options):
    """A process that runs the command, and `code` after it."""
    program = _PROGRAM.format(name=name, code=code)
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-c", program, *argv], env=environment(), **options)


def loaded_by(name, *argv):
    """The modules a command has loaded at its end."""
    with start(name, *argv, code="print(*sys.modules, file=sys.stderr)", stdin=subprocess.DEVNULL) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return set(err.decode().split()), out


@pytest.mark.parametrize(
    ("name", "argv", "needs"),
    [
        ("gqueue", ["-u", "all", "-s", "R", "-j", "1"], set()),
        ("gcancel", ["7"], set()),
        ("gjob", ["hold", "7"], set()),
        ("gjob", ["log", "7"], set()),
        ("gbatch", ["--time", "10", "true"], {"re", "enum", "collections"}),
        ("ginfo", [], {"re", "enum", "collections"}),
    ],
)
def test_commands_load_nothing_slow(daemon, name, argv, needs):
    """`needs` is what the json module brings along."""
    daemon.on("GET", "/queue", reply("1\x1fa\x1fR\x1f-\x1f0\x1f-\n"))
    daemon.on("POST", "/jobs/7/cancel", reply(None))
    daemon.on("POST", "/jobs/7/hold", reply(None))
    daemon.on("GET", "/jobs/7/log/stream", reply(b"x\n"))
    daemon.on("POST", "/jobs", reply({"id": 1, "run_name": "x"}, 201))
    daemon.on("GET", "/info", reply({"gpus": []}))
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], env=environment(), capture_output=True, check=True
    )
    loaded, _ = loaded_by(name, *argv)
    assert (loaded - set(bare.stdout.decode().split())) & SLOW <= needs
    assert not any(module.startswith(("gflow.daemon", "gflow.api", "gflow.store", "gflow.wire")) for module in loaded)


def test_nothing_of_the_configuration_is_parsed_without_need(daemon, home):
    (home / ".config" / "gflow").mkdir(parents=True)
    (home / ".config" / "gflow" / "gflow.toml").write_text("[daemon]\nhost = 'localhost'\n")
    daemon.on("GET", "/queue", reply(""))
    assert "tomllib" not in loaded_by("gqueue")[0]


def test_a_log_need_not_be_text(daemon):
    daemon.on("GET", "/jobs/7/log/stream", reply(bytes(range(256))))
    with start("gjob", "log", "7") as process:
        out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, bytes(range(256)))


def test_a_name_that_the_terminal_cannot_show_is_no_error(daemon, monkeypatch):
    daemon.on("GET", "/queue", reply("1\x1fü日\x1fR\x1f-\x1f0\x1f-\n"))
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start("gqueue") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b" 1       ??    R    " in out


def test_a_locale_of_plain_characters_is_no_error(daemon, monkeypatch):
    daemon.on("GET", "/queue", reply("1\x1fé日\x1fR\x1f-\x1f0\x1f-\n"))
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    with start("gqueue") as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b" 1       ??    R    " in out


def closed(redirection, name, *argv):
    """What a command does whose stream was closed by a shell."""
    program = _PROGRAM.format(name=name, code="pass")
    line = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", program, *argv]
    done = subprocess.run(line, env=environment(), capture_output=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_was_done_is_told_on_stderr_where_stdout_is_closed(daemon):
    daemon.on("POST", "/jobs", reply({"id": 4, "run_name": "x"}, 201))
    daemon.on("POST", "/jobs/2/cancel", reply(None))
    status, _, err = closed(">&-", "gbatch", "true")
    assert (status, err) == (1, b"gbatch: job 4 was submitted, but stdout cannot be written: Bad file descriptor\n")
    status, _, err = closed(">&-", "gcancel", "2")
    assert (status, err) == (1, b"gcancel: nothing can be written to standard output: it is closed\n")
    assert closed(">&-", "gqueue", "--version")[::2] == (1, err.replace(b"gcancel", b"gqueue"))
    assert [asked.path for asked in daemon.asked if asked.method == "POST"] == ["/jobs", "/jobs/2/cancel"]


def test_a_closed_stderr_leaves_the_exit_status_as_it_is(daemon):
    daemon.on("GET", "/queue", reply(""))
    assert closed("2>&-", "gqueue", "-s", "Foo") == (2, b"", b"")
    assert closed("2>&- <&-", "gqueue") == (0, b"No jobs found.\n", b"")
    assert closed("2>&- >&- <&-", "gqueue") == (1, b"", b"")
    assert closed("2>&- >&- <&-", "gflowd", "--version") == (0, b"", b"")


def test_a_configuration_that_is_named_must_be_right(daemon, home):
    daemon.on("GET", "/queue", reply(""))
    (home / "bad.toml").write_text("foo=[")
    with start("gqueue", "--config", str(home / "bad.toml")) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"bad.toml is not valid TOML: " in err
    assert err.count(b"\n") == 1


def test_a_reader_that_leaves_early_is_no_error(daemon):
    daemon.on(
        "GET",
        "/jobs/7/log/stream",
        lambda asked: [b"HTTP/1.1 200 OK\r\nX-Offset: 0\r\n\r\n", *[b"line\r\n" * 1000] * 200],
    )
    with start("gjob", "log", "7", "-f") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_following_ends_with_its_reader_even_if_the_job_is_silent(daemon):
    gone = threading.Event()

    def one_line_then_nothing(asked):
        yield chunked(b"line\r\n").removesuffix(b"0\r\n\r\n")
        gone.wait(60)

    daemon.on("GET", "/jobs/7/log/stream", one_line_then_nothing)
    try:
        with start("gjob", "log", "7", "-f") as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"line\n"
            process.stdout.close()
            assert process.wait(60) == 141
            assert process.stderr is not None
            assert process.stderr.read() == b""
    finally:
        gone.set()


def test_a_listing_into_a_closed_pipe_is_quiet(daemon):
    daemon.on("GET", "/queue", reply("1\x1fa\x1fR\x1f-\x1f0\x1f-\n" * 20000))
    with start("gqueue") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_interrupting_a_wait_is_quiet(daemon):
    asked, gone = threading.Event(), threading.Event()

    def never(request):
        asked.set()
        gone.wait(60)
        return b""

    daemon.on("GET", "/jobs/7/wait", never)
    try:
        with start("gjob", "wait", "7") as process:
            assert asked.wait(60)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    finally:
        gone.set()
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_output_that_cannot_be_written_is_an_error_in_one_line(daemon):
    daemon.on("GET", "/queue", reply(""))
    with open("/dev/full", "wb") as full, start("gqueue", stdout=full) as process:
        assert process.stderr is not None
        message = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert "No space left" in message
    assert message.count("\n") == 1


def test_a_pipe_gets_plain_text_and_a_terminal_gets_colours(daemon, monkeypatch):
    daemon.on(
        "GET",
        "/queue",
        lambda asked: reply("1\x1fa\x1fR\x1f-\x1f0\x1f-" + "\x1f-" * ("GROUP" in asked.query["columns"]) + "\n"),
    )
    monkeypatch.setenv("TERM", "xterm")
    with start("gqueue") as process:
        piped, _ = process.communicate(timeout=60)
    assert b"\x1b" not in piped
    ours, theirs = os.openpty()
    with start("gqueue", stdout=theirs) as process:
        os.close(theirs)
        shown = _read_all(ours)
        assert process.wait(60) == 0
    assert "\x1b[32mR\x1b[0m" in shown
    assert "a ○" in shown


def _read_all(fd):
    data = b""
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            piece = b""
        if not piece:
            os.close(fd)
            return data.decode()
        data += piece


def test_no_daemon_is_told_within_a_second(home):
    with start("gqueue") as process:
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out) == (1, b"")
    assert err.decode() == (
        f"gqueue: cannot reach gflowd at unix:{home}/gflow/gflowd.sock (No such file or directory); "
        "start it with 'gflowd up'\n"
    )
