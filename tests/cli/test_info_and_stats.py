"""ginfo, gctl and gstats."""

import csv
import io
import json

import pytest

from gflow.cli.gctl import COMMAND as GCTL
from gflow.cli.ginfo import COMMAND as GINFO
from gflow.cli.gstats import COMMAND as GSTATS
from gflow.cli.render.times import stamp
from support.fake_daemon import reply


def gpu(index, *jobs, **fields):
    """One device of /info; `jobs` are names of jobs by id, or records."""
    held = [job if isinstance(job, dict) else {"id": job, "name": f"job-{job}", "user": "ann"} for job in jobs]
    plain = {"uuid": f"GPU-{index}", "index": index, "available": not jobs, "reason": None, "jobs": held}
    return plain | {"simulated": False, "restricted": False, "reserved": None} | fields


def info(daemon, *gpus, **fields):
    daemon.on("GET", "/info", reply({"gpus": list(gpus), "allowed_gpu_indices": None, "executor": "tmux", **fields}))


def test_idle_gpus_first_then_holders_by_lowest_index(run, daemon):
    info(daemon, gpu(3), gpu(0, 7), gpu(2, 7), gpu(1, available=False, reason="unmanaged(pid=9)"), gpu(4))
    assert run(GINFO).out == (
        " PARTITION   GPUS   NODES   STATE         JOB(REASON)\n"
        " gpu         2      3,4     idle\n"
        " gpu         2      0,2     allocated     7 (job-7)\n"
        " gpu         1      1       unavailable   (unmanaged(pid=9))\n"
    )
    assert [asked.path for asked in daemon.asked] == ["/info"]


def test_every_holder_of_a_shared_gpu_is_listed(run, daemon):
    info(daemon, gpu(0, 7, 8))
    assert run(GINFO).out.splitlines()[1] == " gpu         1      0       allocated   7 (job-7), 8 (job-8)"


def test_what_keeps_an_allocated_gpu_from_the_next_job_is_told_too(run, daemon):
    info(daemon, gpu(0, 7, reason="GPU is lost"), gpu(1, reason="manual_ignore(gpu=1,pid=9)"))
    lines = [line.split(maxsplit=4) for line in run(GINFO).out.splitlines()[1:]]
    assert lines[0][3:] == ["idle", "(manual_ignore(gpu=1,pid=9))"]
    assert lines[1][3:] == ["allocated", "7 (job-7) (GPU is lost)"]


def test_simulated_gpus_are_marked_and_kept_apart(run, daemon):
    info(daemon, gpu(0), gpu(1, simulated=True))
    for argv in ([], ["-N"]):
        lines = run(GINFO, *argv).out.splitlines()[1:]
        assert [line.split("  ")[0].strip() for line in lines] == ["gpu", "gpu (simulated)"]


MEASURED = (
    gpu(0, 7, used_mb=20000, memory_mb=24576, utilisation_pct=90),
    gpu(1, 7, used_mb=1000, memory_mb=24576, utilisation_pct=81),
    gpu(2, used_mb=640, memory_mb=24576, utilisation_pct=0),
    gpu(3, available=False, reason="the driver does not answer", used_mb=None, memory_mb=24576, utilisation_pct=None),
)


def test_what_was_measured_has_columns(run, daemon):
    info(daemon, *MEASURED)
    assert run(GINFO).out == (
        " PARTITION   GPUS   NODES   STATE         JOB(REASON)                    MEMORY        UTIL\n"
        " gpu         1      2       idle                                         640M/24.0G    0%\n"
        " gpu         2      0,1     allocated     7 (job-7)                      20.5G/48.0G   86%\n"
        " gpu         1      3       unavailable   (the driver does not answer)   -/24.0G       -\n"
    )


def test_reservations_have_a_column(run, daemon):
    reserved = {"id": 1, "user": "ann", "until": 1_800_000_000.0}
    info(
        daemon,
        gpu(0, available=False, reason="reserved(user=ann)", reserved=reserved),
        gpu(1, 7, reason="reserved(user=ann)", reserved=reserved),
        gpu(2),
        reservations=[{"id": 2, "user": "b\x1bob", "gpu_count": 2, "until": 1_800_000_000.0}],
    )
    until = stamp(1_800_000_000)
    assert [line.split(maxsplit=4) for line in run(GINFO).out.splitlines()] == [
        ["PARTITION", "GPUS", "NODES", "STATE", "JOB(REASON)   RESERVED"],
        ["gpu", "1", "2", "idle", "-"],
        ["gpu", "1", "0", "reserved", f"(Reserved)    ann until {until}"],
        ["gpu", "1", "1", "allocated", f"7 (job-7)     ann until {until}"],
        ["2", "GPUs", "reserved", "for", f"b?ob until {until}"],
    ]


