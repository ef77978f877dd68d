"""What looks like a `# GFLOW` line and does not count is said, with its line; honest comments are left alone."""

from pathlib import Path

import pytest

from gflow.cli import gbatch, strays
from gflow.cli.gbatch_options import DIRECTIVES


def said(text: str) -> list[str]:
    return list(strays.remarks(text, DIRECTIVES))


@pytest.mark.parametrize(
    "line",
    [
        "#GFLOW --time 5",
        "  # GFLOW --time 5",
        "# GFLOW: --time 3",
        "# gflow --time 3",
        "#gflow -t 3",
        "#  Gflow --time=3",
        "# GFLOW--time 3",
        "#GFLOW --tiem 3",
        "\ufeff# GFLOW --time 5",
    ],
)
def test_a_line_that_was_meant_as_one_is_named(line: str) -> None:
    (remark,) = said(f"#!/bin/sh\n{line}\necho\n")
    assert remark == f"2: '{line.strip()}' does not count; a directive begins its line with '# GFLOW '"


@pytest.mark.parametrize(
    "line",
    [
        "# gflow is great",
        "# GFLOW runs this",
        "## GFLOW --time 5",
        "# GFLOW --time 5",
        "# gflow --help shows more",
        "# gflow - a scheduler",
        "# GFLOW -- the scheduler",
        "# GFLOW",
        "echo '#GFLOW --time 5'",
        "# GFLOWER --time 5",
    ],
)
def test_comments_and_directives_are_left_alone(line: str) -> None:
    assert said(f"#!/bin/sh\n{line}\necho\n") == []


def test_a_directive_behind_the_first_command_is_named_with_both_lines() -> None:
    (remark,) = said("#!/bin/sh\n# GFLOW --gpus 1\nset -e\n\n# GFLOW --time 5\nrun\n")
    assert (
        remark == "5: '# GFLOW --time 5' does not count; directives stand before the first command, which is on line 3"
    )


def test_text_of_other_scripts_is_not_looked_at() -> None:
    assert said("cat >job.sh <<E\n# GFLOW --gpus 8\nE\n") == []
    assert said('"""Usage:\n# GFLOW --gpus 8\n"""\nimport sys\n') == []
    (remark,) = said('"""Trains.\n\nMuch."""\n# GFLOW --gpus 8\nimport sys\n')
    assert remark.startswith("4: '# GFLOW --gpus 8' does not count")


def test_gbatch_says_it_with_the_file_and_submits_all_the_same(run, daemon, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#GFLOW --time 5\ntrue\n")
    outcome = run(gbatch.COMMAND, "--dry-run", str(script))
    assert outcome.status == 0
    assert outcome.err.startswith(f"gbatch: {script}:1: '#GFLOW --time 5' does not count;")
