"""The bench of the core's tests: what a test did not look at by its end fails it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from support.effort import examples
from support.jobs import Bench

settings.register_profile("core", max_examples=examples(100))
settings.load_profile("core")


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """Benches with other machines: `make_bench(4, memory_mb=1024)`."""
    made: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        made.append(Bench(*args, **kwargs))
        return made[-1]

    yield make
    for bench in made:
        bench.assert_heard()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A machine without GPUs and without a limit on memory."""
    return make_bench()
