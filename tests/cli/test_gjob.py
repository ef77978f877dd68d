"""gjob and its verbs."""

import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gflow.cli.gjob import COMMAND
from gflow.cli.job import attach, log
from gflow.cli.job.show import describe
from support.fake_daemon import chunked, reply

NO_SUCH = reply({"error": "Job 8 does not exist", "code": "not_found"}, 404)


def acted(daemon):
    return [(asked.method, asked.path) for asked in daemon.asked]


@pytest.mark.parametrize(
    ("verb", "route", "said"),
    [
        ("hold", "hold", "Job {} put on hold."),
        ("h", "hold", "Job {} put on hold."),
        ("release", "release", "Job {} released back to queue."),
        ("r", "release", "Job {} released back to queue."),
    ],
)
def test_hold_and_release_do_what_they_can_and_fail_for_the_rest(run, daemon, verb, route, said):
    daemon.on("GET", "/jobs/resolve-dependency", reply({"job_id": 9}))
    for job_id in (7, 9):
        daemon.on("POST", f"/jobs/{job_id}/{route}", reply(None))
    daemon.on("POST", f"/jobs/8/{route}", NO_SUCH)
    done = run(COMMAND, verb, "7-8", "@")
    assert done.status == 1
    assert done.out == f"{said.format(7)}\n{said.format(9)}\n"
    assert done.err == f"gjob {route}: Job 8 does not exist\n"


def test_release_at_a_moment(run, daemon, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.5)
    daemon.on("POST", "/jobs/7/release", reply(None))
    done = run(COMMAND, "release", "7", "--at", "now+2h")
    assert daemon.asked[0].query == {"at": "1800007201"}
    assert done.out.startswith("Job 7 released back to queue (scheduled to start at ")


def test_the_connection_options_stand_before_or_after_the_verb(run, daemon, tmp_path):
    daemon.on("POST", "/jobs/7/hold", reply(None))
    url = f"unix:{daemon.path}"
    assert run(COMMAND, "--url", url, "hold", "7").status == 0
    assert run(COMMAND, "hold", "7", "--url", url).status == 0
    assert run(COMMAND, "--config", str(tmp_path / "none"), "hold", "7").status == 1


