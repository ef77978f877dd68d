"""Addresses and events of a job's mail: what is taken, and in which words the rest is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.core.events import EventKind
from gflow.core.notices import ALL, ENDINGS, JOB_EVENTS, check_address, check_event


def test_the_names_are_those_of_events() -> None:
    kinds = {kind.value for kind in EventKind}
    elsewhere = {"gpu_available", "reservation_created", "reservation_cancelled"}
    elsewhere |= {"scheduler_online", "scheduler_drained", "scheduler_resumed"}
    assert set(JOB_EVENTS) == kinds - elsewhere
    assert set(ENDINGS) < set(JOB_EVENTS)
    assert [check_event(name) for name in (*JOB_EVENTS, ALL)] == [*JOB_EVENTS, ALL]


@pytest.mark.parametrize("name", ["", "job_exploded", "gpu_available", "JOB_FAILED"])
def test_other_events_are_not_for_jobs(name: str) -> None:
    with pytest.raises(ValueError, match=f"^unknown event '{name}': use job_submitted, "):
        check_event(name)


@pytest.mark.parametrize("address", ["a@b", "a.b+c=d/e@f-g.org", "o'neil@x.y", "a!b%c@d"])
def test_addresses(address: str) -> None:
    assert check_address(address) == address


@given(st.text(st.characters(), max_size=20) | st.text('ab@. \n\r\t,;<>"\\', max_size=12))
def test_an_address_that_is_taken_cannot_end_a_header_or_name_two(text: str) -> None:
    try:
        address = check_address(text)
    except ValueError:
        return
    assert address.count("@") == 1
    assert not set(address) & set(' \r\n\t,;<>"\\()')


def test_an_address_is_no_encoded_word() -> None:
    with pytest.raises(ValueError, match=r"^invalid e-mail address "):
        check_address("=?utf-8?q?=0D=0ABcc?=@b")
