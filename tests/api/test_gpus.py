"""The GPUs over the API: what there is, which may be given out, which processes of others are let be on them."""

import os

import pytest

from gflow import clock
from gflow.api.callers import user_name
from gflow.core.model import Gpu, GpuProcessId, GpuStatus, JobId
from gflow.gpu.base import GpuProcess, ProbeReading, Reading
from gflow.launch.processes import read_stat
from support.desk import eventually
from support.fake_launcher import FakeLauncher
from support.house import House

ANA = 12345
OWNER = user_name(os.geteuid())
OWN = os.getpid()


def own_process():
    """This process, as a probe would name it."""
    return GpuProcessId(OWN, read_stat(OWN).process.start_ticks)


def see(house, **status):
    """A probe saw this on GPU 0, and nothing on the others; it does not look again by itself."""
    house.daemon._gpus._hand_over = lambda _status: None
    resources = house.engine.resources
    seen = {index: GpuStatus() for index in resources.gpus} | {0: GpuStatus(**status)}
    house.runtime.commit(house.engine.observe_gpus(tuple(resources.gpus.values()), seen, house.runtime.clock()))
    house.runtime.schedule_wake.set()


class Shown:
    """A probe that sees these processes on the one GPU there is."""

    def __init__(self, *pids):
        self.pids = pids

    def read(self):
        processes = tuple(GpuProcess(pid, None) for pid in self.pids)
        return ProbeReading((Reading(Gpu(0, "GPU-0"), processes=processes),))

    def close(self):
        pass


def reserve(house, secs=7200.0, **what):
    """A reservation for ana that began half an hour ago."""
    now = house.runtime.clock()
    _, outcome = house.engine.reserve("ana", now.wall - 30, now.wall - 30 + secs, now, **what)
    house.runtime.commit(outcome)


async def gpu(house, index=0):
    """One device as it is told."""
    return next(one for one in (await house.get("/info"))["gpus"] if one["index"] == index)


# -- looking -----------------------------------------------------------------------------------------------------------


async def test_info(tmp_path):
    settings = {"simulated_gpus": 4, "simulated_gpu_memory_mb": 1000, "gpus": [1, 3]}
    async with House(tmp_path, **settings) as house:
        job_id = await house.start(gpus=1, run_name="train")
        told = await house.get("/info")
        first, second = told.pop("gpus")
        assert first == {
            "uuid": "GPU-simulated-1",
            "index": 1,
            "available": False,
            "reason": None,
            "name": "simulated GPU",
            "memory_mb": 1000,
            "used_mb": None,
            "utilisation_pct": None,
            "simulated": True,
            "restricted": False,
            "jobs": [{"id": job_id, "name": "train", "user": OWNER, "share_mb": None, "used_mb": None}],
            "processes": [],
            "reserved": None,
        }
        assert (second["index"], second["available"], second["jobs"]) == (3, True, [])
        assert told == {
            "allowed_gpu_indices": [1, 3],
            "gpu_allocation_strategy": "sequential",
            "executor": "tmux",
            "gpu_trouble": None,
            "reservations": [],
            "drained": None,
            "launch_trouble": None,
            "limits": {"memory": "watch", "cpus": "affinity", "why": "no cgroup has been looked for"},
        }


async def test_all_jobs_on_a_shared_gpu_are_named_with_what_they_hold(house):
    shared = {"gpus": 1, "gpu_sharing_mode": "Shared"}
    ids = [await house.start(**shared, gpu_memory_limit_mb=size) for size in (8000, 4000)]
    see(house, used_mb=9000, utilisation_pct=87, job_mb={JobId(ids[0]): 6000, JobId(ids[1]): None})
    told = await gpu(house)
    assert (told["available"], told["used_mb"], told["utilisation_pct"]) == (False, 9000, 87)
    held = [(job["id"], job["share_mb"], job["used_mb"]) for job in told["jobs"]]
    assert held == [(ids[0], 8000, 6000), (ids[1], 4000, None)]


