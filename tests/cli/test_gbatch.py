"""gbatch: what is submitted for which command line, and what is printed."""

import errno
import io
import json
import os
import stat
import sys
import time
from itertools import count

import pytest

from gflow.cli.command import Failure
from gflow.cli.gbatch import COMMAND, DIRECTIVES
from gflow.cli.submitted import report
from support.fake_daemon import reply


class _Submissions:
    """The submit routes; keeps the jobs that came."""

    def __init__(self, daemon):
        self.jobs = []
        self.ids = count(42)
        self.dropped = []
        self.answers = {}
        daemon.on("POST", "/jobs", self.single)
        daemon.on("POST", "/jobs/batch", self.batch)

    def single(self, asked):
        self.jobs.append(asked.json)
        return reply(self._answer(), 201)

    def batch(self, asked):
        made = [asked.json["defaults"] | job for job in asked.json["jobs"]]
        self.jobs += made
        return reply([self._answer() for _ in made], 201)

    def _answer(self):
        job_id = next(self.ids)
        if job_id in self.answers:
            return self.answers[job_id]
        return {"id": job_id, "run_name": f"elegant-mountain-{1192 + job_id}", "dropped_env": self.dropped}


@pytest.fixture
def submitted(daemon):
    return _Submissions(daemon)


@pytest.fixture
def gbatch(run, submitted, tmp_path, monkeypatch):
    """Run gbatch in a directory of its own and return what came of it and the one job submitted."""
    monkeypatch.chdir(tmp_path)

    def command(*argv, status=0):
        done = run(COMMAND, *argv)
        assert done.status == status, done.err
        return done

    return command


def job_of(submitted):
    (job,) = submitted.jobs
    return job


def test_several_words_are_taken_as_typed(gbatch, submitted, tmp_path):
    done = gbatch("--time", "2:00:00", "--gpus", "1", "python", "train.py", "--epochs", "100")
    assert done.out == "Submitted batch job 42 (elegant-mountain-1234)\n"
    assert done.err == ""
    job = job_of(submitted)
    assert job["argv"] == ["python", "train.py", "--epochs", "100"]
    assert (job["time_limit"], job["gpus"], job["run_dir"]) == (7200, 1, str(tmp_path))
    assert "command" not in job
    assert "script_text" not in job


AWKWARD = [
    "# comment",
    "exit 3; echo",
    "a 'b' \"c\"",
    "$HOME",
    "!x",
    "two\nlines",
    "tab\there",
    "--opt",
    ";",
    "é日",
    "{braces}",
    "x" * 100_000,
    "",
    "&",
    "a b",
]


@pytest.mark.parametrize("word", AWKWARD, ids=range(len(AWKWARD)))
def test_every_character_of_a_word_is_sent(gbatch, submitted, word):
    gbatch("echo", word, "end")
    assert job_of(submitted)["argv"] == ["echo", word, "end"]


@pytest.mark.parametrize(
    "line", ["echo one two", "a|b", "x; y", "echo $HOME", "sleep 1 &", "cat <in >out", "echo 'it'", "ls *.txt", "# c"]
)
def test_one_quoted_word_is_a_line_for_the_shell(gbatch, submitted, line):
    gbatch(line)
    job = job_of(submitted)
    assert job["command"] == line
    assert "argv" not in job


@pytest.mark.parametrize("word", ["true", "./run", "/bin/ls", "a=b", "x{1}", "./{model}/run", "nvidia-smi-nowhere"])
def test_one_plain_word_is_a_program(gbatch, submitted, tmp_path, word):
    (tmp_path / "run").write_bytes(b"\x7fELF\0\0")
    gbatch(word)
    assert job_of(submitted)["argv"] == [word]


def test_a_word_with_blanks_that_names_a_file_is_that_program(gbatch, submitted, tmp_path):
    (tmp_path / "my prog").write_bytes(b"\x7fELF\0\0")
    gbatch("./my prog")
    assert job_of(submitted)["argv"] == ["./my prog"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("job", "#!/bin/sh\necho\n"), ("job.sh", "echo\n"), ("job.py", "print()\n"), ("note", "# GFLOW --gpus 1\necho\n")],
)
def test_scripts_are_known_by_their_first_line_directives_or_suffix(gbatch, submitted, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    gbatch(name, "arg", "--x")
    job = job_of(submitted)
    assert (job["script"], job["script_text"], job["script_args"]) == (str(tmp_path / name), text, ["arg", "--x"])
    assert "argv" not in job
    assert "command" not in job


@pytest.mark.parametrize(("name", "content"), [("data", b"just text\n"), ("prog", b"\x7fELF\0# GFLOW --x\n")])
def test_other_files_are_programs(gbatch, submitted, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    gbatch(name, "arg")
    assert job_of(submitted)["argv"] == [name, "arg"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nope.sh"], "there is no script nope.sh here, and no such program on your PATH"),
        (["nope.py", "--lr", "1"], "there is no script nope.py here, and no such program on your PATH"),
        (["./nope.py"], "there is no ./nope.py in {here}"),
        (["/no/such/program", "x"], "there is no /no/such/program"),
        (["somewhere"], "somewhere is a directory, neither a program nor a script"),
        (["{here}/somewhere"], "{here}/somewhere is a directory, neither a program nor a script"),
        (["some.py"], "some.py is a directory, neither a program nor a script"),
        (["-D", "somewhere", "./run"], "there is no ./run in {here}/somewhere"),
        (["-D", "somewhere", "x.py"], "there is no script x.py here, and no such program on your PATH; for the one in"),
    ],
)
def test_what_is_not_there_is_not_queued(gbatch, submitted, tmp_path, words, complaint):
    for name in ("somewhere", "some.py"):
        (tmp_path / name).mkdir()
    (tmp_path / "run").write_bytes(b"\0")
    done = gbatch(*[word.replace("{here}", str(tmp_path)) for word in words], status=1)
    assert done.err.startswith("gbatch: " + complaint.replace("{here}", str(tmp_path)))
    assert done.err.count("\n") == 1
    assert submitted.jobs == []


def test_a_program_that_may_be_there_later_is_queued_and_remarked_upon(gbatch, submitted, tmp_path, monkeypatch):
    later = "the job fails if it is still missing when it starts\n"
    assert gbatch("-d", "3", "./made", "x").err == f"gbatch: there is no ./made yet; {later}"
    assert gbatch("no-such-program").err == f"gbatch: no-such-program is not on your PATH; {later}"
    assert gbatch("-c", "env", "no-such-program").err == "", "it may be in the environment"
    assert gbatch("--export", "PATH=/x", "no-such-program").err == ""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "go.sh").write_text("true\n")
    (tmp_path / "bin" / "go.sh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert gbatch("go.sh").err == "", "a program may be called like a script"
    assert [job["argv"][0] for job in submitted.jobs] == ["./made", *["no-such-program"] * 3, "go.sh"]


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["--mail-type=ALL"], "No such option '--mail-type': --notify-on says"),
        (["--mail-user", "a@b"], "No such option '--mail-user': --notify-email ADDR sends"),
        (["-e", "err.txt"], "No such option '-e': gjob log shows what a job prints"),
        (["--nodes=1"], "No such option '--nodes': there is one machine here"),
        (["-N1"], "No such option '-N': there is one machine here"),
        (["--gpu", "1"], "No such option '--gpu'. (Did you mean"),
    ],
)
def test_options_of_sbatch_that_there_are_not_here_say_what_to_do(gbatch, submitted, tmp_path, argv, hint):
    done = gbatch(*argv, "true", status=2)
    assert done.err.startswith(f"gbatch: {hint}")
    assert done.err.count("\n") == 1
    (tmp_path / "job.sh").write_text(f"# GFLOW {' '.join(argv)}\n")
    assert gbatch("job.sh", status=2).err.startswith(f"gbatch: job.sh:1: # GFLOW: {hint.partition(' See')[0]}")
    assert submitted.jobs == []


