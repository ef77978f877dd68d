"""The documents are a site that builds without a warning, every page of it can be found from the first, and no link
leads nowhere: neither on the site nor where a code host shows the pages as they are."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gflow
from gflow.cli.completion.scripts import PROGRAMS
from support.mentions import mentioned, unknown

CHECKOUT = Path(gflow.__file__).parents[2]
DOCS = CHECKOUT / "docs"

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not DOCS.exists(), reason="installed without its sources"),
    pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="Sphinx is not installed"),
]


def run(*words):
    return subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, timeout=150, check=False)


def build(docs, site):
    """As contrib/docs does it."""
    return run(sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", docs, site)


@pytest.fixture
def small(tmp_path):
    """A checkout with two pages and the settings of ours."""
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "conf.py", docs)
    shutil.copytree(DOCS / "_static", docs / "_static")
    (tmp_path / "src" / "gflow").mkdir(parents=True)
    shutil.copy(CHECKOUT / "src" / "gflow" / "__init__.py", tmp_path / "src" / "gflow")
    (docs / "index.md").write_text("# First\n\n[a](page.md#it-is-it)\n\n## Part\n\n- [a](page.md)\n")
    (docs / "page.md").write_text("# `Page`\n\n## It *is* it?\n\n[up](../README.md), [b](index.md)\n")
    (tmp_path / "README.md").write_text(
        "[docs](docs/page.md#page) <https://example.com/a?b#c> <mailto:a@example.com>\n"
    )
    return tmp_path


def test_the_site_builds_without_a_warning_and_has_every_page(tmp_path):
    built = build(DOCS, tmp_path / "site")
    assert (built.returncode, built.stdout, built.stderr) == (0, "", "")
    for page in DOCS.rglob("*.md"):
        assert (tmp_path / "site" / page.relative_to(DOCS)).with_suffix(".html").is_file()
    settings = (tmp_path / "site" / "reference" / "settings.html").read_text()
    assert "gpu_poll_interval_secs" in settings


def test_no_link_leads_nowhere():
    checked = run(sys.executable, "contrib/links.py")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_page_that_nobody_finds_and_a_link_within_the_site_to_nothing_are_errors(small):
    (small / "docs" / "lost.md").write_text("# Lost\n\n[nothing](page.md#nothing)\n")
    built = build(small / "docs", small / "site")
    assert built.returncode == 1
    assert "isn't included in any toctree" in built.stderr
    assert "nothing" in built.stderr


LINKS = {
    "docs/page.md": None,
    "docs/page.md#it-is-it": None,
    "#head-1": None,
    "#head-2": "there is no such heading",
    "docs/page.md#it-was-it": "there is no such heading",
    "docs/none.md": "there is no such file",
    "/etc/passwd": "there is no such file",
    "http://example.com": "write https://HOST/… or mailto:NAME@HOST",
    "https:example.com": "write https://HOST/… or mailto:NAME@HOST",
}


def test_links_that_lead_nowhere_are_named_with_their_lines(small):
    lines = [f"[it]({target}) `[not](none.md)`\n" for target in LINKS]
    (small / "CHANGELOG.md").write_text("# Head\n\n# Head\n\n" + "\n".join(lines) + "\n    [not](none.md)\n")
    checked = run(sys.executable, "contrib/links.py", small)
    troubles = [(5 + 2 * number, target, LINKS[target]) for number, target in enumerate(LINKS)]
    said = [f"CHANGELOG.md:{line}: {target}: {trouble}" for line, target, trouble in troubles if trouble is not None]
    assert checked.stdout.splitlines() == said
    assert checked.returncode == 1


OLDER = "moving-from-gflow.md"
"""Speaks of what another program has, and we have not."""


def test_every_verb_and_option_that_a_page_names_is_there():
    pages = [page for page in (CHECKOUT / "README.md", *DOCS.rglob("*.md")) if page.name != OLDER]
    wrong = [f"{page.name}: {line}: {word}" for page in pages for line in mentioned(page) if (word := unknown(line))]
    assert wrong == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("gbatch --gpus 1 python train.py --lr 1", None),
        ("gbatch --gpu 1 python train.py", "--gpu"),
        ("gjob update 7 --time-limit=+1:00:00 # comment --nosuch", None),
        ("gjob udpate 7", "udpate"),
        ("gctl quota set --user bob --max-gpus 2", "--max-gpus"),
        ("gqueue -u all | grep --nosuch", None),
        ("gflow queue --tre", "--tre"),
        ("gjob update 7 --clear-…", None),
        ("less --nosuch", None),
    ],
)
def test_one_that_is_not_there_is_named(line, word):
    assert unknown(line) == word


def test_no_page_puts_another_python_before_the_users_own():
    for page in [CHECKOUT / "README.md", *DOCS.rglob("*.md")]:
        assert not re.search(r'PATH="?[^:\s]*gflow/bin:', page.read_text()), page
    assert all(name.startswith("g") for name in PROGRAMS), "the pages link g*"


def test_the_back_up_script_finds_its_programs_as_cron_runs_it(tmp_path):
    """With programs that only note that they were called."""
    page = (DOCS / "operations.md").read_text()
    script = re.search(r"```sh\n(#!/bin/sh\n# ~/bin/gflow-backup.*?)```", page, re.DOTALL)[1]
    programs, data = tmp_path / ".local/bin", tmp_path / ".local/share/gflow"
    for directory in (programs, data, tmp_path / "backup/gflow"):
        directory.mkdir(parents=True)
    (data / "state.msgpack").touch()
    for name in ("gflowd", "gctl"):
        (programs / name).write_text(f'#!/bin/sh\necho {name} "$1" >>"$HOME/called"\n')
        (programs / name).chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    here = script.replace("/backup/", f"{tmp_path}/backup/")
    subprocess.run(["/bin/sh", "-c", here], env=environment, capture_output=True, timeout=30, check=True)
    assert (tmp_path / "called").read_text().splitlines() == ["gflowd down", "gflowd up", "gctl state"]
    assert (tmp_path / "backup/gflow/state.msgpack").is_file()


def test_no_text_sends_its_reader_to_a_page_that_is_not_installed():
    """Docstrings are for who reads the source, and has the pages."""
    for module in (CHECKOUT / "src").rglob("*.py"):
        tree = ast.parse(module.read_text())
        asides = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        sent = [node.value for node in texts if id(node) not in asides and re.search(r"docs/\S*\.md", node.value)]
        assert sent == [], module