async def test_what_keeps_a_device_from_being_given_out_is_told_in_gflows_words(house):
    see(house, foreign=(GpuProcessId(4242, 7), GpuProcessId(4343, 8)))
    told = await gpu(house)
    assert (told["available"], told["reason"]) == (False, "unmanaged(pid=4242,4343)")
    assert told["processes"] == [{"pid": 4242, "ignored": False}, {"pid": 4343, "ignored": False}]
    see(house, fault="the driver does not answer")
    told = await gpu(house)
    assert (told["available"], told["reason"]) == (False, "the driver does not answer")
    house.runtime.commit(house.engine.allow_gpus([1, 2, 3], house.runtime.clock()))
    told = await gpu(house)
    assert (told["restricted"], told["reason"]) == (True, "the driver does not answer")
    see(house)
    assert (await gpu(house))["reason"] == "restricted"


async def test_reservations_in_force_are_told(house):
    reserve(house, gpu_indices=[0])
    reserve(house, gpu_count=2)
    told = await house.get("/info")
    reserved = told["gpus"][0]["reserved"]
    assert (reserved["id"], reserved["user"]) == (1, "ana")
    assert reserved["until"] == pytest.approx(house.runtime.clock().wall + 7170, abs=5)
    assert (told["gpus"][0]["available"], told["gpus"][0]["reason"]) == (False, "reserved(user=ana)")
    assert (told["gpus"][1]["available"], told["gpus"][1]["reserved"]) == (True, None)
    assert [(one["id"], one["user"], one["gpu_count"]) for one in told["reservations"]] == [(2, "ana", 2)]
    assert (await house.get("/status"))["gpu_available"] == 3


async def test_a_cancelled_reservation_starts_a_waiting_job_at_once(house):
    reserve(house, gpu_indices=[0, 1, 2, 3])
    waiting = await house.submit(gpus=1)
    await eventually(lambda: house.engine.ready.blocked(waiting) == "WaitingForGpu", "the pass")
    lines = (await house.client.get("/queue?columns=REASON,NODELIST(REASON)")).text
    assert lines == "Reserved\x1f(Resources)\n"
    house.runtime.commit(house.engine.cancel_reservation(1, house.runtime.clock()))
    await eventually(lambda: house.launcher.running() == {waiting}, "the start")


async def test_why_nothing_can_be_seen_is_told(house):
    house.services.gpu_trouble = lambda: "no NVIDIA driver is loaded"
    assert (await house.get("/info"))["gpu_trouble"] == "no NVIDIA driver is loaded"


# -- which may be given out --------------------------------------------------------------------------------------------


async def test_only_the_allowed_ones_are_given_out(house):
    assert await house.ask("POST", "/gpus", {"allowed_indices": [3, 1, 3]}) == {"allowed_gpu_indices": [1, 3]}
    told = await house.get("/info")
    assert told["allowed_gpu_indices"] == [1, 3]
    assert [(one["restricted"], one["available"]) for one in told["gpus"]] == [(True, False), (False, True)] * 2
    assert (await house.get("/status"))["allowed_gpu_indices"] == [1, 3]
    job_id = await house.start(gpus=2)
    assert house.engine.job(job_id).gpu_ids == (1, 3)
    waiting = await house.submit(gpus=1)
    assert await house.ask("POST", "/gpus", {"allowed_indices": None}) == {"allowed_gpu_indices": None}
    await eventually(lambda: house.engine.job(waiting).gpu_ids == (0,), "the start on what was freed")


async def test_a_job_on_a_device_that_is_taken_out_goes_on(house):
    job_id = await house.start(gpus=1)
    assert await house.ask("POST", "/gpus", {"allowed_indices": []}) == {"allowed_gpu_indices": []}
    told = await gpu(house)
    assert ([job["id"] for job in told["jobs"]], told["restricted"]) == ([job_id], True)
    assert (await house.end(job_id))["state"] == "Finished"