def test_slurm_s_habits_are_remarked_upon(gbatch, submitted):
    assert (
        gbatch("--nice", "9", "true").err == "gbatch: --nice is --priority here: unlike in Slurm, higher runs first\n"
    )
    assert gbatch("-c", "4", "true").err == "gbatch: -c is --conda-env here: the job will run in one called '4'\n"
    assert [job.get("priority") for job in submitted.jobs] == [9, None]
    refused = gbatch("-p", "gpu", "true", status=2)
    assert "'gpu' is not a number from 0 to 255; it is a priority, and there are no partitions here" in refused.err
    assert "--priority and --nice cannot be used together" in gbatch("-p1", "--nice=2", "true", status=2).err


def test_directives_count_and_the_command_line_wins(gbatch, submitted, tmp_path):
    (tmp_path / "experiment.sh").write_text(
        "#!/bin/bash\n# GFLOW --time 3:00:00\n# GFLOW --gpus 2\n# GFLOW --priority 20\necho\n"
    )
    gbatch("--time", "1:00:00", "experiment.sh")
    job = job_of(submitted)
    assert (job["time_limit"], job["gpus"], job["priority"]) == (3600, 2, 20)


def test_addresses_of_a_script_are_added_to_and_its_events_replaced(gbatch, submitted, tmp_path):
    (tmp_path / "job.sh").write_text("#!/bin/sh\n# GFLOW --notify-email a@b\n# GFLOW --notify-on job_started\ntrue\n")
    gbatch("--notify-email", "c@d", "job.sh")
    gbatch("--notify-on", "job_failed", "job.sh")
    wanted = [job["notifications"] for job in submitted.jobs]
    assert wanted == [
        {"emails": ["a@b", "c@d"], "events": ["job_started"]},
        {"emails": ["a@b"], "events": ["job_failed"]},
    ]


def test_a_wrong_directive_queues_nothing(gbatch, submitted, tmp_path):
    (tmp_path / "bad.sh").write_text("#!/bin/sh\n# GFLOW --gpsu 2\n")
    done = gbatch("bad.sh", status=2)
    assert "bad.sh:2: # GFLOW: No such option '--gpsu'" in done.err
    assert submitted.jobs == []


def test_a_script_that_is_not_text_is_refused(gbatch, submitted, tmp_path):
    (tmp_path / "bad.sh").write_bytes(b"#!/bin/sh\necho \xff\n")
    assert "not UTF-8" in gbatch("bad.sh", status=1).err
    assert submitted.jobs == []


class _Stdin:
    def __init__(self, content, tty=False):
        self.buffer = io.BytesIO(content)
        self.isatty = lambda: tty


@pytest.mark.parametrize("argv", [[], ["-"], ["-", "arg"]])
def test_a_script_from_standard_input(gbatch, submitted, monkeypatch, argv):
    monkeypatch.setattr(sys, "stdin", _Stdin(b"# GFLOW --gpus 1\necho hi\n"))
    gbatch(*argv)
    job = job_of(submitted)
    assert (job["script_text"], job["script_args"], job["gpus"]) == ("# GFLOW --gpus 1\necho hi\n", argv[1:], 1)
    assert "script" not in job


def test_nothing_on_standard_input_is_an_error(gbatch, submitted, monkeypatch):
    monkeypatch.setattr(sys, "stdin", _Stdin(b" \n"))
    assert "No content provided via stdin: give a command" in gbatch(status=2).err
    assert "No content provided via stdin: give a command" in gbatch("-", status=2).err
    monkeypatch.setattr(sys, "stdin", _Stdin(b"\x7fELF\xff"))
    assert gbatch("-", status=1).err.endswith("write it to a file and submit that: gbatch -- PATH\n")
    monkeypatch.setattr(sys, "stdin", _Stdin(b"", tty=True))
    assert "nothing to submit" in gbatch(status=2).err
    assert submitted.jobs == []