@pytest.mark.parametrize(
    ("argv", "changes"),
    [
        (["--priority", "20"], {"priority": 20}),
        (["-t", "4:00:00"], {"time_limit": 14400}),
        (["--time-limit", "+1:00:00"], {"time_limit_delta": 3600}),
        (["--time-limit", "-30:00"], {"time_limit_delta": -1800}),
        (
            ["-g", "2", "-m", "4G", "--gpu-memory", "8G"],
            {"gpus": 2, "memory_limit_mb": 4096, "gpu_memory_limit_mb": 8192},
        ),
        (["--gpu-ids", "3,0-1"], {"gpu_indices": [0, 1, 3]}),
        (["--shared", "--max-gpu-memory", "6G"], {"gpu_sharing_mode": "Shared", "gpu_memory_limit_mb": 6144}),
        (["--exclusive"], {"gpu_sharing_mode": "Exclusive"}),
        (["--retry-on-oom"], {"retry_on_oom": True}),
        (["--no-retry-on-oom"], {"retry_on_oom": False}),
        (["-n", "x", "--max-retries", "0"], {"run_name": "x", "max_retries": 0}),
        (["-d", "1,2"], {"depends_on_ids": [1, 2], "dependency_mode": "All"}),
        (["--depends-on-any", "1-3"], {"depends_on_ids": [1, 2, 3], "dependency_mode": "Any"}),
        (["--no-auto-cancel-on-dep-failure"], {"auto_cancel_on_dependency_failure": False}),
        (["--auto-cancel-on-dep-failure"], {"auto_cancel_on_dependency_failure": True}),
        (["--max-concurrent", "3"], {"max_concurrent": 3}),
        (["--memory", "2G", "--cpus", "3"], {"memory_limit_mb": 2048, "cpus": 3}),
        (["--clear-cpus"], {"cpus": None}),
        (["--clear-time-limit", "--clear-memory-limit"], {"time_limit": None, "memory_limit_mb": None}),
        (["--clear-gpu-memory-limit", "--clear-max-concurrent"], {"gpu_memory_limit_mb": None, "max_concurrent": None}),
        (["--clear-max-retries", "--clear-depends-on"], {"max_retries": None, "depends_on_ids": []}),
        (
            ["-c", "python x.py", "-e", "torch", "-P", "ml"],
            {"command": "python x.py", "conda_env": "torch", "project": "ml"},
        ),
        (["--clear-conda-env", "--clear-project"], {"conda_env": None, "project": None}),
        (["--param", "lr=0.1", "--param", "n=a=b"], {"parameter_changes": {"lr": "0.1", "n": "a=b"}}),
        (["--clear-params", "--param", "lr=1"], {"parameters": {"lr": "1"}}),
        (["--clear-params", "--clear-begin"], {"parameters": None, "scheduled_at": None}),
        (["--chdir", "/"], {"run_dir": "/"}),
        (["--signal", "USR1@60"], {"early_signal": {"signal": 10, "secs_before": 60}}),
        (["--clear-signal", "--clear-notify"], {"early_signal": None, "notifications": None}),
        (["--keep-session", "--no-auto-close"], {"keep_session": True, "auto_close_tmux": False}),
        (
            ["--notify-email", "a@b", "--notify-email", "c@d", "--notify-on", "job_failed"],
            {"notifications": {"emails": ["a@b", "c@d"], "events": ["job_failed"]}},
        ),
    ],
)
def test_update_sends_what_changes_and_null_for_what_is_cleared(run, daemon, argv, changes):
    daemon.on("PATCH", "/jobs/7", reply({"job": {}, "updated_fields": sorted(changes)}))
    done = run(COMMAND, "update", "7", *argv)
    assert daemon.asked[0].json == changes
    assert done.out == f"Job 7 updated successfully.\n  Changed: {', '.join(sorted(changes))}\n"
    assert done.status == 0


def test_update_of_a_script_sends_its_text(run, daemon, tmp_path):
    (tmp_path / "x.sh").write_text("echo hello")
    daemon.on("PATCH", "/jobs/7", reply({"job": {}, "updated_fields": []}))
    assert run(COMMAND, "update", "7", "-s", str(tmp_path / "x.sh")).status == 0
    assert daemon.asked[0].json == {"script": str(tmp_path / "x.sh"), "script_text": "echo hello"}


@pytest.mark.parametrize(
    ("before", "argv", "wanted"),
    [
        ({"emails": ["a@b"], "events": ["job_failed"]}, ["--notify-on", "job_started"], (["a@b"], ["job_started"])),
        ({"emails": ["a@b"], "events": ["job_failed"]}, ["--notify-email", "c@d"], (["c@d"], ["job_failed"])),
        (None, ["--notify-email", "c@d"], (["c@d"], [])),
    ],
)
def test_update_of_mail_leaves_what_is_not_named(run, daemon, before, argv, wanted):
    daemon.on("GET", "/jobs/7", reply({"id": 7, **({"notifications": before} if before else {})}))
    daemon.on("PATCH", "/jobs/7", reply({"job": {}, "updated_fields": ["notifications"]}))
    assert run(COMMAND, "update", "7", *argv).status == 0
    assert daemon.asked[-1].json == {"notifications": dict(zip(("emails", "events"), wanted, strict=True))}


def test_update_of_mail_that_nobody_gets(run, daemon):
    daemon.on("GET", "/jobs/7", reply({"id": 7}))
    done = run(COMMAND, "update", "7", "--notify-on", "job_failed")
    assert (done.status, done.err) == (1, "gjob update: job 7 sends mail to nobody: say to whom, with --notify-email\n")


