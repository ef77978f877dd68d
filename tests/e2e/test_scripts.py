"""Scripts run as their author meant them, in the form they had when they were submitted."""

import sys
from pathlib import Path

import pytest

from support.daemon import Daemon


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with blanks in its path."""
    path = tmp_path / "my scripts"
    path.mkdir()
    return path


def ran(daemon: Daemon, here: Path, *words: str) -> str:
    """What a script printed; it must have ended with exit code 0."""
    job_id = daemon.gbatch(*words, cwd=here)
    job = daemon.wait_job(job_id)
    log = daemon.log(job_id).decode()
    assert (job["state"], job["exit_code"]) == ("Finished", 0), (job, log)
    return log


def test_a_path_with_blanks_and_arguments(shared: Daemon, here: Path):
    (here / "a script.sh").write_text('#!/bin/sh\necho "$1|$2|$#|$0"\n')
    assert ran(shared, here, "a script.sh", "x y", "--opt=*").startswith("x y|--opt=*|2|")


def test_windows_line_ends(shared: Daemon, here: Path):
    (here / "crlf.sh").write_bytes(b"#!/bin/bash\r\n# GFLOW --name crlf\r\nfor i in 1 2; do\r\n  echo $i\r\ndone\r\n")
    job_id = shared.gbatch("crlf.sh", cwd=here)
    assert shared.wait_job(job_id)["run_name"] == "crlf"
    assert shared.log(job_id) == b"1\n2\n"


def test_without_an_interpreter_line_bash_runs_it(shared: Daemon, here: Path):
    (here / "plain.sh").write_text('[[ -n $BASH_VERSION ]] && echo "bash"\n')
    assert ran(shared, here, "plain.sh") == "bash\n"


def test_the_interpreter_line_decides(shared: Daemon, here: Path):
    (here / "odd").write_text(f"#!{sys.executable} -I\nimport sys; print(sys.flags.isolated, sys.argv[1:])\n")
    assert ran(shared, here, "odd", "a") == "1 ['a']\n"


def test_it_need_not_be_executable(shared: Daemon, here: Path):
    script = here / "quiet.sh"
    script.write_text("#!/bin/sh\necho ran\n")
    script.chmod(0o600)
    assert ran(shared, here, "quiet.sh") == "ran\n"


def test_a_python_script_finds_its_neighbours_and_itself(shared: Daemon, here: Path):
    (here / "neighbour.py").write_text("WORD = 'found'\n")
    (here / "main.py").write_text("import sys, neighbour\nprint(neighbour.WORD, __file__, sys.argv, __name__)\n")
    path = str(here / "main.py")
    assert ran(shared, here, "main.py", "x") == f"found {path} {[path, 'x']} __main__\n"


def test_editing_it_after_submission_changes_nothing(shared: Daemon, here: Path):
    script = here / "edited.sh"
    script.write_text("echo before\n")
    job_id = shared.gbatch("--hold", "edited.sh", cwd=here)
    script.write_text("echo after\n")
    assert shared.cli("gjob", "release", str(job_id)).returncode == 0
    shared.wait_job(job_id)
    assert shared.log(job_id) == b"before\n"


def test_its_directives_are_options_and_the_command_line_wins(shared: Daemon, here: Path):
    (here / "train.sh").write_text(
        "#!/bin/bash\n"
        "# GFLOW --time=2:00:00\n"
        "# GFLOW --priority 20\n"
        "# GFLOW --name 'two words' --project p\n"
        "echo done\n"
        "# GFLOW --priority 99\n"
    )
    submitted = shared.cli("gbatch", "--parsable", "--time", "1:00:00", "train.sh", cwd=here)
    assert "train.sh:6: '# GFLOW --priority 99' does not count" in submitted.stderr
    job = shared.wait_job(int(submitted.stdout))
    assert job["time_limit"] == {"secs": 3600, "nanos": 0}
    assert (job["priority"], job["run_name"], job["project"]) == (20, "two words", "p")


@pytest.mark.parametrize("directive", ["--nosuch 1", "--time 0", "--priority 256", "word"])
def test_a_wrong_directive_is_refused_with_file_and_line(shared: Daemon, here: Path, directive: str):
    (here / "wrong.sh").write_text(f"#!/bin/sh\n#\n# GFLOW {directive}\ntrue\n")
    before = shared.jobs().keys()
    refused = shared.cli("gbatch", "wrong.sh", cwd=here)
    assert refused.returncode != 0
    assert refused.stdout == ""
    assert "wrong.sh" in refused.stderr
    assert "3" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert shared.jobs().keys() == before


@pytest.mark.parametrize("words", [(), ("-",), ("-", "x y")], ids=["no word", "dash", "with an argument"])
def test_standard_input_is_a_script(shared: Daemon, here: Path, words: tuple[str, ...]):
    job_id = shared.gbatch(*words, cwd=here, stdin='# GFLOW --name piped\necho "got $1" $#\n')
    job = shared.wait_job(job_id)
    assert (job["run_name"], job["exit_code"]) == ("piped", 0)
    assert shared.log(job_id).decode() == ("got x y 1\n" if len(words) == 2 else "got  0\n")


def test_nothing_on_standard_input_is_refused(shared: Daemon):
    refused = shared.cli("gbatch", "-", stdin="\n")
    assert refused.returncode == 2
    assert refused.stderr.startswith("gbatch: No content provided via stdin: give a command")
