"""The example pipeline does what its README says, step by step, without a daemon; contrib/try runs it through one."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "contrib" / "examples"


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """A step of the pipeline, as its job runs it."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=EXAMPLES,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def out(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with the prepared data."""
    prepared = run("prepare.py", "--data", "data/points.csv", "--out", tmp_path)
    assert (prepared.returncode, prepared.stderr) == (0, "")
    return tmp_path


def test_the_points_are_what_the_generator_makes() -> None:
    assert run("data/make_points.py").stdout == (EXAMPLES / "data" / "points.csv").read_text()


def test_the_sets_share_no_point_and_lose_none(out: pathlib.Path) -> None:
    sets = json.loads((out / "prepared.json").read_text())
    assert {name: len(rows) for name, rows in sets.items()} == {"train": 360, "validation": 120, "test": 120}
    assert len({tuple(row) for rows in sets.values() for row in rows}) == 600


def test_the_sweep_finds_the_good_learning_rate(out: pathlib.Path) -> None:
    for task in range(1, 5):
        assert run("train.py", "--out", out, GFLOW_ARRAY_TASK_ID=str(task)).returncode == 0
    evaluation = run("evaluate.py", "--out", out)
    assert evaluation.returncode == 0
    assert json.loads((out / "best.json").read_text())["task"] == 3
    assert "test accuracy of task 3: 0.975" in evaluation.stdout


def test_an_accuracy_that_is_not_reached_exits_with_3(out: pathlib.Path) -> None:
    assert run("train.py", "--out", out, "--epochs", "1", GFLOW_ARRAY_TASK_ID="1").returncode == 0
    assert run("evaluate.py", "--out", out, "--at-least", "0.999").returncode == 3


def test_an_interrupted_training_saves_a_checkpoint_and_dies_of_the_signal(out: pathlib.Path) -> None:
    command = [sys.executable, "train.py", "--out", str(out), "--epochs", "1000000"]
    with subprocess.Popen(command, cwd=EXAMPLES, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "task 0: learning rate 0.02\n"
        training.send_signal(signal.SIGINT)
        printed, _ = training.communicate(timeout=60)
    assert training.returncode == -signal.SIGINT
    assert "saved checkpoint-0.json" in printed
    assert json.loads((out / "checkpoint-0.json").read_text())["task"] == 0
    assert not (out / "model-0.json").exists()