def test_update_goes_on_after_a_refusal(run, daemon):
    daemon.on("PATCH", "/jobs/7", reply({"error": "Job 7 is Finished", "code": "wrong_state"}, 409))
    daemon.on("PATCH", "/jobs/9", reply({"job": {}, "updated_fields": []}))
    done = run(COMMAND, "u", "7,9", "-p", "1")
    assert (done.status, done.out) == (1, "Job 9 updated successfully.\n")
    assert done.err == "gjob update: Job 7 is Finished\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["7"],
        ["-p", "1"],
        ["7", "-t", "5", "--clear-time-limit"],
        ["7", "--time-limit", "+0"],
        ["7", "--gpus", "1", "--gpu-ids", "0"],
        ["7", "--gpu-ids", "x"],
        ["7", "--shared", "--exclusive"],
        ["7", "--retry-on-oom", "--no-retry-on-oom"],
        ["7", "--command", "x", "--script", "y"],
        ["7", "--param", "lr"],
        ["7", "--param", "a b=1"],
        ["7", "--clear-notify", "--notify-email", "a@b"],
        ["7", "--begin", "now+1h", "--clear-begin"],
    ],
)
def test_update_needs_jobs_and_something_to_change(run, daemon, argv):
    done = run(COMMAND, "update", *argv)
    assert done.status == 2
    assert daemon.asked == []


FINISHED = {
    "id": 7,
    "run_name": "train",
    "state": "Failed",
    "reason": None,
    "exit_code": 137,
    "signal": "SIGKILL",
    "status_detail": "killed by the kernel",
    "priority": 10,
    "submitted_by": "ann",
    "project": "ml",
    "argv": ["python", "a b.py"],
    "gpus": 2,
    "gpu_ids": [0, 1],
    "gpu_sharing_mode": "Exclusive",
    "memory_limit_mb": 2048,
    "run_dir": "/w",
    "log_path": "/logs/7.log",
    "session": "gflow-7",
    "depends_on_ids": [3, 4],
    "dependency_mode": "Any",
    "auto_cancel_on_dependency_failure": True,
    "parameters": {"lr": "0.1"},
    "time_limit": {"secs": 600, "nanos": 0},
    "submitted_at": {"secs_since_epoch": 1000, "nanos_since_epoch": 0},
    "started_at": {"secs_since_epoch": 1060, "nanos_since_epoch": 0},
    "finished_at": {"secs_since_epoch": 1180, "nanos_since_epoch": 0},
    "max_retries": 0,
}


def test_show_has_sections_with_how_it_ended_and_where_its_log_is():
    lines = describe(FINISHED, 5000.0)
    for line in (
        "Job Details:",
        "  ID=7",
        "  State=Failed (F)",
        "  ExitCode=137",
        "  Signal=SIGKILL",
        "  Detail=killed by the kernel",
        "  Project=ml",
        "  Command=python 'a b.py'",
        "Parameters:",
        "  lr=0.1",
        "Resources:",
        "  GPUs=2",
        "  GPUSharing=exclusive",
        "  GPUIDs=0,1",
        "  MemoryLimit=2G",
        "Execution:",
        "  WorkingDir=/w",
        "  TmuxSession=gflow-7",
        "  Log=/logs/7.log",
        "Dependencies:",
        "  DependsOn=3,4",
        "  Mode=Any",
        "  AutoCancel=enabled",
        "Timing:",
        "  TimeLimit=00:10:00",
    ):
        assert line in lines
    assert any(line.startswith("  Submitted=") and line.endswith("(waited 00:01:00)") for line in lines)
    assert any(line.startswith("  Finished=") and line.endswith("(runtime 00:02:00)") for line in lines)
    assert not any("MaxRetries" in line or "None" in line for line in lines)


def test_show_says_what_it_may_not_show():
    hidden = {"hidden": True, "command": None, "argv": None, "run_dir": "", "log_path": "", "parameters": {}}
    lines = describe({**FINISHED, **hidden}, 5000.0)
    assert "  Command=(not shown: the job is somebody else's, and access.visibility is own)" in lines
    assert not any(line.startswith(("  WorkingDir=", "  Log=", "Parameters")) for line in lines)


