"""How hard the tests try where they try examples: `GFLOW_EFFORT=20` means twenty times as many, 0.2 a fifth of them."""

import os

EFFORT = float(os.environ.get("GFLOW_EFFORT", "1"))


def examples(usual: int) -> int:
    """How many examples to try where `usual` are tried in every run."""
    return max(1, round(usual * EFFORT))
