"""What of the options of `gflowd up` a daemon that runs does not go by."""

from pathlib import Path

import pytest

from gflow import paths
from gflow.cli.gflowd_invocation import Invocation
from gflow.cli.gflowd_options import not_taken
from gflow.daemon import hosting


@pytest.fixture
def without(tmp_path, monkeypatch):
    """The options that are not taken by a daemon which has this command line."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    def without(had, named=None, verbosity=0, **flags):
        monkeypatch.setattr(hosting, "_command_of", lambda pid: ["python", "-m", "gflow.cli.gflowd", *had.split()])
        given = Invocation(named, verbosity)
        given.add(**flags)
        return not_taken(given, 1)

    return without


def test_flags_count_by_what_they_mean(without):
    assert without("run") == []
    assert without("run", socket="/s") == []
    assert without("run --gpus 0,1,2", gpus="0-2") == []
    assert without("run --gpus=0", gpus="1") == ["--gpus", "1"]
    assert without("run", gpus="1", simulated_gpus="2") == ["--gpus", "1", "--simulated-gpus", "2"]
    assert without("run", gpu_allocation_strategy="sequential") == [], "it is the default"


def test_what_the_file_says_is_in_force(without):
    file = Path(paths.config_file())
    file.parent.mkdir()
    file.write_text("[daemon]\ngpus = [1]\n")
    assert without("run", gpus="1") == []
    file.write_text("[")
    assert without("run", gpus="1") == ["--gpus", "1"]


def test_level_and_file(without):
    usual = paths.config_file()
    assert without("-v run", verbosity=1) == []
    assert without("-v run", verbosity=2) == ["-v", "-v"]
    assert without("run", verbosity=-1) == ["-q"]
    assert without("--config /a.toml -q run", verbosity=-1) == []
    assert without("run", usual) == []
    assert without("--config /a.toml run", "/a.toml") == []
    assert without("--config /a.toml run", usual) == ["--config", usual]
    assert without("run", "/a.toml", 1) == ["--config", "/a.toml", "-v"]