def test_no_more_is_read_than_the_daemon_takes(gbatch, submitted, monkeypatch):
    with open("/dev/zero") as endless:
        monkeypatch.setattr(sys, "stdin", endless)
        assert "script <stdin> is longer than 4 MiB" in gbatch("-", status=2).err
    assert "--param-file /dev/zero is longer than 8 MiB" in gbatch("--param-file", "/dev/zero", "true", status=2).err
    assert submitted.jobs == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--nosuch", "1"],
        ["--nosuch"],
        ["-z", "echo"],
        ["--param", "a", "echo"],
        ["--param", "a=1", "--param", "a=2", "echo"],
        ["--param", "a=1,2", "--array", "1-2", "echo"],
        ["--param", "a=1:1001", "echo"],
        ["--param-file", "no.csv", "--array", "1-2", "echo"],
        ["--name-template", "{a}", "echo"],
        ["--name-template", "{b}", "--param", "a=1", "echo"],
        ["--name-template", "{a}", "--name", "x", "--param", "a=1", "echo"],
        ["--key", "k", "echo"],
        ["--key", "{a}\n{", "--group", "g", "--param", "a=1", "echo"],
        ["--hold-after-failures", "2", "echo"],
        ["--hold-after-failures", "0", "--group", "g", "echo"],
        ["--array", "1-3%2", "--max-concurrent", "1", "echo"],
        ["--array", "1-3%0", "echo"],
        ["--dependency", "after:1", "echo"],
        ["--dependency", "afterok:1,afterany:2", "echo"],
        ["--gres", "gpu:a100:2", "echo"],
        ["--wrap", "echo x", "echo"],
        ["--export", "A,=b", "echo"],
        ["--notify-email", "a b@c", "echo"],
        ["--notify-email", "a@b", "--notify-on", "job_exploded", "echo"],
        ["--notify-on", "job_failed", "echo"],
        ["--time", "0", "echo"],
        ["--time", "-5", "echo"],
        ["--gpus", "x", "echo"],
        ["--gpu-ids", "3-1", "echo"],
        ["--gpu-ids", "", "echo"],
        ["--gpu-ids", "0", "--gpus", "1", "echo"],
        ["--gpu-memory", "0", "echo"],
        ["--priority", "300", "echo"],
        ["--array", "9-1", "echo"],
        ["--begin", "2001-01-01", "echo"],
        ["--shared", "echo"],
        ["--shared", "--gpus", "1", "echo"],
        ["--signal", "USR1@60", "echo"],
        ["--depends-on", "1", "--depends-on-all", "2", "echo"],
        ["--export", "NO_SUCH_VARIABLE_HERE", "echo"],
        [""],
        [" "],
        ["--time"],
    ],
)
def test_a_wrong_option_queues_nothing_and_is_one_line(gbatch, submitted, argv):
    done = gbatch(*argv, status=2)
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert submitted.jobs == []


def test_every_option_reaches_the_request(gbatch, submitted, tmp_path, daemon, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.0)
    (tmp_path / "sub").mkdir()
    argv = "-g 2 --shared --gpu-memory 20G --retry-on-oom -m 16G -t 30 --signal USR1@120 -p 20 --depends-on-any 1,2"
    argv += " --no-auto-cancel --max-retries 2 --begin now+2h --hold -n train -P ml -c base --export NONE --chdir sub"
    argv += " --notify-email a@b --notify-email c@d --notify-on job_failed,JOB_STARTED --notify-on group_completed"
    argv += " --cpus 4 --keep-session true"
    gbatch(*argv.split())
    job = job_of(submitted)
    key = job.pop("submit_key")
    assert len(key) == 32
    assert job == {
        "argv": ["true"],
        "run_dir": str(tmp_path / "sub"),
        "umask": job["umask"],
        "gpus": 2,
        "gpu_sharing_mode": "Shared",
        "gpu_memory_limit_mb": 20480,
        "retry_on_oom": True,
        "memory_limit_mb": 16384,
        "cpus": 4,
        "time_limit": 1800,
        "early_signal": {"signal": 10, "secs_before": 120},
        "priority": 20,
        "depends_on_ids": [1, 2],
        "dependency_mode": "Any",
        "auto_cancel_on_dependency_failure": False,
        "max_retries": 2,
        "scheduled_at": 1_800_007_200.0,
        "hold": True,
        "run_name": "train",
        "project": "ml",
        "conda_env": "base",
        "keep_session": True,
        "notifications": {"emails": ["a@b", "c@d"], "events": ["job_failed", "job_started", "group_completed"]},
    }


@pytest.mark.parametrize(
    ("long", "aliases"),
    [
        ("--gpus=1", ["--gres=1", "--gres=gpu:1", "--gres=gpu", "-g1", "-G1"]),
        ("--hold", ["-H"]),
        ("--chdir=/", ["-D/"]),
        ("--project=x", ["--account=x", "-Ax", "-Px"]),
        ("--array=1", ["-a1", "--array=1-1", "--array=1,1", "--array=1-3:5"]),
        ("--priority=9", ["--nice=9", "-p9"]),
        ("--depends-on=3", ["--dependency=3", "-d3", "--dependency=afterok:3"]),
        ("--time=10", ["--time-limit=10", "--timelimit=10", "-t10"]),
        ("--memory=1G", ["--mem=1G", "--max-mem=1G", "--max-memory=1G", "-m1G", "--mem=1024"]),
        ("--cpus=2", ["--cpus-per-task=2"]),
        ("--gpu-memory=1G", ["--max-gpu-mem=1G", "--max-gpu-memory=1G"]),
        ("--name=x", ["--job-name=x", "-nx", "-Jx"]),
    ],
)
def test_aliases_mean_the_same(gbatch, submitted, long, aliases):
    for option in (long, *aliases):
        gbatch(option, "true")
    jobs = [{name: value for name, value in job.items() if name != "submit_key"} for job in submitted.jobs]
    assert all(job == jobs[0] for job in jobs)


@pytest.mark.parametrize(
    ("given", "indices"), [("0,3", [0, 3]), ("0-2", [0, 1, 2]), ("3,0-1,3", [0, 1, 3]), (" 2 ", [2])]
)
def test_gpus_by_index(gbatch, submitted, given, indices):
    gbatch("--gpu-ids", given, "true")
    job = job_of(submitted)
    assert (job["gpu_indices"], job["gpus"]) == (indices, len(indices))


