"""Tables on narrow terminals, bars, and the tree: pure, and right for every width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli.render.bars import bar, strip
from gflow.cli.render.fit import cut, folded
from gflow.cli.render.table import table, width
from gflow.cli.render.tree import MOST_DEEP, branches, reference

HEADER = ("JOBID", "NAME", "ST", "TIME", "NODES", "NODELIST(REASON)")
ROWS = [
    ["1234", "elegant-mountain-1234", "R", "1-00:15:23", "2", "0,1"],
    ["1235", "a", "PD", "-", "16", "(DependencyFailed:1234)"],
    ["1236", "名前が長いジョブの名前です", "PD", "-", "0", "(Resources)"],
]
SOFT = (1, 5)


def lines(most):
    return table(HEADER, ROWS, most=most, soft=SOFT, mark="…").splitlines()


@pytest.mark.parametrize("most", range(40, 130))
def test_lines_are_as_wide_as_the_terminal_at_most_and_numbers_are_whole(most):
    for line, row in zip(lines(most)[1:], ROWS, strict=True):
        assert width(line) <= most
        for hard in (row[0], row[2], row[3], row[4]):
            assert hard in line.split()
    assert len({width(line) for line in table(HEADER, ROWS[:1], most=most, soft=SOFT).splitlines()}) <= 2


def test_a_wide_terminal_changes_nothing():
    assert table(HEADER, ROWS, most=200, soft=SOFT) == table(HEADER, ROWS)


@pytest.mark.parametrize(
    ("most", "head", "second"),
    [
        (
            90,
            " JOBID   NAME                         ST   TIME         NODES   NODELIST(REASON)",
            " 1235    a                            PD   -            16      (DependencyFailed:1234)",
        ),
        (
            70,
            " JOBID NAME                  ST TIME       NODES NODELIST(REASON)",
            " 1235  a                     PD -          16    (DependencyFailed:12…",
        ),
        (
            44,
            " JOB… NAME       ST TIME       N… NODELIST(…",
            " 1235 a          PD -          16 (Dependen…",
        ),
    ],
)
def test_gaps_shrink_then_long_texts_then_headings(most, head, second):
    assert [lines(most)[0], lines(most)[2]] == [head, second]


def test_where_nothing_more_can_be_cut_lines_stay_too_long():
    assert table(("A", "B"), [["x" * 30, "y" * 30]], most=10) == f" A{' ' * 30}B\n {'x' * 30} {'y' * 30}\n"


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=30), st.integers(0, 30))
def test_what_is_cut_fits_and_begins_as_before(text, columns):
    shown = cut(text, columns, "…")
    assert width(shown) <= columns
    assert shown == text or text.startswith(shown[:-1])


@given(st.floats(0, 1), st.integers(2, 40))
def test_a_bar_is_full_only_at_the_end_and_empty_only_at_the_beginning(share, columns):
    for symbols, full in ((True, "█"), (False, "#")):
        drawn = bar(share, columns, symbols=symbols)
        assert len(drawn) == columns
        assert (drawn.count(full) == columns, drawn.count(full) == 0) == (share == 1, share == 0)
    assert len(strip(share, columns)) <= columns
    assert (strip(share, columns) == "") == (share == 0)


# -- the tree --------------------------------------------------------------------------------------------------------


def drawn(jobs, *, symbols=False):
    """The tree of {id: (depends on, made again from)}."""
    ids = list(jobs)
    links = [[*((one, False) for one in above), (again, True)] for above, again in jobs.values()]
    found = branches(ids, links, symbols=symbols)
    return [prefix + (reference(ids[at], symbols=symbols) if refers else ids[at]) for prefix, at, refers in found]


JOBS = {
    "1": ([], "-"),
    "2": (["1"], "-"),
    "3": (["1"], "-"),
    "4": (["2", "3"], "-"),
    "5": (["9"], "-"),
    "6": ([], "2"),
    "7": (["6"], "-"),
}


def test_jobs_hang_below_what_they_wait_for_and_what_they_repeat():
    assert drawn(JOBS, symbols=True) == [
        "1",
        "├─2",
        "│ ├─4",
        "│ ╰┄6",
        "│   ╰─7",
        "╰─3",
        "  ╰─→ see job 4",
        "5",
    ]


def test_in_a_pipe_it_is_drawn_with_plain_characters():
    assert drawn(JOBS) == ["1", "|-2", "| |-4", "| `.6", "|   `-7", "`-3", "  `--> see job 4", "5"]


def test_a_job_that_waits_for_the_one_it_repeats_hangs_there_once():
    assert drawn({"1": ([], "-"), "2": (["1"], "1")}) == ["1", "`-2"]


@given(st.integers(1, 12).flatmap(lambda n: st.lists(st.lists(st.integers(0, n), max_size=3), min_size=n, max_size=n)))
def test_every_job_is_drawn_exactly_once_whatever_the_links(links):
    ids = [str(at) for at in range(len(links))]
    found = branches(ids, [[(str(one), False) for one in above] for above in links], symbols=False)
    assert sorted(at for _, at, refers in found if not refers) == list(range(len(ids)))


def test_a_long_chain_is_cut_into_trees_and_costs_no_more_than_its_length():
    found = branches([str(at) for at in range(5000)], [[(str(at - 1), False)] for at in range(5000)], symbols=True)
    assert sum(not refers for _, _, refers in found) == 5000
    assert max(len(prefix) for prefix, _, _ in found) == 2 * (MOST_DEEP + 1)


def test_sentences_are_broken_between_words():
    line = "  It needs 2 GPUs; 1 of 2 can be had now"
    assert folded(line, 20).split("\n") == ["  It needs 2 GPUs; 1", "    of 2 can be had", "    now"]
    assert folded(line, None) == folded(line, 80) == line
    assert folded("x" * 30, 10) == "x" * 30, "there is no better place"


@given(st.lists(st.text("ab", min_size=1, max_size=9), min_size=1, max_size=30), st.integers(14, 60))
def test_folding_keeps_words_and_width(words, columns):
    lines = folded(" ".join(words), columns).split("\n")
    assert max(map(width, lines)) <= columns
    assert " ".join(lines).split() == words