async def test_the_configuration_is_the_most_there_can_be(tmp_path):
    async with House(tmp_path, simulated_gpus=4, gpus=[0, 2]) as house:
        for wanted in ([0, 1], [3], [9]):
            body = {"allowed_indices": wanted}
            sentence = await house.refused("POST", "/gpus", body, status=422, code="impossible")
            outside = sorted(set(wanted) - {0, 2})
            assert sentence == f"Invalid GPU indices {outside}: daemon.gpus in the configuration is [0, 2]"
        assert await house.ask("POST", "/gpus", {"allowed_indices": [2]}) == {"allowed_gpu_indices": [2]}
        assert await house.ask("POST", "/gpus", {"allowed_indices": None}) == {"allowed_gpu_indices": [0, 2]}


async def test_a_restriction_survives_a_restart_within_a_narrower_configuration(tmp_path):
    async with House(tmp_path, simulated_gpus=4) as house:
        await house.ask("POST", "/gpus", {"allowed_indices": [0, 2]})
    async with House(tmp_path, house.launcher, simulated_gpus=4, gpus=[2, 3]) as house:
        told = await house.get("/info")
        assert told["allowed_gpu_indices"] == [2]
        assert [(one["index"], one["available"]) for one in told["gpus"]] == [(2, True), (3, False)]
        sentence = await house.refused("POST", "/jobs", house.request(gpus=3), status=422, code="impossible")
        assert "this machine has 2" in sentence


async def test_devices_that_do_not_exist_are_refused(house):
    sentence = await house.refused("POST", "/gpus", {"allowed_indices": [0, 9]}, status=422, code="impossible")
    assert sentence == "Invalid GPU indices [9] (only 4 GPUs detected)"
    assert house.engine.resources.allowed is None


# -- processes of others -----------------------------------------------------------------------------------------------


async def test_a_process_that_is_ignored_keeps_nobody_waiting(house):
    looked = []
    house.services.look_at_gpus = lambda: looked.append(1)
    see(house, foreign=(own_process(),))
    waiting = await house.submit(gpus=4)
    ask = {"gpu_index": 0, "pid": OWN}
    told = await house.ask("POST", "/gpu-processes/ignore", ask)
    assert told == {**ask, "inserted": True, "available": True}
    assert looked
    await eventually(lambda: house.launcher.running() == {waiting}, "the start")
    assert await house.get("/gpu-processes") == [ask]
    one = await gpu(house)
    assert (one["reason"], one["processes"]) == (f"manual_ignore(gpu=0,pid={OWN})", [{"pid": OWN, "ignored": True}])
    again = await house.ask("POST", "/gpu-processes/ignore", ask)
    assert (again["inserted"], again["available"]) == (False, False)
    await house.end(waiting)
    assert await house.ask("POST", "/gpu-processes/unignore", ask) == {**ask, "removed": True, "available": False}
    assert await house.get("/gpu-processes") == []


async def test_what_is_ignored_is_remembered_until_it_is_gone(tmp_path):
    probe, one = Shown(4242), {"gpu_index": 0, "pid": 4242}
    launcher = FakeLauncher(clock.read)
    launcher.enter(4242)
    async with House(tmp_path, launcher, probe=probe, simulated_gpus=1) as house:
        assert (await gpu(house))["reason"] == "unmanaged(pid=4242)"
        house.services.start_ticks = lambda pid: pid * 10
        waiting = await house.submit(gpus=1)
        await house.ask("POST", "/gpu-processes/ignore", one)
        await eventually(lambda: launcher.running() == {waiting}, "the start")
    async with House(tmp_path, launcher, probe=probe, simulated_gpus=1) as house:
        assert await house.get("/gpu-processes") == [one]
        assert (await gpu(house))["reason"] == "manual_ignore(gpu=0,pid=4242)"
        probe.pids = ()
        house.services.look_at_gpus()
        await eventually(lambda: not house.engine.resources.ignored, "the next look")
        assert await house.get("/gpu-processes") == []


