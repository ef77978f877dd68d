"""The table of states: every pair is either a transition of it, or refused with nothing changed."""

from itertools import product

import pytest

from gflow.core.errors import WrongState
from gflow.core.events import OUTCOMES
from gflow.core.lifecycle import ACTIVE, CODES, FINAL, TRANSITIONS, move
from gflow.core.model import Job, JobId, State
from support.jobs import START, spec

ALLOWED = {
    (State.QUEUED, State.RUNNING),
    (State.QUEUED, State.HOLD),
    (State.QUEUED, State.CANCELLED),
    (State.HOLD, State.QUEUED),
    (State.HOLD, State.CANCELLED),
    (State.RUNNING, State.FINISHED),
    (State.RUNNING, State.FAILED),
    (State.RUNNING, State.CANCELLED),
    (State.RUNNING, State.TIMEOUT),
}


def a_job(state: State) -> Job:
    return Job(id=JobId(7), spec=spec(), run_name="seven", state=state, submitted_at=START.wall)


@pytest.mark.parametrize(("before", "after"), sorted(product(State, State)))
def test_every_pair_of_states(before: State, after: State) -> None:
    job = a_job(before)
    if (before, after) in ALLOWED:
        moved = move(job, after, detail="why")
        assert (moved.state, moved.detail, moved.id) == (after, "why", 7)
    else:
        with pytest.raises(WrongState, match=r"^Job 7 (is |has ended)") as refused:
            move(job, after)
        assert before.value in str(refused.value).title()
    assert job == a_job(before)


def test_the_table_has_a_row_a_code_and_an_event_for_every_state() -> None:
    assert TRANSITIONS.keys() == CODES.keys() == set(State)
    assert len(set(CODES.values())) == len(State)
    assert OUTCOMES.keys() == FINAL


def test_final_states_are_those_nothing_follows() -> None:
    assert {State.FINISHED, State.FAILED, State.CANCELLED, State.TIMEOUT} == FINAL
    assert {State.QUEUED, State.HOLD, State.RUNNING} == ACTIVE


def test_codes_are_those_of_slurm() -> None:
    assert [CODES[state] for state in State] == ["PD", "H", "R", "CD", "F", "CA", "TO"]