def test_gpus_are_asked_for_by_number_or_by_index_whoever_asks(gbatch, submitted, tmp_path):
    (tmp_path / "by_index.sh").write_text("# GFLOW --gpu-ids 0,3 --gpu-memory 20G --retry-on-oom\ntrue\n")
    (tmp_path / "both.sh").write_text("# GFLOW --gpu-ids 0,3\n# GFLOW --gpus 1\ntrue\n")
    gbatch("by_index.sh")
    gbatch("--gpus", "1", "by_index.sh")
    first, second = submitted.jobs
    assert (first["gpu_indices"], first["gpus"], first["gpu_memory_limit_mb"]) == ([0, 3], 2, 20480)
    assert first["retry_on_oom"] is True
    assert ("gpu_indices" in second, second["gpus"]) == (False, 1)
    assert "both.sh: # GFLOW: --gpus and --gpu-ids cannot be used together" in gbatch("both.sh", status=2).err


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--gpu-memory", "20G"], "--gpu-memory"),
        (["--shared", "--gpu-memory", "20G", "--gpus", "0"], "--shared and --gpu-memory"),
        (["--retry-on-oom"], "--retry-on-oom"),
    ],
)
def test_what_has_no_effect_without_a_gpu_is_said(gbatch, submitted, argv, named):
    said = gbatch(*argv, "true").err
    assert said == (
        f"gbatch: the job asks for no GPU, so {named} will have no effect; add --gpus N or --gpu-ids LIST\n"
    )
    assert len(submitted.jobs) == 1
    assert gbatch("--gpu-ids", "0", "--gpu-memory", "20G", "true").err == ""


def test_a_project_is_trimmed_and_nothing_but_blanks_is_none(gbatch, submitted, tmp_path):
    (tmp_path / "ml.sh").write_text("# GFLOW --project ml\ntrue\n")
    for argv in (["-P", " ml ", "true"], ["-P", "  ", "true"], ["ml.sh"], ["--project=", "ml.sh"]):
        gbatch(*argv)
    assert [job["project"] for job in submitted.jobs] == ["ml", "", "ml", ""], "which the daemon takes for none"


def test_what_was_not_asked_for_is_left_to_the_daemon(gbatch, submitted):
    gbatch("true")
    assert set(job_of(submitted)) == {"argv", "run_dir", "umask", "environment", "submit_key"}


def test_shorthands_are_resolved_by_the_daemon(gbatch, submitted, daemon):
    daemon.on(
        "GET",
        "/jobs/resolve-dependency",
        lambda asked: reply({"job_id": {"@": 41, "@~1": 40}[asked.query["shorthand"]]}),
    )
    gbatch("-d", "@", "true")
    gbatch("--depends-on-all", "@~1,@,7", "true")
    assert [job["depends_on_ids"] for job in submitted.jobs] == [[41], [40, 41, 7]]
    assert {job["dependency_mode"] for job in submitted.jobs} == {"All"}


def test_an_array_is_one_batch_with_a_key_each(gbatch, submitted, daemon):
    done = gbatch("--array", "3-5", "--time", "30", "python", "process.py", "--task", "$GFLOW_ARRAY_TASK_ID")
    assert [job["task_id"] for job in submitted.jobs] == [3, 4, 5]
    assert len({job["submit_key"] for job in submitted.jobs}) == 3
    assert {job["time_limit"] for job in submitted.jobs} == {1800}
    assert [asked.path for asked in daemon.asked] == ["/jobs/batch"]
    assert done.out == "".join(f"Submitted batch job {n} (elegant-mountain-{n + 1192})\n" for n in (42, 43, 44))


def test_an_array_with_a_limit_names_its_group(gbatch, submitted):
    import uuid

    done = gbatch("--array", "1-2", "--max-concurrent", "1", "true")
    (group,) = {job["group_id"] for job in submitted.jobs}
    assert uuid.UUID(group).version == 4
    assert {job["max_concurrent"] for job in submitted.jobs} == {1}
    assert done.out.splitlines()[:2] == [
        f"Submitted 2 batch jobs with group_id: {group}",
        "  (You can update the limit with: gctl set-limit 42 <N>)",
    ]


def test_a_throttle_is_a_limit_of_the_group(gbatch, submitted):
    gbatch("--array", "0-9:3%2", "true")
    assert [job["task_id"] for job in submitted.jobs] == [0, 3, 6, 9]
    assert {job["max_concurrent"] for job in submitted.jobs} == {2}
    assert len({job["group_id"] for job in submitted.jobs}) == 1


def test_a_sweep_is_one_batch_of_all_combinations(gbatch, submitted, daemon):
    argv = [
        "--param",
        "lr=0.1,0.01",
        "--param",
        "seed=1:2",
        "--name-template",
        "run-{lr}-{seed}",
        "--max-concurrent",
        "2",
    ]
    done = gbatch(*argv, "python", "train.py", "--lr", "{lr}")
    assert [asked.path for asked in daemon.asked] == ["/jobs/batch"]
    assert [(job["parameters"], job["run_name"]) for job in submitted.jobs] == [
        ({"lr": lr, "seed": seed}, f"run-{lr}-{seed}") for lr in ("0.1", "0.01") for seed in ("1", "2")
    ]
    assert {tuple(job["argv"]) for job in submitted.jobs} == {("python", "train.py", "--lr", "{lr}")}
    assert {job["max_concurrent"] for job in submitted.jobs} == {2}
    assert done.out.splitlines()[1] == "  (You can update the limit with: gctl set-limit 42 <N>)"
    assert done.out.count("Submitted batch job ") == 4


def test_a_sweep_in_a_script_is_added_to_and_overridden(gbatch, submitted, tmp_path):
    (tmp_path / "cells.csv").write_text("seed\n1\n2\n")
    (tmp_path / "sweep.sh").write_text("# GFLOW --param lr=1,2 --param-file cells.csv\ntrue\n")
    gbatch("--param", "lr=3", "--param", "opt=sgd", "sweep.sh")
    assert [job["parameters"] for job in submitted.jobs] == [
        {"seed": seed, "lr": "3", "opt": "sgd"} for seed in ("1", "2")
    ]
    assert {job["script_text"][:7] for job in submitted.jobs} == {"# GFLOW"}