def test_show_says_who_is_sent_mail():
    wanted = {"notifications": {"emails": ["a@b", "c@d"], "events": ["job_failed", "job_timeout"]}}
    lines = describe(FINISHED | wanted, 5000.0)
    assert "  NotifyEmail=a@b,c@d" in lines
    assert "  NotifyOn=job_failed,job_timeout" in lines
    assert not any("Notify" in line for line in describe(FINISHED, 5000.0))


def gpu_lines(**fields):
    """What `show` says of GPUs, of a job that started at 1060 and ended at 1180."""
    lines = describe(FINISHED | fields, 5000.0)
    return [line.strip() for line in lines if line.startswith(("  GPU", "  OOM", "  Retr", "  Detail"))]


def test_show_of_gpus_that_were_shared_and_measured():
    assert gpu_lines(
        gpu_indices=[0, 1],
        gpu_sharing_mode="Shared",
        gpu_memory_limit_mb=20480,
        retry_on_oom=True,
        gpu_use={"samples": 12, "mean_pct": 43.4, "peak_pct": 97.0, "peak_mb": 21504},
        gpu_memory_verdict="declared 20G, peak 21.0G",
        gpu_share_mb=21504,
        status_detail="uses 21.0G of GPU memory, declared 20G",
    ) == [
        "Detail=uses 21.0G of GPU memory, declared 20G",
        "GPUs=2",
        "GPUsRequested=0-1",
        "GPUSharing=shared",
        "GPUMemoryLimit=20G (declared)",
        "RetryOnOOM=enabled",
        "GPUIDs=0,1",
        "GPUMemoryUsed=declared 20G, peak 21.0G",
        "GPUMemoryCounted=21.0G",
        "GPUUtilization=mean 43%, peak 97%",
        "GPUHours=0.07",
    ]


def test_show_of_gpus_that_are_had_alone():
    use = {"samples": 1, "mean_pct": None, "peak_pct": None, "peak_mb": 640}
    assert gpu_lines(gpus=1, gpu_ids=[2], gpu_memory_limit_mb=40960, gpu_use=use, status_detail=None) == [
        "GPUs=1",
        "GPUSharing=exclusive",
        "GPUMemoryLimit=40G (required)",
        "GPUIDs=2",
        "GPUMemoryUsed=peak 640M",
        "GPUHours=0.03",
    ]
    assert gpu_lines(gpus=0, gpu_ids=[], gpu_use=None, status_detail=None) == ["GPUs=0", "GPUSharing=exclusive"]


def test_show_of_a_job_that_is_tried_again_with_more_gpu_memory():
    said = gpu_lines(status_detail="out of GPU memory; job 8 tries again with 15G", retried_as=8, retry_on_oom=True)
    assert said[:2] == ["Detail=out of GPU memory; job 8 tries again with 15G", "RetriedAs=8"]
    said = gpu_lines(retried_from=7, oom_restarts=1, retry_on_oom=True, status_detail=None)
    assert "RetriedFrom=7" in said
    assert "OOMRestarts=1 (tried again with more GPU memory)" in said


def test_show_of_jobs_that_wait_and_run():
    queued = {"id": 1, "state": "Queued", "command": "x", "submitted_at": 100, "reason": {"DependencyFailed": 3}}
    assert "  Reason=DependencyFailed:3" in describe(queued, 160.0)
    assert any("waited 00:01:00" in line for line in describe(queued, 160.0))
    running = queued | {"state": "Running", "started_at": 120, "reason": None}
    assert any(line.endswith("(running 00:00:40 so far)") for line in describe(running, 160.0))
    cancelled = queued | {"state": "Cancelled", "finished_at": 130, "reason": "CancelledByUser"}
    assert any("waited 00:00:30" in line for line in describe(cancelled, 160.0))


