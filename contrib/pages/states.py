"""The states of a job, of the one table of transitions."""

from gflow.core.events import OUTCOMES
from gflow.core.lifecycle import CODES, FINAL, TRANSITIONS
from gflow.core.model import State
from pages.markdown import code, meaning, meanings, page, table

ABOUT = """\
Every job is in one of these. Commands take the words and the codes, in any case (`gqueue -s Running`, `-s r,pd`); over
HTTP and in `-o json` it is the word. What is not drawn below cannot happen: whoever asks for it is refused, and
told the state the job is in."""
AFTER = """\
A job that has ended stays as it is. `gjob redo` and `--max-retries` make a new job with an id of its own. A running job
that is to be stopped is Running, and keeps its GPUs, until its last process is gone. Each step makes
[one event](events.md)."""


def made() -> str:
    """The text of the page."""
    told = meanings(State)
    rows = (
        (
            state.value,
            code(CODES[state]),
            meaning(State, state.name, told),
            f"[{OUTCOMES[state]}](events.md)" if state in OUTCOMES else "",
        )
        for state in State
    )
    heads = ("state", "code", "", "event")
    return page("States of a job", ABOUT, table(heads, rows), "## From one to another", diagram(), AFTER)


def diagram() -> str:
    """What may follow each state."""
    lines = ["  submitted ──▶ Queued, Hold", ""]
    width = max(len(state.value) for state in State)
    for state in State:
        after = [to.value for to in State if to in TRANSITIONS[state]]
        for number, word in enumerate(after):
            lead = f"  {state.value:>{width}} " if number == 0 else " " * (width + 3)
            lines.append(f"{lead}{_branch(number, len(after))}▶ {word}{' ■' if State(word) in FINAL else ''}")
        lines += [""] if after else []
    return "```\n" + "\n".join([*lines, "  ■ the job has ended"]) + "\n```"


def _branch(number: int, of: int) -> str:
    if of == 1:
        return "───"
    return "─┬─" if number == 0 else " └─" if number == of - 1 else " ├─"
