"""Starting processes with the mark of a launch, as if they were born in it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

from gflow.launch.birthmark import mark_of

LOCKS = 10
"""RLIMIT_LOCKS, which Python has no name for."""


@contextmanager
def marked(run_id: str) -> Iterator[None]:
    """Whatever is started meanwhile has the mark of this launch."""
    soft, hard = resource.getrlimit(LOCKS)
    resource.setrlimit(LOCKS, (mark_of(run_id), hard))
    try:
        yield
    finally:
        resource.setrlimit(LOCKS, (soft, hard))