async def test_unignoring_has_the_gpus_looked_at_again(tmp_path):
    probe, one = Shown(4242), {"gpu_index": 0, "pid": 4242}
    launcher = FakeLauncher(clock.read)
    launcher.enter(4242)
    async with House(tmp_path, launcher, probe=probe, simulated_gpus=1) as house:
        house.services.start_ticks = lambda pid: pid * 10
        await house.ask("POST", "/gpu-processes/ignore", one)
        probe.pids = (4242, 4343)
        await house.ask("POST", "/gpu-processes/unignore", one)
        await eventually(lambda: house.engine.resources.veto(0) == "unmanaged(pid=4242,4343)", "the next look")


@pytest.mark.parametrize(
    ("index", "pid", "says"),
    [
        (0, 2**22 + 7, f"There is no process {2**22 + 7}"),
        (0, -1, "There is no process -1"),
        (0, OWN, f"PID {OWN} is not currently running on GPU 0"),
        (9, OWN, "There is no GPU 9"),
    ],
    ids=["no such process", "no process at all", "another process", "no such GPU"],
)
async def test_what_cannot_be_ignored(house, index, pid, says):
    see(house, foreign=(GpuProcessId(OWN, 1),))  # its number was another's before
    body = {"gpu_index": index, "pid": pid}
    assert await house.refused("POST", "/gpu-processes/ignore", body, status=422, code="impossible") == says
    assert house.engine.resources.ignored == {}


async def test_what_is_not_ignored_cannot_be_taken_back(house):
    body = {"gpu_index": 0, "pid": 77}
    sentence = await house.refused("POST", "/gpu-processes/unignore", body, status=404, code="not_found")
    assert sentence == "Process 77 is not ignored on GPU 0"


# -- who, and how ------------------------------------------------------------------------------------------------------

CHANGES = {
    "/gpus": {"allowed_indices": None},
    "/gpu-processes/ignore": {"gpu_index": 0, "pid": OWN},
    "/gpu-processes/unignore": {"gpu_index": 0, "pid": OWN},
}


@pytest.mark.parametrize("path", CHANGES)
async def test_only_administrators_change_anything(house, path):
    await house.come_as(ANA)
    sentence = await house.refused("POST", path, CHANGES[path], status=403, code="forbidden")
    assert sentence.startswith("Only an administrator may ")
    assert sentence.endswith(f"; you are uid:{ANA}")
    assert (await house.get("/info"))["gpus"]
    assert await house.get("/gpu-processes") == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/gpus", {}),
        ("/gpus", {"allowed_indices": "0"}),
        ("/gpus", {"allowed_indices": [0.5]}),
        ("/gpus", {"allowed_indices": [0], "force": True}),
        ("/gpu-processes/ignore", {"gpu_index": 0}),
        ("/gpu-processes/ignore", {"gpu_index": 0, "pid": "1"}),
        ("/gpu-processes/unignore", {"gpu_index": 0, "pid": 1, "all": True}),
        ("/gpu-processes/unignore", {"gpu_index": 0, "pid": 2**70}),
    ],
)
async def test_what_is_malformed_is_refused(house, path, body):
    await house.refused("POST", path, body, status=400, code="malformed")


async def test_a_device_that_can_be_used_again_is_an_event(house):
    see(house, foreign=(GpuProcessId(4242, 7),))
    async with await house.stream() as stream:
        await stream.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        text = ""
        while "data: {}" not in text:
            text += (await stream.receive_some()).decode()
        see(house)
        while '"gpu"' not in text:
            text += (await stream.receive_some()).decode()
    assert 'event: gpu_available\ndata: {"type":"gpu_available","at":' in text
    assert '"gpu":0,"uuid":"GPU-simulated-0"}' in text
