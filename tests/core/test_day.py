"""A day played through the core: jobs that need all GPUs start when they were planned to, or earlier."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[2] / "contrib/bench/day.py"


@pytest.fixture(scope="module")
def day() -> Any:
    spec = importlib.util.spec_from_file_location("day", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["day"] = module  # where dataclasses look
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(1, 6))
def test_large_jobs_start_no_later_than_planned(day: Any, seed: int) -> None:
    story = day.play(day.requests(seed))
    assert sum(map(len, story.waits.values())) == day.JOBS
    assert len(story.large) == 2
    for large in story.large.values():
        assert large.started is not None
        assert large.started <= (large.planned if large.planned is not None else large.submitted)


def test_without_plans_they_would_have_waited_longer(day: Any) -> None:
    requests = day.requests(1)
    planned, skipped = day.play(requests), day.play_without_plans(requests)
    for large, other in zip(planned.large.values(), skipped.large.values(), strict=True):
        assert large.started < other.started


def test_the_page_in_the_documents_is_what_is_printed(day: Any) -> None:
    assert (_SCRIPT.parents[2] / "docs/a-day.md").read_text() == day.page(1)
