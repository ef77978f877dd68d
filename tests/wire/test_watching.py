"""Progress, processes and GPUs as the API shows them."""

from gflow.core.model import GpuStatus, Job, JobId, Now, State
from gflow.core.progress import Progress
from gflow.launch.base import Consumption
from gflow.wire.columns import COLUMNS, Row
from gflow.wire.watching import gpus_json, process_json, progress_json
from support.jobs import START, Bench, spec

JOB = Job(
    id=JobId(3),
    spec=spec(),
    run_name="x",
    state=State.RUNNING,
    submitted_at=1.0,
    started_at=START.wall,
    started_boot=START.boot,
)
NOW = Now(START.wall + 50, START.boot + 50)


def test_progress_with_the_time_that_is_left():
    told = progress_json(JOB, Progress(33.3333, NOW.wall, "file", note="epoch 1"), NOW)
    assert told == {
        "id": 3,
        "percent": 33.33,
        "left_secs": 100.0,
        "expected_end": NOW.wall + 100.0,
        "state": "normal",
        "note": "epoch 1",
        "told_by": "file",
        "told_at": NOW.wall,
    }
    told = progress_json(JOB, Progress(0, NOW.wall, "file"), NOW)
    assert (told["left_secs"], told["expected_end"]) == (None, None)


def test_the_column_of_progress():
    cell = COLUMNS["PROGRESS"]
    assert cell(Row(JOB, None, NOW)) == "-"
    assert cell(Row(JOB, None, NOW, progress=Progress(0.2, NOW.wall, "file", left_secs=90061.0))) == "0% ~1-01:01:01"
    assert cell(Row(JOB, None, NOW, progress=Progress(0, NOW.wall, "file"))) == "0%"


def test_a_process_started_at_a_moment_of_the_wall_clock():
    process = Consumption(7, 1, "python x", "R", 1.5, 4096, 2, NOW.boot - 10)
    told = process_json(process, NOW)
    assert told["started_at"] == NOW.wall - 10
    assert (told["pid"], told["cpu_secs"], told["memory_bytes"]) == (7, 1.5, 4096)


def test_the_gpus_of_a_job_as_last_seen():
    bench = Bench(2, gpu_memory_mb=1000)
    job_id = bench.running(gpus=2)
    bench.engine.resources.status = {0: GpuStatus(used_mb=700, utilisation_pct=90, job_mb={JobId(job_id): 600})}
    first, second = gpus_json(bench.engine, bench.job(job_id))
    assert first == {
        "index": 0,
        "name": "Test",
        "memory_mb": 1000,
        "used_mb": 700,
        "job_mb": 600,
        "utilisation_pct": 90,
    }
    assert (second["index"], second["used_mb"], second["job_mb"]) == (1, None, None)
