"""What the search for unused cycles leaves out, and that it comes back to it."""

import gc
import weakref

import pytest

from gflow.daemon.cycles import EVERYTHING_SECS, short_searches


class Ring:
    """Refers to itself, so only a search finds it when nobody uses it any more."""

    def __init__(self):
        self.me = self


@pytest.fixture
def now():
    """Seconds, in a list; the searches are those the test asks for."""
    gc.disable()
    yield [0.0]
    gc.enable()


def test_what_is_in_use_at_a_search_is_left_out_of_the_next_ones(now):
    with short_searches(lambda: now[0]):
        ring = Ring()
        gone = weakref.ref(ring)
        before = gc.get_freeze_count()
        gc.collect()
        assert gc.get_freeze_count() > before
        del ring
        gc.collect()
        assert gone() is not None, "it is not looked at"
        now[0] = EVERYTHING_SECS
        gc.collect()
        assert gone() is None
    assert gc.get_freeze_count() == 0


def test_what_is_not_in_use_is_found_at_once(now):
    with short_searches(lambda: now[0]):
        gone = weakref.ref(Ring())
        gc.collect()
        assert gone() is None


def test_young_generations_are_as_they_were(now):
    with short_searches(lambda: now[0]):
        before = gc.get_freeze_count()
        rings = [Ring() for _ in range(100)]
        gc.collect(1)
        assert gc.get_freeze_count() == before
        gone = [weakref.ref(ring) for ring in rings]
        rings.clear()
        gc.collect()
        assert not any(ring() for ring in gone)


def test_afterwards_nothing_is_left_of_it(now):
    known = list(gc.callbacks)
    with pytest.raises(RuntimeError), short_searches(lambda: now[0]):
        raise RuntimeError
    assert gc.callbacks == known
    assert gc.get_freeze_count() == 0
