"""How it goes with a target, and that a restart knows of it."""

import pytest

from gflow.daemon.standing import FIRST_PAUSE_SECS, LONGEST_PAUSE_SECS, Standing, read


def test_what_is_kept_is_what_is_read():
    standing = Standing(delivered=7, retried=2, dropped=1, given_up=3, failed_in_a_row=3, pauses=4)
    standing.failed("refused", 1700.5)
    assert read(standing.record()) == standing
    standing.succeeded(1800.5)
    assert read(standing.record()) == standing
    assert (standing.delivered, standing.paused, standing.failed_in_a_row) == (8, False, 0)
    assert (standing.last_result, standing.last_failure) == ("delivered", "refused")


@pytest.mark.parametrize("record", [None, "", "{}", "[]", "7", "{", '{"delivered": "many", "pauses": null}'])
def test_what_makes_no_sense_is_a_new_target(record):
    assert read(record) == Standing()


def test_a_record_of_another_version():
    assert read('{"delivered": 7, "colour": "red", "last_result": "failed"}') == Standing(
        delivered=7, last_result="failed"
    )


def test_pauses_grow_to_a_longest_one():
    pauses = [Standing(pauses=count).pause_secs for count in (1, 4, 5, 8, 9, 13, 17, 10**9)]
    assert pauses == [FIRST_PAUSE_SECS, 30, 60, 60, 120, 240, LONGEST_PAUSE_SECS, LONGEST_PAUSE_SECS]
