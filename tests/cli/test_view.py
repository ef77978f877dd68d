"""The queue on terminals of 40, 80 and 120 columns and in a pipe, as a table, a tree and in parts; captured text."""

import re

import pytest

from gflow.cli.columns import DEFAULT
from gflow.cli.view import View

CELLS = {
    "JOBID": "1 2 3 4 5".split(),
    "NAME": ["prepare-the-whole-data-set", "train", "train", "evaluate", "train"],
    "ST": "CD R PD PD R".split(),
    "TIME": "00:10:00 1-02:03:04 - - 00:00:07".split(),
    "NODES": "0 2 2 0 1".split(),
    "NODELIST(REASON)": ["-", "0,1", "(Resources)", "(Dependency)", "2"],
    "REASON": ["-", "-", "GPUs kept for job 12", "Dependency", "-"],
    "DEPENDS": ["-", "1", "1", "2,3", "-"],
    "REDOOF": "- - - - 2".split(),
    "GROUP": "- lr lr - -".split(),
    "GROUPID": "- g g - -".split(),
}


def shown(columns=DEFAULT, *, most=None, symbols=False, **how):
    view = View(columns, most=most, symbols=symbols, live=False, **({"tree": False, "by_state": False} | how))
    return view.text([[CELLS[name][at] for name in view.asked] for at in range(5)])


def plain(text):
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def test_in_a_pipe():
    assert shown() == (
        " JOBID   NAME                         ST   TIME         NODES   NODELIST(REASON)\n"
        " 1       prepare-the-whole-data-set   CD   00:10:00     0       -\n"
        " 2       train                        R    1-02:03:04   2       0,1\n"
        " 3       train                        PD   -            2       (Resources)\n"
        " 4       evaluate                     PD   -            0       (Dependency)\n"
        " 5       train                        R    00:00:07     1       2\n"
    )


PICTURES = {
    40: (
        " J… NAME      ST TIME       N… NODELIST…\n"
        " 1  prepare-… CD 00:10:00   0  -\n"
        " 2  train ○   R  1-02:03:04 2  0,1\n"
        " 3  train     PD -          2  (Resourc…\n"
        " 4  evaluate  PD -          0  (Depende…\n"
        " 5  train ○   R  00:00:07   1  2\n"
    ),
    80: (
        " JOBID   NAME                         ST   TIME         NODES   NODELIST(REASON)\n"
        " 1       prepare-the-whole-data-set   CD   00:10:00     0       -\n"
        " 2       train ○                      R    1-02:03:04   2       0,1\n"
        " 3       train                        PD   -            2       (Resources)\n"
        " 4       evaluate                     PD   -            0       (Dependency)\n"
        " 5       train ○                      R    00:00:07     1       2\n"
    ),
    120: (
        " JOBID   NAME                         ST   TIME         NODES   NODELIST(REASON)\n"
        " 1       prepare-the-whole-data-set   CD   00:10:00     0       -\n"
        " 2       train ○                      R    1-02:03:04   2       0,1\n"
        " 3       train                        PD   -            2       (Resources)\n"
        " 4       evaluate                     PD   -            0       (Dependency)\n"
        " 5       train ○                      R    00:00:07     1       2\n"
    ),
    ("tree", 40): (
        " JOBID   NAME   ST TIME       N… NODELI…\n"
        " 1       prepa… CD 00:10:00   0  -\n"
        " ├─2     train… R  1-02:03:04 2  0,1\n"
        " │ ├─4   evalu… PD -          0  (Depen…\n"
        " │ ╰┄5   train… R  00:00:07   1  2\n"
        " ╰─3     train  PD -          2  (Resou…\n"
        "   ╰─→ 4\n"
    ),
    ("tree", 80): (
        " JOBID           NAME                     ST TIME       NODES NODELIST(REASON)\n"
        " 1               prepare-the-whole-data-… CD 00:10:00   0     -\n"
        " ├─2             train ○                  R  1-02:03:04 2     0,1\n"
        " │ ├─4           evaluate                 PD -          0     (Dependency)\n"
        " │ ╰┄5           train ○                  R  00:00:07   1     2\n"
        " ╰─3             train                    PD -          2     (Resources)\n"
        "   ╰─→ see job 4\n"
    ),
    ("tree", 120): (
        " JOBID             NAME                         ST   TIME         NODES   NODELIST(REASON)\n"
        " 1                 prepare-the-whole-data-set   CD   00:10:00     0       -\n"
        " ├─2               train ○                      R    1-02:03:04   2       0,1\n"
        " │ ├─4             evaluate                     PD   -            0       (Dependency)\n"
        " │ ╰┄5             train ○                      R    00:00:07     1       2\n"
        " ╰─3               train                        PD   -            2       (Resources)\n"
        "   ╰─→ see job 4\n"
    ),
}


@pytest.mark.parametrize("most", [40, 80, 120])
def test_on_a_terminal(most):
    assert plain(shown(most=most, symbols=True)) == PICTURES[most]


@pytest.mark.parametrize("most", [40, 80, 120])
def test_as_a_tree_on_a_terminal(most):
    assert plain(shown(most=most, symbols=True, tree=True)) == PICTURES["tree", most]


def test_as_a_tree_in_a_pipe():
    assert shown(("JOBID", "NAME", "ST"), tree=True) == (
        " JOBID              NAME                         ST\n"
        " 1                  prepare-the-whole-data-set   CD\n"
        " |-2                train                        R\n"
        " | |-4              evaluate                     PD\n"
        " | `.5              train                        R\n"
        " `-3                train                        PD\n"
        "   `--> see job 4\n"
    )


def test_in_parts():
    assert shown(("JOBID", "ST"), by_state=True) == (
        f"Running (2)\n{'-' * 60}\n JOBID   ST\n 2       R\n 5       R\n\n"
        f"Queued (2)\n{'-' * 60}\n JOBID   ST\n 3       PD\n 4       PD\n\n"
        f"Finished (1)\n{'-' * 60}\n JOBID   ST\n 1       CD\n"
    )


@pytest.mark.parametrize(("most", "widest"), [(40, 40), (80, 80), (None, 100)])
def test_a_long_chain_folds_no_line(most, widest):
    view = View(DEFAULT, most=most, symbols=True, live=False, tree=True, by_state=False)
    cells = {"NAME": "a-step-of-it", "ST": "PD", "TIME": "-", "NODES": "0", "NODELIST(REASON)": "(Dependency)"}
    chain = [{**cells, "JOBID": str(at), "DEPENDS": str(at - 1)} for at in range(10, 25)]
    text = plain(view.text([[row.get(name, "-") for name in view.asked] for row in chain]))
    assert max(map(len, text.splitlines())) <= widest
    assert all(text.count(f"─{at} ") == 1 for at in range(11, 15))
    assert ("→ 1" in text) == (most == 40)


def test_parts_and_trees_need_no_columns_that_show_them():
    assert shown(("NAME",), by_state=True).startswith(f"Running (2)\n{'-' * 60}\n NAME\n train\n")
    assert shown(("NAME",), tree=True).splitlines()[1:3] == [" prepare-the-whole-data-set", " |-train"]