def test_cells_that_are_there_already_are_said(gbatch, submitted):
    submitted.answers = {43: {"id": 7, "run_name": "old", "dropped_env": [], "already": "Finished"}}
    argv = ["--group", "lr", "--key", "run", "--param", "lr=1,2", "--hold-after-failures", "3", "true"]
    assert gbatch(*argv).out.splitlines() == [
        "Submitted 1 batch job to group lr; 1 is there already",
        "Submitted batch job 42 (elegant-mountain-1234)",
        "Kept batch job 7 (old): Finished",
    ]
    assert [(job["group"], job["key"], job["hold_after_failures"]) for job in submitted.jobs] == [
        ("lr", "run/lr=1", 3),
        ("lr", "run/lr=2", 3),
    ]
    assert not any("group_id" in job for job in submitted.jobs), "the daemon knows which group it is"
    submitted.answers[44] = submitted.answers[43]
    assert gbatch("--group", "lr", "--key", "a", "true").out == "Kept batch job 7 (old): Finished\n"
    submitted.answers[45] = submitted.answers[43]
    assert gbatch("--parsable", "--group", "lr", "--key", "a", "true").out == "7\n"


def test_jobs_born_on_hold_are_said(gbatch, submitted):
    why = "3 jobs in a row failed"
    submitted.answers = {n: {"id": n, "run_name": "x", "dropped_env": [], "held": why} for n in (42, 44, 45)}
    assert gbatch("--group", "lr", "true").err == f"gbatch: job 42 is on hold: {why}; gjob release 42\n"
    done = gbatch("--group", "lr", "--array", "1-3", "true")
    assert done.err == f"gbatch: jobs 44-45 are on hold: {why}; gjob release 44-45\n"


def test_what_will_not_be_done_is_said_once(gbatch, submitted):
    submitted.answers = {
        n: {"id": n, "run_name": "x", "dropped_env": [], "warning": "nobody is mailed"} for n in (42, 43)
    }
    done = gbatch("--array", "1-2", "--notify-email", "ana@example.com", "true")
    assert (done.status, done.err) == (0, "gbatch: warning: nobody is mailed\n")


def test_a_test_asks_the_daemon_and_queues_nothing(gbatch, daemon, submitted):
    asked = []

    def look(request):
        asked.append((request.query, request.json["jobs"]))
        return reply([{"id": None, "run_name": None}, {"id": 3, "run_name": "x", "already": "Running"}])

    daemon.on("POST", "/jobs/batch", look)
    assert gbatch("--test-only", "true").out == "Would queue 1 job; 1 is there already; nothing was submitted\n"
    assert asked == [({"dry_run": "1"}, [{}])]
    daemon.on("POST", "/jobs/batch", reply({"error": "too many GPUs", "code": "impossible"}, 422))
    assert gbatch("--test-only", "-g", "9", "true", status=1).err == "gbatch: too many GPUs\n"


def test_a_wrapped_line_is_one_for_the_shell(gbatch, submitted):
    gbatch("--wrap", "python")
    job = job_of(submitted)
    assert job["command"] == "python"
    assert "argv" not in job


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("afterok:1:2", {"depends_on_ids": [1, 2], "dependency_mode": "All"}),
        ("afterany:3", {"depends_on_ids": [3], "dependency_mode": "All", "after_end": True}),
        ("afterok:1?afterok:2", {"depends_on_ids": [1, 2], "dependency_mode": "Any"}),
    ],
)
def test_slurm_s_dependencies(gbatch, submitted, given, wanted):
    gbatch("--dependency", given, "true")
    job = job_of(submitted)
    fields = ("depends_on_ids", "dependency_mode", "after_end")
    assert {field: job[field] for field in fields if field in job} == wanted


# -- conda -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def conda(monkeypatch, tmp_path):
    """An active environment."""
    monkeypatch.setenv("CONDA_DEFAULT_ENV", "ml")
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path))
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"/usr/bin:{tmp_path}/bin")
    monkeypatch.delenv("CONDA_EXE", raising=False)


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["true"], "ml"),
        (["--wrap", "true"], "ml"),
        (["--export", "ALL", "true"], "ml"),
        (["-c", "other", "true"], "other"),
        (["--export", "NONE", "true"], None),
        (["--export", "HOME", "true"], None),
        (["job.sh"], None),
    ],
)
def test_a_command_runs_in_the_active_conda_environment(gbatch, submitted, conda, tmp_path, argv, expected):
    (tmp_path / "job.sh").write_text("true\n")
    gbatch(*argv)
    assert job_of(submitted).get("conda_env") == expected


def test_an_environment_that_is_gone_needs_a_conda_to_activate_it(gbatch, submitted, conda, tmp_path, monkeypatch):
    monkeypatch.setenv("CONDA_PREFIX", str(tmp_path / "none"))
    monkeypatch.setenv("PATH", str(tmp_path))
    gbatch("true")
    program = tmp_path / "conda"
    program.touch(0o700)
    gbatch("true")
    assert [job.get("conda_env") for job in submitted.jobs] == [None, "ml"]


# -- scripts for Slurm -------------------------------------------------------------------------------------------------

SLURM = """\
#!/bin/bash
#SBATCH --job-name=train --time 1-12:30   # a day and a half
#SBATCH -N 1 -n 4 --partition=gpu
#SBATCH --gres=gpu:2 -c 8
#SBATCH --mem 16G -a 1-3%2
#SBATCH -d afterany:7
#SBATCH --mail-user=a@b --mail-type=BEGIN,FAIL
#SBATCH --signal=B:USR1@300 -H
#SBATCH --output="out %j.txt"
python train.py $SLURM_ARRAY_TASK_ID
#SBATCH --time=5
"""


def test_slurm_s_lines_are_read_when_asked_for(gbatch, submitted, tmp_path):
    (tmp_path / "job.sh").write_text(SLURM)
    done = gbatch("--sbatch", "--time", "60", "job.sh")
    assert done.err.splitlines() == [
        "gbatch: job.sh: gflow has nothing like #SBATCH -N, -n, --partition, --output",
        "gbatch: job.sh uses SLURM_ARRAY_TASK_ID; a job has GFLOW_ARRAY_TASK_ID here",
    ]
    job = submitted.jobs[0]
    assert (job["run_name"], job["time_limit"], job["gpus"], job["memory_limit_mb"]) == ("train", 3600, 2, 16384)
    assert (job["depends_on_ids"], job["after_end"], job["max_concurrent"], job["hold"]) == ([7], True, 2, True)
    assert job["early_signal"] == {"signal": 10, "secs_before": 300}
    assert job["notifications"] == {"emails": ["a@b"], "events": ["job_started", "job_failed", "job_timeout"]}
    assert (len(submitted.jobs), job["cpus"]) == (3, 8)


