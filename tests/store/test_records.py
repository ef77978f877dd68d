from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.errors import TooLarge
from gflow.core.events import EventKind
from gflow.core.model import Group, State
from gflow.store import records
from gflow.store.records import Transaction, decode, encode
from support import strategies
from support.effort import examples
from support.ledger import Ledger, make_job

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | strategies.texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(strategies.texts | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=6,
)

transactions = st.builds(
    Transaction,
    seq=st.integers(1, 2**60),
    jobs=st.lists(strategies.jobs, max_size=3, unique_by=lambda job: job.id).map(tuple),
    groups=strategies.tuples_of(strategies.groups),
    events=strategies.tuples_of(strategies.events),
    settings=st.dictionaries(strategies.texts, plain_values, max_size=3),
    next_job_id=strategies.ids,
    next_event_id=strategies.ids,
    boot_id=strategies.maybe(strategies.texts),
)


@given(transactions)
@settings(max_examples=examples(50))
def test_a_transaction_comes_back_exactly(transaction):
    assert decode(encode(transaction)) == transaction


def test_events_have_the_job_as_it_then_was():
    queued = make_job(1)
    held = replace(queued, state=State.HOLD)
    ledger = Ledger()
    transaction = ledger.changed((EventKind.SUBMITTED, queued), (EventKind.HELD, held))
    back = decode(encode(transaction))
    assert [event.job.state for event in back.events] == [State.QUEUED, State.HOLD]
    assert back.events[1].job is back.jobs[0]


def test_event_ids_end_before_the_next_one():
    ledger = Ledger()
    ledger.submitted(3)
    assert [number for number, _ in ledger.submitted(2).numbered_events] == [4, 5]


def test_a_job_and_its_event_take_the_room_of_one():
    ledger = Ledger()
    long = "x" * 10_000
    assert len(encode(ledger.submitted(command=long))) < 11_000


def test_groups_and_settings_are_kept():
    ledger = Ledger()
    transaction = ledger.changed(groups=(Group("g", 3),), settings={"allowed_gpus": [0, 2], "gone": None}, boot_id="b")
    assert decode(encode(transaction)) == transaction


def test_a_record_longer_than_the_log_takes_is_refused(monkeypatch):
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 100)
    with pytest.raises(TooLarge, match="more than"):
        encode(Ledger().submitted(command="x" * 100))


@pytest.mark.parametrize("junk", [b"", b"\x80", b"\xc0", b"\x93\x01\x02\x03", b"\x81\xa3seq\x01", b"\xc1"])
def test_what_is_no_transaction_is_refused(junk):
    with pytest.raises((KeyError, TypeError, AttributeError, ValueError)):
        decode(junk)
