"""How hard the tests of the store try: `GFLOW_EFFORT=20` makes them try twenty times as long."""

import os

EFFORT = int(os.environ.get("GFLOW_EFFORT", "1"))


def examples(usual: int) -> int:
    """How many examples to try where `usual` are tried in every run."""
    return usual * EFFORT
