"""Generated names: readable, stable, and unlike for neighbours."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.core.names import generated_name
from support.effort import examples

FORM = re.compile(r"[a-z]+-[a-z]+-[1-9][0-9]{3}")


def test_names_stay_what_they_were() -> None:
    """Names are not stored apart from the job, but people write them down: the words must not move."""
    names = [generated_name(job_id) for job_id in (1, 2, 1000)]
    assert names == [
        "sharp-grove-1807",
        "firm-lynx-9591",
        "tidy-spruce-9226",
    ]


@given(st.integers(1, 2**40))
def test_every_id_has_a_name_of_the_form(job_id: int) -> None:
    assert FORM.fullmatch(generated_name(job_id))
    assert generated_name(job_id) == generated_name(job_id)


@settings(max_examples=examples(15))
@given(st.integers(1, 2**32))
def test_ten_thousand_neighbours_hardly_ever_share_a_name(first: int) -> None:
    names = {generated_name(job_id) for job_id in range(first, first + 10_000)}
    assert len(names) >= 9_990


@given(st.integers(1, 2**32))
def test_neighbours_do_not_look_alike(job_id: int) -> None:
    words = [generated_name(each).rsplit("-", 1)[0] for each in range(job_id, job_id + 20)]
    assert len(set(words)) >= 18
