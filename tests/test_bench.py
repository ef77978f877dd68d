"""The benchmarks fit the program: they use parts of it that nothing else outside of it does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gflow

CONTRIB = Path(gflow.__file__).parents[2] / "contrib"
MODULES = sorted(path.stem for path in (CONTRIB / "bench").glob("*.py"))


@pytest.mark.skipif(not CONTRIB.exists(), reason="installed without its sources")
def test_every_benchmark_finds_what_it_measures():
    places = os.pathsep.join(map(str, (CONTRIB / "bench", CONTRIB, Path(__file__).parent, CONTRIB.parent / "src")))
    imports = "; ".join(f"import {name}" for name in MODULES)
    done = subprocess.run(
        [sys.executable, "-c", imports],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr, "main" in MODULES) == (0, "", True)