def test_each_gpu_by_itself(run, daemon):
    shared = [
        {"id": 7, "name": "a", "user": "ann", "share_mb": 8192, "used_mb": None},
        {"id": 8, "name": "b\x1b", "user": "ann", "share_mb": 4096, "used_mb": 5120},
    ]
    info(daemon, gpu(1, *shared, name="RTX 4090", memory_mb=24576), gpu(0, name="RTX 4090", memory_mb=24576))
    assert run(GINFO, "-N").out == (
        " PARTITION   GPU   NAME       STATE       JOB(REASON)               MEMORY\n"
        " gpu         0     RTX 4090   idle                                  -/24.0G\n"
        " gpu         1     RTX 4090   allocated   7 (a) 8.0G, 8 (b?) 5.0G   -/24.0G\n"
    )


def test_no_gpus_is_said(run, daemon):
    info(daemon)
    done = run(GINFO)
    assert (done.status, done.out) == (0, "No GPUs on this machine; jobs without GPUs run as usual.\n")


def test_why_none_can_be_seen_is_said(run, daemon):
    info(daemon, gpu_trouble="no NVIDIA driver is loaded")
    assert run(GINFO).out == "No GPU can be seen: no NVIDIA driver is loaded\n"
    info(daemon, gpu(0, available=False, reason="the driver does not answer"), gpu_trouble="the driver does not answer")
    assert run(GINFO).out.splitlines()[-1] == "No GPU can be seen: the driver does not answer"
    done = run(GCTL, "show-gpus")
    assert done.out == "0\tin_use\tthe driver does not answer\n"
    assert done.err == "gctl show-gpus: no GPU can be seen: the driver does not answer\n"


def test_info_as_data(run, daemon):
    info(daemon)
    assert json.loads(run(GINFO, "-o", "json").out)["gpus"] == []


def test_show_gpus_is_a_tab_separated_line_each(run, daemon):
    restricted = {"available": False, "restricted": True}
    info(
        daemon,
        gpu(0),
        gpu(1, reason="unmanaged(pid=9)", **restricted),
        gpu(2, simulated=True),
        gpu(3, reason="restricted", **restricted),
        gpu(4, 7),
    )
    assert run(GCTL, "show-gpus").out == (
        "0\tavailable\n1\tin_use\trestricted\tunmanaged(pid=9)\n2\tavailable\tsimulated\n"
        "3\tin_use\trestricted\n4\tin_use\n"
    )


def test_set_limit_of_the_group_of_a_job(run, daemon):
    daemon.on("GET", "/jobs/42", reply({"id": 42, "group_id": "g-1"}))
    daemon.on("POST", "/groups/g-1/max-concurrency", reply({"group_id": "g-1", "max_concurrent": 3, "updated_jobs": 5}))
    line = "Updated max_concurrency to 3 for group 'g-1' (5 jobs affected)\n"
    assert run(GCTL, "set-limit", "42", "3").out == line
    assert run(GCTL, "set-limit", "g-1", "3").out == line
    assert daemon.asked[-1].json == {"max_concurrent": 3}


def test_set_limit_of_a_job_without_group_fails(run, daemon):
    daemon.on("GET", "/jobs/42", reply({"id": 42, "group_id": None}))
    done = run(GCTL, "set-limit", "42", "3")
    assert done.status == 1
    assert "belongs to no group" in done.err


@pytest.mark.parametrize("argv", [["set-limit", "42", "0"], ["set-limit", "42"], ["set-limit", "42", "x"]])
def test_wrong_limits_are_refused(run, daemon, argv):
    assert run(GCTL, *argv).status == 2
    assert daemon.asked == []


STATS = {
    "user": "ann",
    "since": None,
    "total_jobs": 10,
    "completed_jobs": 6,
    "failed_jobs": 1,
    "cancelled_jobs": 1,
    "timeout_jobs": 0,
    "running_jobs": 1,
    "queued_jobs": 1,
    "avg_wait_secs": 61.26,
    "avg_runtime_secs": None,
    "total_gpu_hours": 1.234,
    "jobs_with_gpus": 4,
    "avg_gpus_per_job": 0.5,
    "peak_gpu_usage": 2,
    "success_rate": 75.0,
    "measured_jobs": 3,
    "mean_gpu_utilisation_pct": 71.26,
    "top_jobs": [{"id": 3, "name": "long", "runtime_secs": 90061.0, "gpus": 2}],
}


