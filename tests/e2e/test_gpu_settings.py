"""Which GPUs jobs may have, and in which order they are given: flag over environment over file over default."""

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from gflow.daemon.hosting import flags_of
from support.daemon import Daemon

pytestmark = pytest.mark.once

ALL = [0, 1, 2, 3]
SINGLE, DOUBLE = "GFLOW_DAEMON_", "GFLOW_DAEMON__"

GPUS = [
    # file, variable, flag, and what counts
    (None, None, None, ALL),
    ("[0, 2]", None, None, [0, 2]),
    (None, "1,3", None, [1, 3]),
    (None, None, "0-1", [0, 1]),
    ("[0, 2]", "1,3", None, [1, 3]),
    ("[0, 2]", None, "0-1", [0, 1]),
    (None, "1,3", "0-1", [0, 1]),
    ("[0, 2]", "1,3", "0-1", [0, 1]),
    ("[0, 2]", "all", None, ALL),
    ("[0, 2]", "1,3", "all", ALL),
]
STRATEGIES = [
    (None, None, None, "sequential"),
    ("random", None, None, "random"),
    (None, "random", None, "random"),
    (None, None, "random", "random"),
    ("random", "sequential", None, "sequential"),
    ("random", None, "sequential", "sequential"),
    (None, "sequential", "random", "random"),
    ("sequential", "sequential", "random", "random"),
    ("sequential", "random", None, "random"),
    ("random", "random", "sequential", "sequential"),
]
"""The precedence of the configuration's documentation, row by row: each row of both tables is one daemon."""


@pytest.fixture
def place() -> Iterator[Daemon]:
    """The scratch directories of a daemon that nobody has started."""
    nobody = Daemon()
    try:
        yield nobody
    finally:
        nobody.close()


def write_file(place: Daemon, **settings: str | None) -> None:
    path = place.root / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {value}\n" for name, value in settings.items() if value is not None]
    path.write_text("[daemon]\nsimulated_gpus = 4\n" + "".join(lines))


def variables(prefix: str, **settings: str | None) -> dict[str, str]:
    return {prefix + name.upper(): value for name, value in settings.items() if value is not None}


def flags(**settings: str | None) -> list[str]:
    given = [(f"--{name.replace('_', '-')}", value) for name, value in settings.items() if value is not None]
    return [word for pair in given for word in pair]


def may_have(place: Daemon) -> tuple[list[int], str]:
    """The GPUs jobs may have by the daemon's word, and its strategy."""
    info: dict[str, Any] = place.get("/info")
    allowed = info["allowed_gpu_indices"]
    there = [gpu["index"] for gpu in info["gpus"]]
    return [index for index in there if allowed is None or index in allowed], info["gpu_allocation_strategy"]


@pytest.mark.parametrize("row", range(len(GPUS)))
def test_the_precedence_table(place: Daemon, row: int):
    gpus, strategies = GPUS[row], STRATEGIES[row]
    quoted = None if strategies[0] is None else f'"{strategies[0]}"'
    write_file(place, gpus=gpus[0], gpu_allocation_strategy=quoted)
    prefix = (SINGLE, DOUBLE)[row % 2]
    place.environment |= variables(prefix, gpus=gpus[1], gpu_allocation_strategy=strategies[1])
    place.options = tuple(flags(gpus=gpus[2], gpu_allocation_strategy=strategies[2]))
    place.start()
    assert may_have(place) == (gpus[3], strategies[3])


def test_jobs_get_only_what_they_may_have(place: Daemon):
    write_file(place, gpus="[0, 2]")
    place.start()
    job_id = place.gbatch("--gpus", "2", "echo $CUDA_VISIBLE_DEVICES")
    assert place.wait_job(job_id)["gpu_ids"] == [0, 2]
    assert place.log(job_id) == b"0,2\n"
    for words, said in (
        (("--gpus", "3"), "gbatch: The job asks for 3 GPUs, but this machine has 2\n"),
        (("--gpu-ids", "1,2"), "gbatch: The job asks for GPU 1, but gflow has only 0,2\n"),
    ):
        refused = place.cli("gbatch", *words, "true")
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", said)


def test_a_gpu_that_does_not_exist_is_warned_of_and_no_error(place: Daemon):
    write_file(place, gpus="[1, 3, 5, 6, 7]")
    place.start()
    assert may_have(place)[0] == [1, 3]
    warning = "daemon.gpus names GPUs that this machine does not have: 5-7; it has 1,3 of those"
    assert re.search(rf"WARNING .*{re.escape(warning)}\n", place.said())
    assert place.stop() == 0
    place.options = ("--gpus", "9")
    place.start()
    assert may_have(place)[0] == []
    assert "that this machine does not have: 9; it has none of those\n" in place.said()


@pytest.mark.parametrize("hosting", ["tmux", "detached"])
def test_every_setting_reaches_a_daemon_in_the_background(place: Daemon, hosting: str):
    write_file(place, gpus="[0, 2]", gpu_allocation_strategy='"random"')
    if hosting == "detached":  # the name of the session is taken
        taken = ["tmux", "new-session", "-d", "-s", "gflow_server", "sleep", "1000"]
        subprocess.run(taken, env=place.surroundings, check=True)

    def gflowd(*words: str, **environment: str) -> None:
        done = place.cli("gflowd", *words, **environment)
        assert done.returncode == 0, done

    gflowd("up")
    assert may_have(place) == ([0, 2], "random")
    gflowd("down")
    gflowd("up", GFLOW_DAEMON_GPUS="1,3", GFLOW_DAEMON_GPU_ALLOCATION_STRATEGY="sequential")
    assert may_have(place) == ([1, 3], "sequential")
    gflowd("restart", "--gpus", "0-1,3", "--gpu-poll-interval-secs", "3", GFLOW_DAEMON_GPUS="1,3")
    assert may_have(place) == ([0, 1, 3], "random")
    assert flags_of(place.get("/health")["pid"]) == {"gpus": "0-1,3", "gpu_poll_interval_secs": "3"}
    gflowd("restart", "--gpu-allocation-strategy", "sequential")
    assert may_have(place) == ([0, 1, 3], "sequential"), "the flags it had stay"
    gflowd("stop")
    gflowd("start", "--gpus", "3", "--gpu-allocation-strategy", "sequential", GFLOW_DAEMON_GPUS="1")
    assert may_have(place) == ([3], "sequential")
    gflowd("down")
