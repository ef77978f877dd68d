"""Projects: what is allowed, and what is said of what is not."""

from collections.abc import Iterator

import pytest

from support.daemon import Daemon


def with_projects(text: str) -> Daemon:
    """A daemon that is configured so; nobody has started it."""
    nobody = Daemon()
    path = nobody.root / "config" / "gflow" / "gflow.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f"[projects]\n{text}\n")
    return nobody


@pytest.fixture(scope="module")
def strict() -> Iterator[Daemon]:
    with with_projects('known_projects = [" ml-research ", "cv-team", ""]\nrequire_project = true') as daemon:
        yield daemon


def refused(daemon: Daemon, *words: str, status: int = 1) -> str:
    done = daemon.cli("gbatch", *words, "true")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1), done
    return done.stderr


def test_a_known_project_is_trimmed_and_found_again(strict: Daemon):
    ml = strict.gbatch("--hold", "--project", " ml-research ", "true")
    cv = strict.gbatch("--hold", "-P", "cv-team", "true")
    assert [strict.job(job_id)["project"] for job_id in (ml, cv)] == ["ml-research", "cv-team"]
    listed = strict.cli("gqueue", "--project", "ml-research", "--format", "JOBID,PROJECT,ST")
    assert listed.stdout.split() == ["JOBID", "PROJECT", "ST", str(ml), "ml-research", "H"]
    assert "Project=cv-team" in strict.cli("gjob", "show", str(cv)).stdout


def test_what_is_not_allowed_is_told_with_what_is(strict: Daemon):
    known = "known projects: cv-team, ml-research"
    assert refused(strict, "--project", "bio") == f"gbatch: Unknown project 'bio'; {known}\n"
    assert refused(strict) == f"gbatch: A job needs a project (--project); {known}\n"
    assert refused(strict, "--project", "   ") == f"gbatch: A job needs a project (--project); {known}\n"
    answer = strict.http("POST", "/jobs", {"command": "true", "run_dir": "/", "project": "ML-RESEARCH"})
    assert (answer.status, answer.body["code"]) == (422, "impossible")
    assert answer.body["error"] == f"Unknown project 'ML-RESEARCH'; {known}"


def test_a_job_cannot_be_moved_to_where_it_could_not_be_submitted(strict: Daemon):
    job_id = strict.gbatch("--hold", "-P", "cv-team", "true")
    for project, status in (("bio", 422), (None, 422), (" ml-research ", 200)):
        assert strict.http("PATCH", f"/jobs/{job_id}", {"project": project}).status == status
    assert strict.job(job_id)["project"] == "ml-research"


def test_without_a_list_any_project_will_do_up_to_its_length(shared: Daemon):
    job_id = shared.gbatch("--hold", "--project", "p" * 64, "true")
    assert shared.job(job_id)["project"] == "p" * 64
    said = refused(shared, "--project", "p" * 65, status=2)
    assert "it must be one line of at most 64 printable characters" in said
    blank = shared.gbatch("--hold", "--project", " \t ", "true")
    assert shared.job(blank)["project"] is None


def test_a_list_that_cannot_be_meant_is_an_error_of_the_configuration():
    nobody = with_projects(f'known_projects = ["{"p" * 65}"]')
    try:
        done = nobody.cli("gflowd", "run")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "gflow.toml: projects.known_projects: 'ppp" in done.stderr
    finally:
        nobody.close()
