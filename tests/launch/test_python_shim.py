"""The stored text of a Python script runs as if it were the file its author named."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gflow.launch.python_shim import render_shim


@dataclass
class Project:
    """A script's own directory, and the run directory its stored text is in."""

    script: Path
    run: Path

    def start(self, text: str, *arguments: str, original: str | None = "raise SystemExit('edited')") -> "Done":
        """Run the stored `text`; the file itself has become `original`, or was deleted (None)."""
        if original is not None:
            self.script.write_text(original)
        source = self.run / "source"
        source.write_bytes(text.encode())
        shim = self.run / "script" / self.script.name
        shim.parent.mkdir()
        shim.write_bytes(render_shim(str(self.script), str(source)))
        done = subprocess.run(
            [sys.executable, str(shim), *arguments], capture_output=True, text=True, check=False, cwd="/", timeout=60
        )
        return Done(done.returncode, done.stdout, done.stderr)


@dataclass
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def project(tmp_path: Path) -> Project:
    for name in ("my 'project'", "run"):
        (tmp_path / name).mkdir()
    return Project(tmp_path / "my 'project'" / "tr\u00e4in.py", tmp_path / "run")


def test_it_is_the_main_program_at_its_own_path(project: Project) -> None:
    done = project.start("import sys\nprint(__name__, __file__)\nprint(*sys.argv)\nprint(sys.path[0])\n", "a b", "-x")
    path = str(project.script)
    assert done == Done(0, f"__main__ {path}\n{path} a b -x\n{project.script.parent}\n", "")


def test_its_neighbours_are_importable(project: Project) -> None:
    (project.script.parent / "model.py").write_text("SIZE = 3\n")
    assert project.start("import model\nprint(model.SIZE)\n", original=None).out == "3\n"


def test_nothing_of_the_launcher_is_among_its_names(project: Project) -> None:
    text = "print(sorted(name for name in globals() if not name.startswith('__')))\n"
    assert project.start(text).out == "[]\n"


def test_tracebacks_name_the_script_alone(project: Project) -> None:
    text = "def f():\n    raise ValueError('bad')\n\nf()\n"
    done = project.start(text, original=text)
    assert done.code == 1
    assert done.err.splitlines()[0] == "Traceback (most recent call last):"
    assert done.err.splitlines()[-1] == "ValueError: bad"
    assert done.err.count("File ") == 2
    assert done.err.count(f'File "{project.script}"') == 2


def test_a_syntax_error_names_the_script(project: Project) -> None:
    done = project.start("x = (\n")
    assert done.code == 1
    assert f'File "{project.script}", line 1' in done.err
    assert str(project.run) not in done.err


def test_exit_codes_pass_through(project: Project) -> None:
    assert project.start("raise SystemExit(7)\n").code == 7


def test_source_code_is_the_stored_one_after_an_edit(project: Project) -> None:
    text = "import inspect\n\ndef kernel():\n    return 'stored'\n\nprint(inspect.getsource(kernel))\n"
    assert "'stored'" in project.start(text, original=text.replace("stored", "edited")).out


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_child_processes_run_the_stored_text(project: Project, method: str) -> None:
    text = (
        "import multiprocessing, sys\n"
        "def work(x):\n    return x * 2, __file__, sys.argv[0]\n\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context('{method}').Pool(1) as pool:\n"
        "        print(*pool.map(work, [21])[0], sep='\\n')\n"
    )
    done = project.start(text)
    assert (done.code, done.out.splitlines(), done.err) == (0, ["42", str(project.script), str(project.script)], "")


def test_libraries_that_ask_the_main_module_get_the_scripts_path(project: Project) -> None:
    assert project.start("import __main__\nprint(__main__.__file__)\n").out == f"{project.script}\n"


def test_coding_lines_and_future_imports_are_honoured(project: Project) -> None:
    text = "# -*- coding: latin-1 -*-\nfrom __future__ import annotations\nx: Missing = len('\u00e9')\nprint(x)\n"
    assert project.start(text).out == "2\n"
