"""A job runs in the directory it was submitted from, whatever that is called; where it cannot, it says so and fails."""

from pathlib import Path

import pytest

from support.daemon import Daemon

pytestmark = pytest.mark.once

NAMES = {
    "blanks": " two  blanks ",
    "single quote": "it's",
    "double quote": 'say "so"',
    "command substitution": "$(touch gotcha) `touch gotcha`",
    "variable": "$HOME ${HOME}",
    "tmux format": "#{pane_id} #S #(touch gotcha)",
    "newline": "one\ntwo",
    "backslash": "one\\",
    "option": "--help",
    "colon and dot": "a:b.c",
    "non-ASCII": "Größe-世界",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_job_runs_where_it_was_submitted(shared: Daemon, tmp_path: Path, name: str):
    directory = tmp_path / name
    directory.mkdir()
    job_id = shared.gbatch("sh", "-c", 'pwd -P >here; printf "%s\\n" "$PWD" >>here', cwd=directory)
    assert shared.wait_job(job_id)["exit_code"] == 0, shared.log(job_id)
    assert (directory / "here").read_text() == f"{directory}\n{directory}\n"
    assert [path.name for path in directory.iterdir()] == ["here"]


def test_chdir_names_another_directory(shared: Daemon, tmp_path: Path):
    (tmp_path / "a b").mkdir()
    job_id = shared.gbatch("--chdir", "a b", "touch", "here", cwd=tmp_path)
    assert shared.wait_job(job_id)["state"] == "Finished"
    assert (tmp_path / "a b" / "here").exists()


def test_a_directory_that_is_missing_is_refused_at_submission(shared: Daemon, tmp_path: Path):
    before = shared.jobs().keys()
    refused = shared.cli("gbatch", "--chdir", str(tmp_path / "missing"), "true")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "is not a directory" in refused.stderr
    for wrong in (str(tmp_path / "missing"), "relative"):
        answer = shared.http("POST", "/jobs", {"command": "true", "run_dir": wrong})
        assert answer.status in (400, 422), answer
        assert wrong in answer.body["error"]
    assert shared.jobs().keys() == before


def test_a_directory_that_went_away_fails_the_job_with_that_reason(shared: Daemon, tmp_path: Path):
    directory = tmp_path / "gone"
    directory.mkdir()
    job_id = shared.gbatch("--hold", "true", cwd=directory)
    directory.rmdir()
    assert shared.cli("gjob", "release", str(job_id)).returncode == 0
    job = shared.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Failed", 1)
    assert job["status_detail"] == f"Cannot change to the working directory '{directory}': no such directory"
    assert job["reason"] == {"SystemError": job["status_detail"]}
    assert shared.log(job_id) == b""


def test_a_directory_that_may_not_be_entered_fails_the_job_with_that_reason(shared: Daemon, tmp_path: Path):
    directory = tmp_path / "locked"
    directory.mkdir(mode=0o000)
    job_id = shared.submit("true", run_dir=str(directory))
    job = shared.wait_job(job_id)
    assert (job["state"], job["exit_code"]) == ("Failed", 1)
    assert job["status_detail"] == f"Cannot change to the working directory '{directory}': permission denied"
    after = shared.submit("true")
    assert shared.wait_job(after)["state"] == "Finished"