@pytest.mark.parametrize(
    ("written", "secs"), [("now+90", 90), ("now+2hours", 7200), ("now+1week", 604800), ("NOW+5minutes", 300)]
)
def test_slurm_begins_in_seconds_where_no_unit_is_given(gbatch, submitted, tmp_path, written, secs):
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\n#SBATCH --begin={written}\ntrue\n")
    before = time.time()
    gbatch("--sbatch", "job.sh")
    begins = submitted.jobs[0]["scheduled_at"]
    assert before + secs - 1 <= begins <= time.time() + secs


def test_otherwise_they_are_pointed_out(gbatch, submitted, tmp_path):
    (tmp_path / "job.sh").write_text(SLURM)
    assert gbatch("job.sh").err == (
        "gbatch: job.sh has #SBATCH --job-name, --time, --gres, -c, --mem, -a, -d, --mail-user, --mail-type, --signal,"
        " -H; with --sbatch gflow goes by that\n"
    )
    assert "time_limit" not in job_of(submitted)
    (tmp_path / "job.sh").write_text("#SBATCH --time=5\n# GFLOW --time 6\ntrue\n")
    assert gbatch("job.sh").err == "", "it says to gflow what it is to do"
    gbatch("--sbatch", "job.sh")
    assert submitted.jobs[-1]["time_limit"] == 360


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--time=x", "invalid time 'x'"),
        ("--time", "--time needs a value"),
        ("--time --hold", "--time needs a value"),
        ("--gpus=a100", "is not a whole number"),
        ("--gres=gpu:", "is not a whole number"),
        ("--dependency=singleton", "singleton"),
        ("--mail-type=NEWS", "unknown event 'news'"),
        ("--job-name='x", "No closing quotation"),
    ],
)
def test_a_wrong_line_is_named(gbatch, submitted, tmp_path, line, complaint):
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\n#SBATCH {line}\n")
    done = gbatch("--sbatch", "job.sh", status=2)
    assert done.err.startswith("gbatch: job.sh:2: #SBATCH: ")
    assert complaint in done.err
    assert done.err.count("\n") == 1
    assert submitted.jobs == []


@pytest.mark.parametrize(
    ("lines", "fields", "remarks"),
    [
        ("--gpus=a100:3", {"gpus": 3}, ["--gpus: the type a100 does not count here"]),
        ("--gres=gpu:a100:2", {"gpus": 2}, ["--gres: the type a100 does not count here"]),
        ("--gres=gpu:a100", {"gpus": 1}, ["--gres: the type a100 does not count here"]),
        ("--gres=gpu,gres/gpu:2(S:0-1)", {"gpus": 3}, []),
        ("--gres=gpu:1,tmpfs:10G", {"gpus": 1}, ["--gres: gflow has nothing like tmpfs:10G"]),
        ("--gres=tmpfs:10G", {}, ["--gres: gflow has nothing like tmpfs:10G"]),
        ("--mem=0", {}, []),
        ("--mem=0G --time=UNLIMITED", {}, []),
        ("--time=0", {}, []),
        ("--time=2-12", {"time_limit": 60 * 3600}, []),
        ("--job-name=my job", {"run_name": "my"}, ["'job' belongs to no option and is left out; quote values with"]),
        ("-J 'my job'", {"run_name": "my job"}, []),
    ],
)
def test_what_slurm_s_lines_say_that_has_no_meaning_here_is_named(gbatch, submitted, tmp_path, lines, fields, remarks):
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\n#SBATCH {lines}\n")
    said = gbatch("--sbatch", "job.sh").err.splitlines()
    assert len(said) == len(remarks)
    assert all(
        line.startswith(f"gbatch: job.sh:2: #SBATCH: {start}") for line, start in zip(said, remarks, strict=True)
    )
    job = job_of(submitted)
    assert {name: job[name] for name in ("gpus", "memory_limit_mb", "time_limit", "run_name") if name in job} == fields


def test_without_slurm_s_lines_there_is_nothing_to_go_by(gbatch, submitted, tmp_path):
    assert "and this is none" in gbatch("--sbatch", "true", status=2).err
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")
    assert gbatch("--sbatch", "job.sh").err == "gbatch: job.sh has no #SBATCH lines\n"


def test_parsable_prints_only_ids(gbatch):
    assert gbatch("--parsable", "true").out == "42\n"
    assert gbatch("--parsable", "--array", "1-2", "--max-concurrent", "1", "true").out == "43\n44\n"


def test_answers_as_data(gbatch, submitted, daemon):
    submitted.answers = {43: {"id": 7, "run_name": "b", "already": "Running"}}
    sweep = ("--group", "g", "--key", "{lr}", "--param", "lr=1,2", "-o", "json")
    told = json.loads(gbatch(*sweep, "echo", "{lr}").out)
    assert (told["group"], told["group_id"]) == ("g", None)
    about = [(job["id"], job["name"], job["submitted"], job["already"], job["key"]) for job in told["jobs"]]
    assert about == [(42, "elegant-mountain-1234", True, None, "1"), (7, "b", False, "Running", "2")]
    assert [job["parameters"] for job in told["jobs"]] == [{"lr": "1"}, {"lr": "2"}]
    dry = json.loads(gbatch("--dry-run", "-o", "json", "--name", "x", "true").out)["jobs"]
    assert [(job["id"], job["name"], job["submitted"]) for job in dry] == [(None, "x", False)]
    daemon.on("POST", "/jobs/batch", reply([{"id": None, "run_name": None}]))
    test = json.loads(gbatch("--test-only", "-o", "json", "true").out)["jobs"]
    assert [(job["id"], job["submitted"]) for job in test] == [(None, False)]
    refused = gbatch("-o", "out.log", "true", status=2).err
    assert "'out.log' is not one of text, json, yaml; gjob log shows what a job prints; to have it in a file" in refused
    assert "--parsable and --output cannot be used together" in gbatch("--parsable", "-ojson", "true", status=2).err


