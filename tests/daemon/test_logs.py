"""The daemon's log, line by line: on a terminal, in the journal, as JSON, in a file."""

import io
import json
import logging
import os
import socket
import sys

import pytest

from gflow.daemon import logs
from gflow.daemon.logs import Journal, Json, is_journal, level


def record(message, *arguments, severity=logging.WARNING, exc_info=None):
    return logging.LogRecord("gflow.daemon.timeouts", severity, "file", 1, message, arguments, exc_info)


@pytest.mark.parametrize(
    ("verbosity", "expected"),
    [(2, logging.DEBUG), (1, logging.DEBUG), (0, logging.INFO), (-1, logging.ERROR), (-9, logging.ERROR)],
)
def test_how_much_is_said(verbosity, expected):
    assert level(verbosity) == expected


@pytest.mark.parametrize(
    ("severity", "priority"),
    [(logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7)],
)
def test_the_journal_is_told_priorities(severity, priority):
    assert (
        Journal().format(record("Job %d: gone", 7, severity=severity))
        == f"<{priority}>gflow.daemon.timeouts: Job 7: gone"
    )


def bug():
    try:
        raise ValueError("what\nwent wrong")
    except ValueError:
        return sys.exc_info()


def test_every_line_of_a_traceback_has_its_priority():
    lines = Journal().format(record("a bug", severity=logging.ERROR, exc_info=bug())).splitlines()
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)


def test_json_names_the_job():
    told = json.loads(Json().format(record("Job %d has exceeded time limit, terminating...", 42)))
    assert (told["job"], told["level"], told["logger"]) == (42, "warning", "gflow.daemon.timeouts")
    assert told["message"] == "Job 42 has exceeded time limit, terminating..."
    assert told["time"].endswith("+00:00")
    assert "job" not in json.loads(Json().format(record("%d jobs known", 7)))


def test_json_is_one_line_whatever_happens():
    line = Json().format(record("ü\n\x1b[31m", exc_info=bug()))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "ValueError" in json.loads(line)["exception"]


def test_what_is_no_journal(tmp_path):
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})
    with (tmp_path / "f").open("w") as file:
        found = os.fstat(file.fileno())
        assert not is_journal(file, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}), "it was sent to a file"


def test_the_journal_is_known_by_its_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("w") as stream:
        found = os.fstat(ours.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(stream, {})


@pytest.fixture
def root():
    """The root logger as `set_up` leaves it, until the test is over."""
    logger = logging.getLogger()
    before, severity = logger.handlers[:], logger.level
    yield logger
    for handler in set(logger.handlers) - set(before):
        handler.close()
    logger.handlers[:] = before
    logger.setLevel(severity)


def test_terminal_and_file_get_the_same(root, tmp_path):
    stream = io.StringIO()
    logs.set_up(0, "text", tmp_path / "logs/daemon.log", {}, stream)
    root.warning("Job %d: gone", 7)
    root.debug("nobody asked for this")
    assert stream.getvalue() == (tmp_path / "logs/daemon.log").read_text()
    assert stream.getvalue().endswith("WARNING root: Job 7: gone\n")


def test_the_file_begins_anew_and_the_one_before_is_kept(root, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "FILE_BYTES", 500)
    logs.set_up(0, "json", tmp_path / "log", {}, io.StringIO())
    for number in range(20):
        root.info("Job %d: something happened", number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1"]
    assert json.loads((tmp_path / "log").read_text().splitlines()[-1])["job"] == 19


def test_a_file_that_standard_error_goes_to_has_each_line_once(root, tmp_path):
    file = tmp_path / "log"
    with file.open("a", buffering=1) as stream:
        logs.set_up(0, "text", file, {}, stream)
        root.warning("Job %d: gone", 7)
    assert file.read_text().count("Job 7: gone") == 1
