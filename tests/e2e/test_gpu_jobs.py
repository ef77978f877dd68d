"""What jobs find about their GPUs in their environment, and what becomes of those whose GPU memory runs out."""

from pathlib import Path

from support.daemon import Daemon
from support.wait import until

SAY = 'echo "[$CUDA_VISIBLE_DEVICES] $CUDA_DEVICE_ORDER ${CUDA_VISIBLE_DEVICES+set}"'
MISLEADING = {"CUDA_VISIBLE_DEVICES": "7", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"}
"""What the submitter's shell may have set; it is no business of the job."""


def said(daemon: Daemon, *words: str) -> str:
    """What a job prints that was submitted with these words."""
    job_id = daemon.gbatch(*words, **MISLEADING)
    assert daemon.wait_job(job_id)["state"] == "Finished", daemon.log(job_id)
    return daemon.log(job_id).decode()


def test_a_job_sees_the_gpus_it_has(shared: Daemon):
    assert said(shared, "--gpu-ids", "1", SAY) == "[1] PCI_BUS_ID set\n"
    assert said(shared, "--gpu-ids", "1,0", SAY) == "[0,1] PCI_BUS_ID set\n"
    assert said(shared, "--gpus", "1", SAY) == "[0] PCI_BUS_ID set\n"
    assert said(shared, "--gpus", "2", "--shared", "--gpu-memory", "6G", SAY) == "[0,1] PCI_BUS_ID set\n"


def test_a_job_without_gpus_sees_none(shared: Daemon):
    assert said(shared, SAY) == "[] PCI_BUS_ID set\n"
    assert said(shared, "--export", "NONE", SAY) == "[] PCI_BUS_ID set\n"


def test_the_reference_in_an_argument_is_filled_in(shared: Daemon):
    words = ("printf", "<%s>", "$CUDA_VISIBLE_DEVICES", "gpus=${CUDA_VISIBLE_DEVICES}.", "$CUDA_DEVICE_ORDER")
    assert said(shared, "--gpu-ids", "1", *words) == "<1><gpus=1.><$CUDA_DEVICE_ORDER>"
    assert said(shared, *words) == "<><gpus=.><$CUDA_DEVICE_ORDER>"


def test_a_script_that_names_its_gpus(shared: Daemon):
    (shared.work / "named.sh").write_text(f"#!/bin/sh\n# GFLOW --gpu-ids 1\n{SAY}\n")
    assert said(shared, "named.sh") == "[1] PCI_BUS_ID set\n"
    assert said(shared, "--gpu-ids", "0", "named.sh") == "[0] PCI_BUS_ID set\n"


def test_jobs_that_share_a_gpu_run_beside_each_other(shared: Daemon):
    first, second = (shared.gbatch("--gpu-ids", "1", "--shared", "--gpu-memory", "12G", "sleep 60") for _ in range(2))
    for job_id in (first, second):
        assert shared.wait_running(job_id)["gpu_ids"] == [1]
    third = shared.gbatch("--gpu-ids", "1", "--shared", "--gpu-memory", "1G", SAY)
    alone = shared.gbatch("--gpu-ids", "1", SAY)
    until(lambda: shared.job(third)["reason"] == "WaitingForGpu", "a look at the third")
    moved = shared.cli("gjob", "update", str(alone), "--gpu-ids", "0")
    assert moved.stdout.endswith("Changed: gpu_indices\n"), moved
    assert shared.wait_job(alone)["gpu_ids"] == [0]
    assert shared.cli("gcancel", str(first)).returncode == 0
    assert shared.wait_job(third)["gpu_ids"] == [1]
    assert shared.cli("gcancel", str(second)).returncode == 0


TRAIN = """\
import os, sys, time
while os.path.exists("wait") and not os.path.exists("go"):
    time.sleep(0.01)
if os.environ["GFLOW_RESTART_COUNT"] == "0":
    print("Traceback (most recent call last):\\n  File \\"train.py\\", line 7, in <module>\\n    loss.backward()")
    sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.")
print("trained on", os.environ["CUDA_VISIBLE_DEVICES"])
"""
WISHES = ("--gpus", "1", "--gpu-memory", "12G", "--retry-on-oom", "train.py")


def shown(daemon: Daemon, job_id: int) -> list[str]:
    return [line.strip() for line in daemon.cli("gjob", "show", str(job_id)).stdout.splitlines()]


def test_a_job_that_runs_out_of_gpu_memory_is_tried_again_with_more(shared: Daemon, tmp_path: Path):
    (tmp_path / "train.py").write_text(TRAIN)
    first = shared.gbatch(*WISHES, cwd=tmp_path)
    failed = shared.wait_job(first)
    second = failed["retried_as"]
    again = shared.wait_job(second)
    assert (failed["state"], failed["exit_code"]) == ("Failed", 1)
    assert (again["state"], again["gpu_memory_limit_mb"], again["oom_restarts"]) == ("Finished", 15360, 1)
    assert shared.log(second) == b"trained on 0\n"
    assert f"Job {first} ran out of GPU memory; tried again as job {second} with 15G\n" in shared.said()
    lines = shown(shared, first)
    assert f"Detail=out of GPU memory; job {second} tries again with 15G" in lines
    assert {"GPUMemoryLimit=12G (required)", "RetryOnOOM=enabled", f"RetriedAs={second}"} <= {*lines}
    lines = shown(shared, second)
    assert {"GPUMemoryLimit=15G (required)", f"RetriedFrom={first}"} <= {*lines}
    assert "OOMRestarts=1 (tried again with more GPU memory)" in lines


def test_it_is_tried_again_though_no_daemon_saw_it_end(tmp_path: Path):
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "wait").touch()
    with Daemon("--simulated-gpus", "1") as daemon:
        first = daemon.gbatch(*WISHES, cwd=tmp_path)
        daemon.wait_running(first)
        run_directory = next(daemon.data.glob(f"runs/{first}.*"))
        daemon.kill9()
        (tmp_path / "go").touch()
        until(lambda: (run_directory / "record").read_bytes().startswith(b"1\n"), "the end of the job")
        daemon.start()
        failed = daemon.wait_job(first)
        assert daemon.wait_job(failed["retried_as"])["gpu_memory_limit_mb"] == 15360
        assert f"Job {first} ran out of GPU memory; tried again as job {failed['retried_as']}" in daemon.said()


def test_another_failure_is_not_tried_again(shared: Daemon):
    job_id = shared.gbatch("--gpus", "1", "--gpu-memory", "12G", "--retry-on-oom", "echo MemoryError; exit 1")
    assert shared.wait_job(job_id)["retried_as"] is None


def test_impossible_requests_are_refused_in_one_line(shared: Daemon):
    for words, said in (
        (("--gpus", "3"), "The job asks for 3 GPUs, but this machine has 2"),
        (("--gpu-ids", "0,2"), "The job asks for GPU 2, but gflow has only 0-1"),
        (
            ("--gpus", "1", "--gpu-memory", "40G"),
            "The job asks for 1 GPU with 40G of memory, but the largest here has 24G",
        ),
    ):
        refused = shared.cli("gbatch", *words, "true")
        assert (refused.returncode, refused.stdout, refused.stderr) == (1, "", f"gbatch: {said}\n")