@pytest.fixture
def stats(daemon, monkeypatch):
    """Statistics for a caller whom the system calls ann, whatever $USER says."""
    import pwd
    from types import SimpleNamespace

    monkeypatch.setenv("USER", "somebody-else")
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name="ann"))
    daemon.on("GET", "/stats", reply(STATS))
    return daemon


@pytest.mark.parametrize(
    ("argv", "query"),
    [
        ([], {"user": "ann"}),
        (["-u", "bob"], {"user": "bob"}),
        (["-u", "root,ann"], {"user": "root,ann"}),
        (["-u", "all"], {}),
        (["-a"], {}),
        (["-a", "-t", "1800000000"], {"since": "1800000000"}),
    ],
)
def test_whose_statistics(run, stats, argv, query):
    assert run(GSTATS, *argv).status == 0
    assert stats.asked[0].query == query


def test_the_sections_of_the_statistics(run, stats):
    lines = run(GSTATS).out.splitlines()
    assert lines[0] == "Usage statistics: ann"
    assert [line for line in lines if line and line[0] != " "][1:] == [
        "Job Status",
        "Efficiency",
        "GPU Usage",
        "Top Jobs by Runtime",
    ]
    for line in (
        "  Completed:       6 (75%)",
        "  Success rate:    75.0%",
        "  Average wait:    00:01:01",
        "  Average runtime: -",
        "  GPU utilisation: 71% (measured in 3 jobs)",
    ):
        assert line in lines
    assert " 3       long   1-01:01:01   2" in lines


def test_statistics_as_csv_and_json(run, stats):
    rows = dict(csv.reader(io.StringIO(run(GSTATS, "-o", "csv").out)))
    assert rows["metric"] == "value"
    assert (rows["avg_wait_secs"], rows["avg_runtime_secs"], rows["total_gpu_hours"]) == ("61.26", "", "1.234")
    assert (rows["measured_jobs"], rows["mean_gpu_utilisation_pct"]) == ("3", "71.26")
    assert json.loads(run(GSTATS, "-o", "json").out) == STATS


def test_statistics_of_nothing(run, stats):
    nothing = {name: 0 if isinstance(value, int | float) else None for name, value in STATS.items()}
    none = {"user": None, "top_jobs": [], "mean_gpu_utilisation_pct": None}
    stats.on("GET", "/stats", reply(nothing | none))
    done = run(GSTATS, "-a")
    assert done.status == 0
    assert "Usage statistics: all users" in done.out
    assert "Top Jobs" not in done.out
    assert "utilisation" not in done.out
    assert "  Success rate:    -" in done.out.splitlines()
    rows = dict(csv.reader(io.StringIO(run(GSTATS, "-a", "-o", "csv").out)))
    assert (rows["total_jobs"], rows["success_rate"], rows["avg_gpus_per_job"]) == ("0", "", "")
    assert json.loads(run(GSTATS, "-a", "-o", "json").out)["success_rate"] is None


def by(stats, what, *hours, **fields):
    """Figures for each key, with so many GPU-hours."""
    rows = [{**STATS, what: key, "total_gpu_hours": spent, "total_run_hours": 2.0, **fields} for key, spent in hours]
    stats.on("GET", "/stats", reply({"by": what, "user": None, "since": None, "rows": rows}))


def test_a_line_for_each_user_the_busiest_first(run, stats):
    by(stats, "user", ("ann", 1.5), ("b\x1bob", 20.0))
    done = run(GSTATS, "--by", "user", "-P", "ml")
    assert done.out == (
        " USER   JOBS   DONE   FAILED   CANCELLED   RUNNING   WAITING   SUCCESS   RUN-HOURS   GPU-HOURS   UTIL\n"
        " b?ob   10     6      1        1           1         1         75%       2.0         20.0        71%\n"
        " ann    10     6      1        1           1         1         75%       2.0         1.5         71%\n"
    )
    assert stats.asked[-1].query == {"by": "user", "project": "ml"}, "everybody's, unless somebody is named"