def test_show_of_a_job_that_was_done_again_and_of_one_that_says_how_far_it_is(run, daemon):
    assert "  RedoneAs=12" in describe(FINISHED | {"redone_as": 12}, 5000.0)
    told = {"percent": 45.5, "left_secs": 90.0, "expected_end": 5090.0, "state": "paused", "note": "epoch 3"}
    daemon.on("GET", "/jobs", reply([FINISHED | {"state": "Running"}]))
    daemon.on("GET", "/progress", reply([{"id": 7, **told}]))
    (line,) = [line for line in run(COMMAND, "show", "7").out.splitlines() if "Progress" in line]
    assert line.startswith("  Progress=45.5% (about 00:01:30 left, until ")
    assert line.endswith("), paused: epoch 3")
    assert daemon.asked[-1].query == {"ids": "7"}
    daemon.on("GET", "/progress", reply([]))
    assert "Progress" not in run(COMMAND, "show", "7").out


def test_show_separates_jobs_and_fails_for_missing_ones(run, daemon):
    daemon.on("GET", "/jobs", reply([FINISHED, FINISHED | {"id": 9, "run_name": "a\x1b[2J"}]))
    done = run(COMMAND, "show", "7-100000")
    assert done.status == 1
    assert len(daemon.asked) == 10
    assert done.out.count("=" * 80) == 1
    assert "ID=9" in done.out
    assert "\x1b" not in done.out
    assert done.err == "gjob show: Jobs 8,10-100000 do not exist\n"


def test_why_tells_the_reasons(run, daemon):
    reasons = [{"reason": "WaitingForGpu", "text": "needs 2 GPUs, 1 is free", "help": "ask for fewer"}]
    daemon.on("GET", "/jobs/7/why", reply({"id": 7, "state": "Queued", "reasons": reasons, "expected_start": 0}))
    done = run(COMMAND, "why", "7")
    first, second, third = done.out.splitlines()
    assert (first, second) == ("Job 7 is Queued.", "  needs 2 GPUs, 1 is free (ask for fewer)")
    assert third.startswith("  Expected to start at ")


def test_log_prints_what_a_pipe_would_have_had(run, daemon):
    daemon.on("GET", "/jobs/7/log/stream", chunked(b"one\r", b"\ntwo\r\nthr\ree\r\r\n", b"end\r"))
    assert run(COMMAND, "log", "7").out == "one\ntwo\nthr\ree\r\nend\r"
    assert run(COMMAND, "log", "7", "--raw").out == "one\r\ntwo\r\nthr\ree\r\r\nend\r"


@given(st.lists(st.sampled_from([b"\r", b"\n", b"a", b"\r\n"]), max_size=12), st.data())
def test_newlines_do_not_depend_on_how_the_stream_is_cut(tokens, data):
    text = b"".join(tokens)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[low:high] for low, high in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert b"".join(log.newlines(pieces)) == text.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ([], {}),
        (["-f"], {"follow": "1"}),
        (["--first", "3"], {"first": "3"}),
        (["-l", "3", "-f"], {"last": "3", "follow": "1"}),
    ],
)
def test_log_asks_for_lines_and_to_follow(run, daemon, argv, query):
    daemon.on("GET", "/jobs/7/log/stream", reply(b"x\n"))
    daemon.on("GET", "/jobs/7", reply({"id": 7, "state": "Finished"}))
    done = run(COMMAND, "log", "7", *argv)
    assert (done.status, done.out, daemon.asked[0].query) == (0, "x\n", query)


def test_log_of_a_job_that_has_not_started(run, daemon):
    daemon.on("GET", "/jobs/7/log/stream", reply(b""))
    daemon.on("GET", "/jobs/7", reply({"id": 7, "state": "Queued"}))
    done = run(COMMAND, "log", "7")
    assert (done.status, done.out) == (0, "")
    assert "gjob log -f 7" in done.err


def test_log_of_a_missing_job_fails(run, daemon):
    daemon.on("GET", "/jobs/8/log/stream", NO_SUCH)
    done = run(COMMAND, "l", "8")
    assert (done.status, done.out, done.err) == (1, "", "gjob log: Job 8 does not exist\n")


