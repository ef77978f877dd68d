"""What is made of the source and kept beside it - manual pages, completion scripts, units of systemd, reference - is
what would be made now, is accepted by what reads it, and is installed where that looks."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import gflow
from gflow.cli.completion.scripts import PROGRAMS

CHECKOUT = Path(gflow.__file__).parents[2]
CONTRIB = CHECKOUT / "contrib"
MAKERS = ["man.py", "completions.py", "units.py", "reference.py"]

pytestmark = [pytest.mark.once, pytest.mark.skipif(not CONTRIB.exists(), reason="installed without its sources")]


def command(*words):
    """The output of a command, which must do well and complain about nothing."""
    done = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.mark.parametrize("maker", MAKERS)
def test_they_are_what_would_be_made_now(maker):
    assert command(sys.executable, CONTRIB / maker, "--check") == ""


@pytest.mark.parametrize("maker", MAKERS)
def test_a_stale_one_would_be_noticed(tmp_path, maker):
    made_by = tmp_path / "contrib" / maker
    made_by.parent.mkdir()
    for name in ("written.py", maker):
        shutil.copy(CONTRIB / name, made_by.parent)
    shutil.copytree(CONTRIB / "pages", made_by.parent / "pages")
    made = subprocess.run([sys.executable, made_by], capture_output=True, check=False)
    assert made.returncode == 0, made
    first = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file() and "gflowd" in path.name)
    first.write_text(first.read_text() + "more\n")
    (first.parent / "extra").touch()
    checked = subprocess.run([sys.executable, made_by, "--check"], capture_output=True, text=True, check=False)
    assert checked.returncode == 1
    assert [line.partition(":")[0] for line in checked.stdout.splitlines()] == [str(first), str(first.parent / "extra")]


TOLD = """
from pages.markdown import meaning, meanings, table

class Kind:
    "A kind."

    first: int = 1
    '''What it
    means.'''
    second = 2
    third: int = 3
    "Of the third."

assert meanings(Kind) == {"first": "What it means.", "third": "Of the third."}
assert table(("a", "b"), [("x|y", "c\\nd")]) == "| a | b |\\n| --- | --- |\\n| x\\\\|y | c d |"
meaning(Kind, "second", meanings(Kind))
"""


def test_a_setting_that_nobody_says_the_meaning_of_is_refused(tmp_path):
    (tmp_path / "told.py").write_text(TOLD)
    words = [sys.executable, tmp_path / "told.py"]
    environment = {**os.environ, "PYTHONPATH": str(CONTRIB)}
    told = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert told.stderr == "__main__.Kind.second: write below it, in a string, what it means\n"
    assert told.returncode == 1


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_has_no_complaint_about_the_pages():
    command("groff", "-man", "-ww", "-Tutf8", "-z", *sorted((CONTRIB / "man").iterdir()))


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
def test_man_shows_the_pages():
    shown = command("man", "--warnings=w", "-P", "cat", "-l", CONTRIB / "man" / "gjob.1")
    assert "Print the output of a job." in shown
    assert "--follow" in shown


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@pytest.mark.parametrize("whose", ["user", "system"])
def test_systemd_has_no_complaint_about_the_units(tmp_path, whose):
    program = tmp_path / "gflowd"
    program.touch(mode=0o755)
    for unit in (CHECKOUT / "systemd" / whose).iterdir():
        (tmp_path / unit.name).write_text(unit.read_text().replace("/usr/bin/gflowd", str(program)))
    words = ("systemd-analyze", "--man=no", f"--{whose}", "verify", tmp_path / "gflowd.service")
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    checked = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    complaints = [line for line in checked.stderr.splitlines() if "gflowd" in line]
    assert (checked.returncode, complaints) == (0, [])


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built as an installer would, from a source archive."""
    place = tmp_path_factory.mktemp("built")
    build = (sys.executable, "-m", "hatchling", "build", "-t")
    subprocess.run([*build, "sdist", "-d", place], cwd=CHECKOUT, capture_output=True, timeout=120, check=True)
    (archive,) = place.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        members.extractall(place, filter="data")
    (source,) = place.glob("gflow_scheduler-*/")
    subprocess.run([*build, "wheel", "-d", place], cwd=source, capture_output=True, timeout=120, check=True)
    return next(place.glob("*.whl"))


def test_the_wheel_installs_them(wheel):
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    for program in PROGRAMS:
        assert f"share/man/man1/{program}.1" in names
        assert f"share/bash-completion/completions/{program}" in names
        assert f"share/fish/vendor_completions.d/{program}.fish" in names
    assert "share/zsh/site-functions/_gflow" in names


def test_what_is_installed_runs(wheel, tmp_path):
    """As by pip into an environment of its own; the packages it needs are those of this one."""
    words = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--ignore-installed", "--prefix", tmp_path)
    subprocess.run([sys.executable, *words, wheel], capture_output=True, timeout=120, check=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(packages)}
    for words in ([sys.executable, "-m", "gflow", "--version"], [tmp_path / "bin/gflow", "--version"]):
        done = subprocess.run(words, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"gflow {gflow.__version__}\n", "")
    assert (tmp_path / "share/man/man1/gqueue.1").is_file()