@pytest.mark.parametrize(
    ("most", "lines"),
    [
        (
            80,
            [
                " DAY          JOBS   DONE   FAILED   SUCCESS   GPU-HOURS   UTIL",
                " 2026-02-03   10     6      1        75%       8.0         71%    ██████████████",
                " 2026-02-04   10     6      1        75%       2.0         71%    ███▌",
            ],
        ),
        (
            40,
            [
                " DAY          GPU-HOURS",
                " 2026-02-03   8.0         ██████████████",
                " 2026-02-04   2.0         ███▌",
            ],
        ),
    ],
)
def test_a_terminal_gets_bars(run, stats, monkeypatch, most, lines):
    monkeypatch.setattr("gflow.cli.chart.terminal_columns", lambda: most)
    by(stats, "day", ("2026-02-03", 8.0), ("2026-02-04", 2.0))
    assert run(GSTATS, "--by", "day", "--color", "always").out.splitlines() == lines
    assert max(map(len, lines)) <= most


def test_without_gpus_the_bars_are_of_hours(run, stats, monkeypatch):
    monkeypatch.setattr("gflow.cli.chart.terminal_columns", lambda: 60)
    by(stats, "project", ("-", 0.0))
    assert "█" in run(GSTATS, "--by", "project", "--color", "always").out
    assert "RUN-HOURS" in run(GSTATS, "--by", "project", "--color", "always").out


def test_figures_by_day_as_data(run, stats):
    by(stats, "day", ("2026-02-04", 2.0))
    head, row = csv.reader(io.StringIO(run(GSTATS, "-b", "day", "-o", "csv").out))
    found = dict(zip(head, row, strict=True))
    assert (head[0], found["day"], found["total_gpu_hours"], found["total_run_hours"]) == (
        "day",
        "2026-02-04",
        "2",
        "2",
    )
    assert json.loads(run(GSTATS, "-b", "day", "-o", "json").out)["rows"][0]["day"] == "2026-02-04"
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(run(GSTATS, "-o", "yaml", "-b", "day").out)["by"] == "day"


def test_no_figures_at_all(run, stats):
    by(stats, "day")
    assert run(GSTATS, "-b", "day").out == "No jobs found.\n"


def test_a_narrow_terminal_cuts_words_not_lines(run, daemon, monkeypatch):
    monkeypatch.setattr("gflow.cli.ginfo.terminal_columns", lambda: 44)
    holder = {"id": 5, "name": "a-name-that-is-longer-than-some-terminals"}
    info(
        daemon,
        gpu(0, jobs=[holder], available=False),
        gpu(1),
        drained={"since": 0.0, "by": "root", "reason": "x y " * 9},
    )
    lines = run(GINFO).out.splitlines()
    assert max(map(len, lines)) <= 44
    assert "…" in lines[2]
    assert lines[-1].endswith("started.")


def test_a_drained_machine_is_said_to_be(run, daemon):
    drained = {"since": 1_800_000_000.0, "by": "root", "reason": "new\x1bdisks"}
    info(daemon, gpu(0), drained=drained)
    line = f"Drained since {stamp(1_800_000_000)} by root: new?disks; nothing new is started."
    assert run(GINFO).out.splitlines()[-1] == line


def test_drain_and_resume(run, daemon):
    told = {"changed": True, "drained": {}, "running_jobs": 1}
    daemon.on("POST", "/drain", reply(told))
    daemon.on("POST", "/resume", reply(told))
    assert run(GCTL, "drain").out == "Drained: nothing new is started, also after a restart; 1 job is running.\n"
    assert run(GCTL, "drain", "--reason", "new disks").status == 0
    assert [asked.json for asked in daemon.asked] == [{"reason": None}, {"reason": "new disks"}]
    assert run(GCTL, "drain", "--reason", "two\nlines").status == 2
    assert run(GCTL, "resume").out == "Jobs are started again.\n"
    daemon.on("POST", "/resume", reply(told | {"changed": False}))
    assert run(GCTL, "resume").out == "gflow was not drained.\n"


def test_drain_waits_for_what_runs_but_not_for_what_is_tried_again(run, daemon):
    running = [[{"id": 3}, {"id": 4}], []]
    daemon.on("POST", "/drain", reply({"changed": True, "drained": {}, "running_jobs": 2}))
    daemon.on("GET", "/jobs", lambda asked: reply(running.pop(0)))
    for job_id in (3, 4):
        daemon.on("GET", f"/jobs/{job_id}/wait", reply({"id": job_id, "state": "Failed"}))
    done = run(GCTL, "drain", "--wait")
    assert done.out.splitlines()[-1] == "Nothing runs any more."
    assert [asked.query for asked in daemon.asked if asked.path.endswith("/wait")] == [{}, {}]
