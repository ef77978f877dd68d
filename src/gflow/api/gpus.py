"""The GPUs: what there is and who has it, which may be given out, and which processes of others are let be on them."""

from quart import Blueprint, Response

from gflow.api import query
from gflow.api.answers import answer
from gflow.api.body import json_body
from gflow.api.services import Services
from gflow.core.errors import Impossible
from gflow.core.model import GpuProcessId
from gflow.core.outcome import Outcome
from gflow.core.placement import UNSEEN
from gflow.wire.drains import drained_json, stall_text
from gflow.wire.gpus import AllowedGpus, GpuProcess, allowed_indices, available, gpus_json, reserved_by_number
from gflow.wire.requests import read


def blueprint(services: Services) -> Blueprint:
    """`/info`, `/gpus`, `/gpu-processes`."""
    routes = Blueprint("gpus", __name__)
    runtime = services.runtime
    engine, resources = runtime.engine, runtime.engine.resources

    @routes.get("/info")
    async def info() -> Response:
        query.allow()
        now = runtime.clock()
        return answer(
            {
                "gpus": gpus_json(engine, now),
                "allowed_gpu_indices": allowed_indices(resources, services.configured_gpus),
                "gpu_allocation_strategy": services.status["gpu_allocation_strategy"],
                "executor": services.status["executor"],
                "gpu_trouble": services.gpu_trouble(),
                "reservations": reserved_by_number(engine, now),
                "drained": drained_json(engine),
                "launch_trouble": stall_text(engine),
                "limits": services.limits(),
            }
        )

    @routes.post("/gpus")
    async def allow() -> Response:
        query.allow()
        wanted = read(AllowedGpus, await json_body()).allowed_indices
        runtime.check_open()
        _check_configured(wanted, services.configured_gpus)
        await runtime.durable(runtime.commit(engine.allow_gpus(wanted, runtime.clock())))
        unkept = [reservation.id for reservation in engine.unkept(runtime.clock())]
        allowed = {"allowed_gpu_indices": allowed_indices(resources, services.configured_gpus)}
        return answer(allowed | ({"unkept_reservations": unkept} if unkept else {}))

    @routes.get("/gpu-processes")
    async def ignored() -> Response:
        query.allow()
        return answer([{"gpu_index": index, "pid": process.pid} for index, process in sorted(resources.ignored)])

    @routes.post("/gpu-processes/ignore")
    async def ignore() -> Response:
        query.allow()
        asked = read(GpuProcess, await json_body())
        runtime.check_open()
        inserted, outcome = engine.ignore_gpu_process(asked.gpu_index, _seen(services, asked))
        return await _changed(outcome, asked, inserted=inserted)

    @routes.post("/gpu-processes/unignore")
    async def unignore() -> Response:
        query.allow()
        asked = read(GpuProcess, await json_body())
        runtime.check_open()
        return await _changed(engine.unignore_gpu_process(asked.gpu_index, asked.pid), asked, removed=True)

    async def _changed(outcome: Outcome, asked: GpuProcess, **what: bool) -> Response:
        """The answer to a change. Whoever waits for the device may have it before the answer is there."""
        seq, is_available = runtime.commit(outcome), asked.gpu_index in available(engine, runtime.clock())
        services.look_at_gpus()
        runtime.schedule_wake.set()
        await runtime.durable(seq)
        return answer({"gpu_index": asked.gpu_index, "pid": asked.pid, **what, "available": is_available})

    return routes


def _check_configured(wanted: list[int] | None, configured: list[int] | None) -> None:
    """Refuse what the configuration has ruled out: at run time it can be narrowed only. Raises Impossible."""
    outside = sorted(set(wanted or ()) - set(configured or ())) if configured is not None else []
    if outside:
        raise Impossible(f"Invalid GPU indices {outside}: daemon.gpus in the configuration is {configured}")


def _seen(services: Services, asked: GpuProcess) -> GpuProcessId:
    """The process on the device, as it was seen there. Raises Impossible."""
    resources = services.runtime.engine.resources
    if asked.gpu_index not in resources.gpus:
        raise Impossible(f"There is no GPU {asked.gpu_index}")
    start_ticks = services.start_ticks(asked.pid)
    process = GpuProcessId(asked.pid, start_ticks or 0)
    if process in resources.status.get(asked.gpu_index, UNSEEN).foreign:
        return process
    services.look_at_gpus()
    if start_ticks is None:
        raise Impossible(f"There is no process {asked.pid}")
    raise Impossible(f"PID {asked.pid} is not currently running on GPU {asked.gpu_index}")