@pytest.mark.parametrize(
    ("argv", "hints"),
    [
        (["echo", "{lrr}", "{lr}"], {"lrr": "is {lr} meant?"}),
        (["echo", "x{Lr}y{lR}"], {"Lr": "is {lr} meant?", "lR": "is {lr} meant?"}),
        (["echo {l_r} | awk '{print}'"], {"l_r": "is {lr} meant?", "print": "there is {lr}"}),
        (["echo", "{nope}", "--x={nope}"], {"nope": "there is {lr}"}),
        (["echo", "{lr}", "${lrr}", "{0}", "{", "{a b}", "{lrr"], {}),
    ],
)
def test_a_parameter_that_looks_mistyped_is_pointed_out(gbatch, submitted, argv, hints):
    said = gbatch("--param", "lr=1,2", *argv).err
    line = "gbatch: there is no parameter {0}, so {{{0}}} stays as it is; {1}\n"
    assert said == "".join(line.format(name, hint) for name, hint in hints.items())
    assert gbatch("echo", "{lrr}").err == "", "there are no parameters"


def test_a_name_that_looks_like_a_template_is_pointed_out(gbatch, submitted):
    said = gbatch("--param", "lr=1,2", "--name", "run-{lr}", "true").err
    assert (
        said == "gbatch: --name is the same for all jobs, 'run-{lr}'; --name-template 'run-{lr}' gives each its own\n"
    )
    assert gbatch("--param", "lr=1,2", "--name", "run-{x}", "true").err == ""
    assert "{task_id}" in gbatch("--array", "1-2", "--name", "{task_id}", "true").err


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["-d", "1", "--depends-on", "2"], "--depends-on is given twice; write --depends-on-all A,B"),
        (["-a", "1-2", "-a", "3"], "--array is given twice; write one"),
    ],
)
def test_two_that_are_likely_to_be_meant_both_are_refused(gbatch, submitted, tmp_path, argv, complaint):
    assert complaint in gbatch(*argv, "true", status=2).err
    script = tmp_path / "x.sh"
    script.write_text(f"# GFLOW {' '.join(argv[:2])}\n# GFLOW {' '.join(argv[2:])}\ntrue\n")
    assert complaint in gbatch(str(script), status=2).err
    script.write_text(f"# GFLOW {' '.join(argv)}\ntrue\n")
    assert complaint in gbatch(str(script), status=2).err
    script.write_text(f"# GFLOW {' '.join(argv[:2])}\ntrue\n")
    assert gbatch(*argv[2:], str(script)).err == "", "the command line wins over the script"


def test_what_the_command_line_puts_out_of_force_in_a_script_is_told(gbatch, submitted, tmp_path):
    script = tmp_path / "x.sh"
    script.write_text("# GFLOW --array 1-3\ntrue\n")
    done = gbatch("--param", "x=7,8", str(script))
    assert done.err == f"gbatch: {script}: # GFLOW --array does not count: the command line says --param\n"
    assert len(submitted.jobs) == 2


@pytest.mark.parametrize(
    "argv",
    [
        *(["--name", name] for name in ("a\nb", "x" * 5000)),
        ["--project", "x" * 70],
        ["--group", "a\tb"],
        ["--max-retries", "99999"],
        ["--name", "\udcff"],
        ["completion"],
        ["completion", "bash", "x"],
    ],
)
def test_nonsense_is_one_line_and_exit_2(gbatch, submitted, argv):
    done = gbatch(*argv, *([] if argv[0] == "completion" else ["true"]), status=2)
    assert (done.out, done.err.count("\n"), submitted.jobs) == ("", 1, [])


class _Full(io.StringIO):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def flush(self):
        raise OSError(self.number, os.strerror(self.number))


