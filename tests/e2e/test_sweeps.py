"""Sweeps with the real programs: every cell gets its parameters, runs once, and the rest waits when they fail."""

from pathlib import Path

from support.daemon import Daemon
from support.wait import until

SCRIPT = """\
for lr in 1 2 3; do
  {gbatch} --group {group} --key "lr=$lr" sh -c 'echo lr' "$lr" || exit 1
done
"""


def test_every_cell_has_its_parameters(shared: Daemon, tmp_path: Path):
    (tmp_path / "job.sh").write_text('#!/bin/sh\n# GFLOW --param n=1:2\necho "$GFLOW_PARAM_N-$GFLOW_PARAM_WORD-$1"\n')
    (tmp_path / "words.csv").write_text('word\n"a b"\n$HOME\n')
    done = shared.cli("gbatch", "--parsable", "--param-file", "words.csv", "job.sh", "{word}", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done
    jobs = [int(word) for word in done.stdout.split()]
    shared.wait_jobs(jobs)
    said = [shared.log(job_id).decode().strip() for job_id in jobs]
    assert said == ["1-a b-a b", "2-a b-a b", "1-$HOME-$HOME", "2-$HOME-$HOME"]


def test_a_value_is_data_in_every_line_for_a_shell(shared: Daemon, tmp_path: Path):
    value = "it's; $(>ran)"
    line = 'cat <<E\n{x}\nE\necho `echo "{x}"` \'{x}\' "`echo \\"{x}\\"`"'
    behind = ["env", "-i", "PATH=/usr/bin:/bin", "bash", "-c", "echo {x}"]
    work = [{"command": line}, {"argv": ["sh", "-c", "echo {x}"]}, {"argv": behind}, {"argv": ["echo", "{x}"]}]
    jobs = [shared.submit(**fields, parameters={"x": value}, run_dir=str(tmp_path)) for fields in work]
    said = [shared.log(job_id).decode() for job_id in jobs if shared.wait_job(job_id)]
    assert said == [f"{value}\n{value} {value} {value}\n", *[f"{value}\n"] * 3]
    assert shared.jobs()[jobs[0]]["command"] == line
    assert list(tmp_path.iterdir()) == []


def test_a_value_that_would_be_no_data_is_refused_in_one_line(shared: Daemon):
    done = shared.cli("gbatch", "--param", "x=$(id)", "cat <<'E'\n{x}\nE")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gbatch: {x} is in a here-document whose delimiter is quoted, where")
    assert done.stderr.count("\n") == 1


def test_two_runs_of_a_script_at_once_submit_no_cell_twice(shared: Daemon):
    import shlex
    import subprocess

    script = SCRIPT.format(gbatch=shlex.join(shared.command("gbatch")), group="twice")
    runs = [
        subprocess.Popen(
            ["sh", "-c", script], cwd=shared.work, env=shared.surroundings, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    jobs = [job for job in shared.jobs().values() if job["group"] == "twice"]
    assert sorted(job["key"] for job in jobs) == ["lr=1", "lr=2", "lr=3"]
    lines = "".join(said).splitlines()
    assert sorted(line.split()[0] for line in lines) == ["Kept"] * 3 + ["Submitted"] * 3
    shared.wait_jobs([job["id"] for job in jobs])


def test_the_rest_of_a_failing_sweep_is_held_until_it_is_released(shared: Daemon):
    argv = (
        "--group",
        "failing",
        "--key",
        "run",
        "--array",
        "1-4%1",
        "--hold-after-failures",
        "2",
        "--parsable",
        "false",
    )
    first, second, third, fourth = map(int, shared.cli("gbatch", *argv).stdout.split())
    shared.wait_jobs([first, second])
    until(lambda: shared.states(third, fourth) == ["Hold", "Hold"], "the hold")
    why = shared.cli("gjob", "why", str(third)).stdout
    assert f"2 jobs in a row of its group 'failing' failed within a minute (the last: job {second}, exit code 1)" in why
    again = shared.cli("gbatch", *argv)
    assert again.returncode == 0, again
    fifth, sixth, *kept = map(int, again.stdout.split())
    assert kept == [third, fourth], "those that failed are tried again, the others still wait"
    assert sixth > fifth > fourth
    assert shared.cli("gcancel", f"{third},{fourth}").returncode == 0
    shared.wait_jobs([fifth, sixth])
