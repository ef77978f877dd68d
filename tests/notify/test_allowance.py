"""How many mails the jobs of a user, and of all, may have sent within an hour."""

import pytest

from gflow.notify import allowance as module
from gflow.notify.allowance import HOUR_SECS, Allowance


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "OF_ONE", 3)
    monkeypatch.setattr(module, "OF_ALL", 5)


def taken(allowance, user, times, now=100.0):
    return sum(allowance.take(user, now) for _ in range(times))


def test_one_user_has_so_many_and_does_not_take_those_of_another(caplog):
    allowance = Allowance("email mail.example.com (1f3a)")
    assert (taken(allowance, "ben", 10, 100.0), taken(allowance, "ana", 2, 1900.0)) == (3, 2)
    assert allowance.withheld(1900.0) == {"ben": 7}
    (said,) = caplog.messages
    assert said == (
        "email mail.example.com (1f3a): the jobs of ben have had 3 mails sent within an hour to whom they name;"
        " those of ben get no more for 60 minutes"
    )


def test_all_have_so_many_together(caplog):
    allowance = Allowance("m")
    assert [taken(allowance, user, 4) for user in ("ana", "ben", "cat")] == [3, 2, 0]
    assert "the jobs of all users have had 5 mails sent" in caplog.text
    assert allowance.withheld(100.0) == {"ana": 1, "ben": 2, "cat": 4}


def test_after_an_hour_it_begins_anew():
    allowance = Allowance("m")
    assert taken(allowance, "ben", 4) == 3
    assert taken(allowance, "ben", 1, 99.0 + HOUR_SECS) == 0
    assert taken(allowance, "ben", 4, 100.0 + HOUR_SECS) == 3
    assert allowance.withheld(100.0 + 2 * HOUR_SECS) == {}