def test_ids_that_cannot_be_written_are_told_on_stderr(submitted, capsys):
    answers, values = [{"id": 4, "run_name": "a"}, {"id": 3, "run_name": "b"}], {"parsable": True, "output": "text"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", _Full(errno.ENOSPC))
        with pytest.raises(Failure, match="jobs 3-4 were submitted, but stdout cannot be written: No space left"):
            report(answers, {}, [{}, {}], values)
        patch.setattr(sys, "stdout", _Full(errno.EPIPE))
        with pytest.raises(BrokenPipeError):
            report(answers[:1], {}, [{}], values)
    assert capsys.readouterr().err == "gbatch: job 4 was submitted, but nobody reads stdout\n"


def test_one_new_job_of_a_group_is_one(gbatch, submitted):
    submitted.answers = {43: {"id": 7, "run_name": "b", "already": "Running"}}
    told = gbatch("--group", "g", "--key", "k", "--array", "1-2", "true").out
    assert told.startswith("Submitted 1 batch job to group g; 1 is there already\n")


def test_dry_runs_submit_nothing(gbatch, daemon, tmp_path):
    (tmp_path / "t.sh").write_text("# GFLOW --gpus 2\n")
    assert gbatch("--dry-run", "echo", "a b").out == "Would submit 1 batch job:\n  [1] echo 'a b' (GPUs: 0)\n"
    assert gbatch("--dry-run", "t.sh").out == f"Would submit 1 batch job:\n  [1] {tmp_path}/t.sh (GPUs: 2)\n"
    assert gbatch("--dry-run", "--array", "4-5", "-d", "@", "x y").out == (
        "Would submit 2 array job(s):\n  [1] x y (GPUs: 0, task_id: 4)\n  [2] x y (GPUs: 0, task_id: 5)\n"
    )
    assert gbatch("--dry-run", "--gpu-ids", "0,2-3", "true").out == (
        "Would submit 1 batch job:\n  [1] true (GPUs: 3, indices: 0,2-3)\n"
    )
    assert gbatch("--dry-run", "--param", "lr=1,2", "--name-template", "r{lr}", "t", "{lr}").out == (
        "Would submit 2 batch job(s):\n"
        "  [1] t '{lr}' (GPUs: 0, lr=1, name: r1)\n  [2] t '{lr}' (GPUs: 0, lr=2, name: r2)\n"
    )
    assert daemon.asked == []


def test_the_environment_and_umask_go_along(gbatch, submitted, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_TOKEN", "x=y\nz")
    monkeypatch.setenv("PWD", "/elsewhere")
    previous = os.umask(0o027)
    try:
        gbatch("true")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(previous)
    job = job_of(submitted)
    assert job["umask"] == 0o027
    assert job["environment"]["MY_TOKEN"] == "x=y\nz"
    assert job["environment"]["PWD"] == str(tmp_path)
    assert job["environment"]["PATH"] == os.environ["PATH"]


def test_a_list_of_variables_is_all_that_goes_along(gbatch, submitted, monkeypatch):
    monkeypatch.setenv("A_ONE", "1")
    gbatch("--export", "A_ONE,HOME", "true")
    assert job_of(submitted)["environment"] == {"A_ONE": "1", "HOME": os.environ["HOME"]}


def test_variables_may_be_given_values(gbatch, submitted, monkeypatch):
    monkeypatch.setenv("A_ONE", "1")
    gbatch("--export", "A_ONE,B=x=y", "true")
    gbatch("--export", "ALL,A_ONE=2", "true")
    first, second = [job["environment"] for job in submitted.jobs]
    assert first == {"A_ONE": "1", "B": "x=y"}
    assert (second["A_ONE"], second["HOME"]) == ("2", os.environ["HOME"])


def test_what_is_left_out_of_the_environment_is_said(gbatch, submitted, monkeypatch):
    submitted.dropped = ["AWS_SECRET", "API_KEY"]
    monkeypatch.setenv("BROKEN", "\udcff")
    done = gbatch("--array", "1-2", "true")
    assert "BROKEN" not in submitted.jobs[0]["environment"]
    assert "not UTF-8, left out of the environment: 'BROKEN'" in done.err
    assert "left out of the job's environment: API_KEY, AWS_SECRET\n" in done.err


def test_an_answer_that_got_lost_does_not_queue_twice(gbatch, submitted, daemon):
    keys = []

    def lose_first(asked):
        keys.append(asked.json["submit_key"])
        return b"" if len(keys) == 1 else submitted.single(asked)

    daemon.on("POST", "/jobs", lose_first)
    assert gbatch("true").out == "Submitted batch job 42 (elegant-mountain-1234)\n"
    assert keys[0] == keys[1]


def test_a_refusal_is_one_line(gbatch, daemon):
    daemon.on("POST", "/jobs", reply({"error": "9 GPUs asked for, the machine has 2", "code": "impossible"}, 422))
    done = gbatch("-g", "9", "true", status=1)
    assert (done.out, done.err) == ("", "gbatch: 9 GPUs asked for, the machine has 2\n")


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        ([{"state": "Finished", "exit_code": 0}], 0),
        ([{"state": "Failed", "exit_code": 3}], 3),
        ([{"state": "Failed", "exit_code": None}], 1),
        ([{"state": "Timeout", "exit_code": 0}], 1),
        ([{"state": "Timeout", "exit_code": 130, "signal": "SIGINT"}], 130),
        (
            [
                {"state": "Finished", "exit_code": 0},
                {"state": "Failed", "exit_code": 7},
                {"state": "Failed", "exit_code": 4},
            ],
            7,
        ),
    ],
)
def test_waiting_exits_as_the_job_does(gbatch, submitted, daemon, ends, status):
    for job_id, end in enumerate(ends, 42):
        daemon.on("GET", f"/jobs/{job_id}/wait", reply({"id": job_id} | end))
    array = ["--array", f"1-{len(ends)}"] if len(ends) > 1 else []
    assert gbatch("--wait", "--parsable", *array, "false", status=status).out.split() == [
        str(42 + n) for n in range(len(ends))
    ]


def test_waiting_tells_how_it_ended(gbatch, submitted, daemon):
    daemon.on(
        "GET", "/jobs/42/wait", reply({"id": 42, "state": "Failed", "exit_code": 3, "status_detail": "out of luck"})
    )
    assert gbatch("--wait", "false", status=3).out.splitlines()[1] == "Job 42 Failed (exit code 3, out of luck)"


def test_a_missing_directory_is_refused(gbatch, submitted):
    assert "is not a directory" in gbatch("--chdir", "none", "true", status=1).err
    assert submitted.jobs == []


def test_a_deleted_directory_is_refused(gbatch, submitted, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "does not exist any more" in gbatch("true", status=1).err
    assert submitted.jobs == []


def test_new_writes_a_script_that_can_be_submitted_and_nothing_twice(gbatch, submitted, tmp_path):
    assert gbatch("new", "train").out == "Wrote train.sh; submit it with: gbatch train.sh\n"
    script = tmp_path / "train.sh"
    assert stat.S_IMODE(script.stat().st_mode) & 0o700 == 0o700
    uncommented = script.read_text().replace("## GFLOW", "# GFLOW")
    (tmp_path / "filled.sh").write_text(uncommented)
    gbatch("filled.sh")
    assert (job_of(submitted)["gpus"], job_of(submitted)["run_name"]) == (1, "train")
    script.write_text("mine")
    assert "exists already" in gbatch("new", "train.sh", status=1).err
    assert gbatch("new", "a b").out == "Wrote a b.sh; submit it with: gbatch 'a b.sh'\n"
    assert script.read_text() == "mine"


def test_a_program_called_new_can_still_be_run(gbatch, submitted):
    gbatch("--", "new", "x")
    assert job_of(submitted)["argv"] == ["new", "x"]


def test_no_daemon_is_one_line_with_the_endpoint(run, home):
    done = run(COMMAND, "true")
    assert done.status == 1
    assert done.err.count("\n") == 1
    assert f"unix:{home}/gflow/gflowd.sock" in done.err
    assert "gflowd up" in done.err


def test_every_option_about_the_job_can_be_a_directive():
    names = {option.dest for option in COMMAND.options} - {option.dest for option in DIRECTIVES}
    ours = {"wrap", "sbatch", "dry_run", "test_only", "wait", "parsable", "output", "url", "cacert", "config"}
    assert names == ours


@pytest.mark.parametrize(
    ("keeper", "said"), [("watch", "watched about once a second"), ("cgroup", "kept by the kernel")]
)
def test_who_keeps_a_memory_limit_is_said_once(gbatch, submitted, keeper, said):
    made = {"run_name": "x", "dropped_env": [], "memory_kept_by": keeper}
    submitted.answers = {number: {"id": number, **made} for number in (42, 43, 44, 45)}
    done = gbatch("--memory", "2G", "--array", "1-2", "true")
    assert done.err.count("\n") == 1
    assert done.err.startswith(f"gbatch: the memory limit of 2G is {said}")
    assert gbatch("--memory", "2G", "--parsable", "true").err == ""
    assert gbatch("--memory", "2G", "-o", "json", "true").err == ""
