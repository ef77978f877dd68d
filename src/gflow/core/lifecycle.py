"""The states of a job and the one table of transitions; the only place that writes `Job.state`.

The table is data, so the diagram in docs/ and the test of every (state, state) pair are made from it.
"""

from dataclasses import replace

from gflow.core.errors import WrongState
from gflow.core.model import Job, JobId, State

CODES: dict[State, str] = {
    State.QUEUED: "PD",
    State.HOLD: "H",
    State.RUNNING: "R",
    State.FINISHED: "CD",
    State.FAILED: "F",
    State.CANCELLED: "CA",
    State.TIMEOUT: "TO",
}
"""Slurm's short codes."""

TRANSITIONS: dict[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.HOLD, State.CANCELLED}),
    State.HOLD: frozenset({State.QUEUED, State.CANCELLED}),
    State.RUNNING: frozenset({State.FINISHED, State.FAILED, State.CANCELLED, State.TIMEOUT}),
    State.FINISHED: frozenset(),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.TIMEOUT: frozenset(),
}

FINAL: frozenset[State] = frozenset(state for state, after in TRANSITIONS.items() if not after)
ACTIVE: frozenset[State] = frozenset(State) - FINAL


def move(job: Job, to: State, **changes: object) -> Job:
    """`job` in state `to`, with other fields changed along.

    Raises `WrongState`, naming the current state, if the table does not allow it.
    """
    if to not in TRANSITIONS[job.state]:
        raise refusal(job, to)
    return replace(job, state=to, **changes)  # type: ignore[arg-type]


def and_goes_on(attempt: JobId | None) -> str:
    """The end of a sentence about an ended job: as which attempt it goes on, if there is one that has not ended."""
    return f"; it goes on as job {attempt}" if attempt is not None else ""


def refusal(job: Job, to: State, goes_on_as: JobId | None = None) -> WrongState:
    """What to say of a step that the table does not allow; it names the current state.

    goes_on_as: the attempt at an ended job that has not ended.
    """
    if job.state in FINAL:
        return WrongState(f"Job {job.id} has ended already: {job.state.value}{and_goes_on(goes_on_as)}")
    if to is State.QUEUED:
        return WrongState(f"Job {job.id} is not on hold: it is {job.state.value}")
    if to is job.state is State.HOLD:
        return WrongState(f"Job {job.id} is on hold already")
    return WrongState(f"Job {job.id} is {job.state.value} and cannot become {to.value}")
