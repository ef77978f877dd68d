"""Lines that anybody can cause: a few a minute of each kind, and then their number."""

import logging

import pytest

from gflow.daemon.flood import A_MINUTE, Flood

LOG = logging.getLogger("gflow.daemon.tls")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO)

    def new():
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return new


def test_a_kind_of_line_is_told_a_few_times_a_minute_and_then_counted(told):
    clock = Clock()
    with Flood(clock) as guard:
        for number in range(A_MINUTE + 5):
            LOG.info("a client did %s", number)
        LOG.info("another kind")
        assert told() == [*(f"a client did {number}" for number in range(A_MINUTE)), "another kind"]
        clock.now += 59.9
        guard.look()
        assert told() == []
        clock.now += 0.1
        guard.look()
        assert told() == ["5 more lines like this one of gflow.daemon.tls: a client did %s"]
        LOG.info("a client did %s", "it again")
        assert told() == ["a client did it again"]


def test_nothing_is_left_unsaid_when_it_goes(told):
    with Flood(Clock()):
        for _ in range(A_MINUTE + 1):
            LOG.info("x")
    assert told()[-1] == "1 more lines like this one of gflow.daemon.tls: x"
    for _ in range(A_MINUTE + 1):
        LOG.info("x")
    assert len(told()) == A_MINUTE + 1, "it stands before nothing any more"


def test_lines_of_others_are_not_counted(told):
    with Flood(Clock()):
        for _ in range(A_MINUTE + 1):
            logging.getLogger("gflow.daemon.run").info("x")
    assert told() == ["x"] * (A_MINUTE + 1)