LOSSES = b"epoch 1\r\nloss \x1b[31m0.5\x1b[0m\r\n 10%\r 20%\rloss 0.25\r\nend"


@pytest.mark.parametrize(
    ("argv", "found"),
    [
        (["loss 0"], "loss \x1b[31m0.5\x1b[0m\nloss 0.25\n"),
        (["^(end|epoch)"], "epoch 1\nend\n"),
        (["%$", "--last", "1"], " 20%\n"),
        (["0", "--first", "1"], "loss \x1b[31m0.5\x1b[0m\n"),
        (["0", "-f"], "loss \x1b[31m0.5\x1b[0m\n 10%\n 20%\nloss 0.25\n"),
    ],
)
def test_log_prints_only_lines_that_match(run, daemon, argv, found):
    """As a person saw them: what steers the terminal is not looked at, and each redrawing is a line."""
    daemon.on("GET", "/jobs/7/log/stream", chunked(LOSSES[:9], LOSSES[9:40], LOSSES[40:]))
    daemon.on("GET", "/jobs/7", reply({"id": 7, "state": "Finished"}))
    done = run(COMMAND, "log", "7", "--grep", *argv)
    assert (done.status, done.out) == (0, found)
    assert not daemon.asked[0].query.keys() & {"first", "last"}


def test_log_fails_where_nothing_matches(run, daemon):
    daemon.on("GET", "/jobs/7/log/stream", chunked(LOSSES))
    daemon.on("GET", "/jobs/7", reply({"id": 7, "state": "Finished"}))
    assert run(COMMAND, "log", "7", "--grep", "nothing").status == 1


def test_log_of_all_attempts(run, daemon):
    """Whichever of them is named."""
    for job_id, before, after in ((5, None, 6), (6, 5, 9), (9, 6, None)):
        daemon.on("GET", f"/jobs/{job_id}", reply({"id": job_id, "retried_from": before, "retried_as": after}))
    daemon.on("GET", "/jobs/5/log/stream", reply(b"one\r\n"))
    daemon.on("GET", "/jobs/6/log/stream", reply(b"two\r\n"))
    daemon.on("GET", "/jobs/9/log/stream", reply({"error": "Job 9 has no log yet", "code": "not_found"}, 404))
    for job_id in ("5", "6", "9"):
        done = run(COMMAND, "log", job_id, "--retries")
        assert done.out.splitlines() == [
            *("==> job 5, attempt 1 <==", "one"),
            *("==> job 6, attempt 2 <==", "two"),
            "==> job 9, attempt 3 <==",
        ]
        assert (done.status, done.err) == (0, "gjob log: Job 9 has no log yet\n")


def test_log_follows_from_attempt_to_attempt(run, daemon):
    later = iter([None, None, 6])
    daemon.on("GET", "/jobs/5", lambda _: reply({"id": 5, "state": "Failed", "retried_as": next(later, 6)}))
    daemon.on("GET", "/jobs/6", reply({"id": 6, "state": "Finished", "retried_from": 5}))
    for job_id, said in ((5, b"one\r\n"), (6, b"two\r\n")):
        daemon.on("GET", f"/jobs/{job_id}/log/stream", reply(said))
    done = run(COMMAND, "log", "5", "-f", "-R")
    assert done.out.splitlines() == ["==> job 5, attempt 1 <==", "one", "==> job 6, attempt 2 <==", "two"]


@pytest.mark.parametrize(
    "argv", [["7", "--grep", "("], ["7", "--grep", "x", "-f", "-l", "1"], ["7", "--grep", "x", "--raw"]]
)
def test_log_searches_that_cannot_be_meant(run, daemon, argv):
    assert run(COMMAND, "log", *argv).status == 2
    assert daemon.asked == []


@pytest.mark.parametrize("argv", [["7", "--first", "0"], ["7", "--first", "1", "--last", "1"], ["7,8"], []])
def test_log_refuses_what_makes_no_sense(run, daemon, argv):
    assert run(COMMAND, "log", *argv).status == 2
    assert daemon.asked == []


