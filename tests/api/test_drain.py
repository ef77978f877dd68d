"""Draining over the API: who may, what it answers, where it is shown."""

from gflow.daemon import stalls
from gflow.launch.base import CannotLaunch
from gflow.wire.columns import CELL_END
from support.desk import eventually
from support.house import House


async def test_drain_and_resume(house):
    running = await house.start()
    told = await house.ask("POST", "/drain", {"reason": "new disks"})
    waiting = await house.submit()
    drained = told["drained"]
    assert (told["changed"], told["running_jobs"], drained["reason"]) == (True, 1, "new disks")
    assert (await house.get("/info"))["drained"] == (await house.get("/status"))["drained"] == drained
    await eventually(lambda: house.engine.reason(house.engine.job(waiting)) is not None, "a pass")
    answer = await house.client.get("/queue?columns=JOBID,NODELIST(REASON),REASON&states=PD")
    assert answer.text == CELL_END.join([str(waiting), "(Drained)", "Drained: new disks"]) + "\n"
    assert (await house.get(f"/jobs/{waiting}"))["reason"] == "WaitingForResources"
    assert house.launcher.running() == {running}
    told = await house.ask("POST", "/resume")
    assert (told["changed"], told["drained"]) == (True, None)
    await eventually(lambda: waiting in house.launcher.running(), "the start")
    assert (await house.ask("POST", "/resume"))["changed"] is False


async def test_what_cannot_be_launched_waits_and_is_told(house, monkeypatch):
    monkeypatch.setattr(stalls, "BACKOFF_SECS", (0.01,))
    house.launcher.trouble = CannotLaunch("there is no tmux server")
    first, second = await house.submit(), None
    await eventually(lambda: house.engine.stalled, "the first try")
    second = await house.submit()
    await eventually(lambda: house.engine.reason(house.engine.job(second)) is not None, "a pass")
    answer = await house.client.get("/queue?columns=JOBID,NODELIST(REASON),REASON&states=PD")
    assert answer.text == CELL_END.join([str(second), "(Stalled)", "Cannot be launched just now"]) + "\n"
    told = (await house.get("/info"))["launch_trouble"], (await house.get("/status"))["launch_trouble"]
    assert told == ("there is no tmux server",) * 2
    house.launcher.trouble = None
    await eventually(lambda: house.launcher.running() == {first, second}, "both")
    assert (await house.get("/info"))["launch_trouble"] is None


async def test_it_is_still_so_after_a_restart(tmp_path):
    async with House(tmp_path) as house:
        await house.ask("POST", "/drain", {})
        waiting = await house.submit()
    async with House(tmp_path, house.launcher) as house:
        assert (await house.get("/info"))["drained"]["reason"] is None
        assert (await house.get(f"/jobs/{waiting}"))["state"] == "Queued"
        await house.ask("POST", "/resume")
        await eventually(lambda: waiting in house.launcher.running(), "the start")


async def test_only_administrators_may(house):
    await house.come_as(12345)
    for verb, body in (("drain", {}), ("resume", ...)):
        assert "administrator" in await house.refused("POST", f"/{verb}", body, status=403, code="forbidden")
    assert house.engine.drained is None


async def test_nonsense_is_refused(house):
    for body in ({"reason": "a\nb"}, {"reason": "x" * 201}, {"reason": 3}, {"why": "x"}):
        await house.refused("POST", "/drain", body, status=400, code="malformed")
    assert house.engine.drained is None
