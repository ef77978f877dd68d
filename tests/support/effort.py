"""How hard the tests try where they try examples: `GFLOW_EFFORT=20` means twenty times as many, 0.2 a fifth of them."""

import os

EFFORT = float(os.environ.get("GFLOW_EFFORT", "1"))


def stride(usual: int) -> int:
    """How far apart to try where every `usual`-th place is tried in every run; every one, where more is asked for."""
    return 1 if EFFORT > 1 else round(usual / EFFORT)


def examples(usual: int) -> int:
    """How many examples to try where `usual` are tried in every run."""
    return max(1, round(usual * EFFORT))
