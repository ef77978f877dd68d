"""A reading that hangs, as on a disk that does, until the context ends."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def hanging() -> Iterator[Callable[..., Any]]:
    """Stands in for what reads, whatever it is given."""
    gate = threading.Event()
    try:
        yield lambda *_given: gate.wait()
    finally:
        gate.set()