def test_a_log_that_breaks_off_is_not_taken_for_whole(run, daemon):
    daemon.on("GET", "/jobs/7/log/stream", chunked(b"half")[:-7])
    done = run(COMMAND, "log", "7")
    assert (done.status, done.out) == (1, "half")
    assert "gjob log: " in done.err


def test_wait_exits_with_the_largest_code(run, daemon):
    daemon.on("GET", "/jobs/7/wait", reply({"id": 7, "state": "Finished", "exit_code": 0}))
    daemon.on("GET", "/jobs/8/wait", reply({"id": 8, "state": "Failed", "exit_code": 4}))
    done = run(COMMAND, "wait", "7,8")
    assert (done.status, done.out) == (4, "Job 7 Finished (exit code 0)\nJob 8 Failed (exit code 4)\n")
    assert run(COMMAND, "wait", "-q", "7").out == ""
    assert run(COMMAND, "wait", "7").status == 0


def test_wait_goes_on_after_a_job_that_is_not_there(run, daemon):
    daemon.on("GET", "/jobs/7/wait", reply({"id": 7, "state": "Finished", "exit_code": 0}))
    daemon.on("GET", "/jobs/6/wait", NO_SUCH)
    done = run(COMMAND, "wait", "6,7")
    assert (done.status, done.out) == (1, "Job 7 Finished (exit code 0)\n")
    assert done.err == "gjob wait: Job 8 does not exist\n"


def test_wait_for_any(run, daemon):
    daemon.on("GET", "/jobs/8/wait", reply({"id": 8, "state": "Failed", "exit_code": 4}))
    done = run(COMMAND, "wait", "--any", "8")
    assert (done.status, done.out) == (4, "Job 8 Failed (exit code 4)\n")


class _Became(Exception):
    pass


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on both ends; exec is caught."""

    def execvp(file, argv):
        raise _Became(file, argv, dict(os.environ))

    monkeypatch.setattr(os, "execvp", execvp)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    return monkeypatch


def attach_values(daemon, read_only=False):
    return {"job": (7, 7), "read_only": read_only, "url": f"unix:{daemon.path}", "config": None}


def test_attach_becomes_the_terminal_of_the_job(daemon, terminal):
    terminal.setenv("TMUX", "/tmp/mine,1,0")
    daemon.on("GET", "/jobs/7/attach", reply({"argv": ["tmux", "-S", "/r/s", "attach", "-t", "=g"]}))
    with pytest.raises(_Became) as became:
        attach.run(attach_values(daemon, read_only=True))
    file, argv, environ = became.value.args
    assert (file, argv) == ("tmux", ["tmux", "-S", "/r/s", "attach", "-t", "=g"])
    assert "TMUX" not in environ
    assert daemon.asked[0].query == {"read_only": "1"}


def test_attach_fails_without_a_terminal_on_either_end(run, daemon):
    daemon.on("GET", "/jobs/7/attach", reply({"argv": ["true"]}))
    daemon.on("GET", "/jobs/9/attach", reply({"error": "Job 9 has ended", "code": "wrong_state"}, 409))
    done = run(COMMAND, "attach", "7")
    assert done.status == 1
    assert "only be attached to from a terminal" in done.err
    assert run(COMMAND, "a", "9").err == "gjob attach: Job 9 has ended\n"


def test_following_goes_on_with_the_next_daemon(run, daemon):
    """The stream of a daemon that stops just ends; the job says whether it was all."""
    states = iter(["Running", "Finished"])
    streams = iter([b"one\n", b"two\n"])
    daemon.on("GET", "/jobs/7/log/stream", lambda _request: reply(next(streams)))
    daemon.on("GET", "/jobs/7", lambda _request: reply({"id": 7, "state": next(states)}))
    done = run(COMMAND, "log", "7", "-f")
    assert (done.status, done.out) == (0, "one\ntwo\n")
    asked = [request.query for request in daemon.asked if request.path.endswith("stream")]
    assert asked == [{"follow": "1"}, {"follow": "1", "offset": "4"}]
