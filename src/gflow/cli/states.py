"""The states of jobs as users name them. `core.lifecycle` is the source; it is too slow to load for a listing, and a
test holds the two together."""

STATES = {
    "Queued": "PD",
    "Hold": "H",
    "Running": "R",
    "Finished": "CD",
    "Failed": "F",
    "Cancelled": "CA",
    "Timeout": "TO",
}
"""Names and Slurm's short codes."""

FINAL = ("Finished", "Failed", "Cancelled", "Timeout")

_BY_WORD = {word.lower(): state for state, code in STATES.items() for word in (state, code)}


def parse(text: str) -> list[str]:
    """The states of a comma list of names and codes, in any case. Raises ValueError naming the allowed ones."""
    found = []
    for item in text.split(","):
        state = _BY_WORD.get(item.strip().lower())
        if state is None:
            allowed = ", ".join(f"{name} ({code})" for name, code in STATES.items())
            raise ValueError(f"unknown state '{item.strip()}'; there are {allowed}")
        found.append(state)
    return found
