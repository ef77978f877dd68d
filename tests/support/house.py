"""The whole daemon in the test's own event loop: real socket, real log, real composition, but a fake launcher.

`async with House(directory) as house:` is one life of a daemon; a second one over the same directory and the same
launcher is a restart. It is stopped as a daemon is, by SIGTERM.
"""

import json
import os
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import httpx
import trio

from gflow import clock, config
from gflow.api.app import create_app
from gflow.api.services import Services
from gflow.daemon import configured, endpoints, run
from gflow.daemon.peer import Peer
from gflow.daemon.persistence import Persistence
from gflow.daemon.settings import Settings
from gflow.daemon.signals import Terminal
from gflow.gpu.base import Probe
from gflow.gpu.simulated import Simulated
from gflow.notify.base import Target
from gflow.store.disk import DISK, Disk
from support.desk import eventually
from support.fake_launcher import FakeLauncher

DEADLINE_SECS = 30.0


class House:
    """`daemon` are settings of `[daemon]`. `peer`, if set, is who every new connection seems to come from.

    `disk` is what the log is on, `targets` are told of events, `timezone` is the setting of that name, `quota` is the
    `[quota]` table, `access` the `[access]` table, `probe` sees GPUs in place of the one that simulates them.
    """

    def __init__(
        self,
        root: Path,
        launcher: FakeLauncher | None = None,
        *,
        disk: Disk = DISK,
        targets: Sequence[Target] = (),
        timezone: str | None = None,
        quota: config.Quota | None = None,
        probe: Probe | None = None,
        access: config.Access | None = None,
        **daemon: Any,
    ) -> None:
        self.root = root
        self.data_dir, self.socket = root / "data", root / "run" / "s"
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        self.launcher = launcher or FakeLauncher(clock.read)
        self.peer: Peer | None = None
        self.ended = trio.Event()
        self._patched = AsyncExitStack()
        self._patched.enter_context(patch.object(run, "Tmux", lambda *_places, **_options: self.launcher))
        self._patched.enter_context(patch.object(run, "Nvml", lambda: Simulated(0, 1)))  # whatever this machine has
        self._patched.enter_context(patch.object(endpoints, "peer_of", self._peer_of(endpoints.peer_of)))
        self._patched.enter_context(patch.object(run, "Persistence", partial(Persistence, disk=disk)))
        self._patched.enter_context(patch.object(configured, "targets", lambda *_settings: list(targets)))
        self._patched.enter_context(patch.object(run, "create_app", self._create_app))
        if probe is not None:
            self._patched.enter_context(patch.object(run, "Simulated", lambda *_settings: probe))
        settings = config.Config(
            daemon=config.Daemon(**daemon),
            timezone=timezone,
            quota=quota or config.Quota(),
            access=access or config.Access(),
        )
        started_with = Settings(settings, self.data_dir, self.socket)
        self.daemon = run.Daemon(started_with, Terminal())
        self.runtime = self.daemon._runtime
        self.engine = self.runtime.engine
        self.persistence = self.daemon._persistence
        self.spool = self.daemon._spool
        self.history = self.daemon._history

    def _create_app(self, services: Services) -> Any:
        self.services = services
        app = create_app(services)
        self.crowd = app._crowd
        return app

    def _peer_of(self, real: Any) -> Any:
        return lambda sock: self.peer or real(sock)

    async def __aenter__(self) -> Self:
        self._nursery_manager = trio.open_nursery()
        self.nursery = await self._nursery_manager.__aenter__()
        self.nursery.cancel_scope.deadline = trio.current_time() + DEADLINE_SECS
        self.nursery.start_soon(self._live)
        self.client = self.make_client()
        await eventually(lambda: self.socket.exists() or self.ended.is_set(), "the socket")
        with trio.fail_after(DEADLINE_SECS):
            assert (await self.client.get("/health")).status_code == 200
            await self.runtime.on_disk(self.runtime.last_seq)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + DEADLINE_SECS):
                await self.client.aclose()
                self.terminate()
                await self.ended.wait()
            if exc[0] is None:
                assert self.ended.is_set(), "the daemon did not stop"
            self.nursery.cancel_scope.cancel()
            await self._nursery_manager.__aexit__(*exc)
        finally:
            await self._patched.aclose()

    async def _live(self) -> None:
        try:
            await self.daemon.run()
        finally:
            self.ended.set()

    def terminate(self) -> None:
        """SIGTERM, unless it has ended already."""
        if not self.ended.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    def make_client(self) -> httpx.AsyncClient:
        transport = httpx.AsyncHTTPTransport(uds=os.fspath(self.socket), verify=False)
        return httpx.AsyncClient(transport=transport, base_url="http://gflowd", timeout=DEADLINE_SECS)

    def remote(self, token: str | None = None) -> httpx.AsyncClient:
        """A client that comes by TCP, in the clear: it need not read which authorities this machine trusts."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        address = self.services.status["tcp"]
        return httpx.AsyncClient(base_url=address, headers=headers, timeout=DEADLINE_SECS, verify=False)

    async def token(self, user: str, **fields: Any) -> str:
        """A new token for this user; whoever calls now must be an administrator, or the user."""
        return str((await self.ask("POST", "/tokens", {"user": user, **fields}, 201))["token"])

    async def stream(self) -> trio.SocketStream:
        """A bare connection."""
        return await trio.open_unix_socket(self.socket)

    async def come_as(self, uid: int) -> None:
        """From now on requests come from this user."""
        await self.client.aclose()
        self.peer = Peer(4242, uid, uid)
        self.client = self.make_client()

    # -- requests

    async def ask(self, method: str, path: str, body: Any = ..., expect: int = 200) -> Any:
        """The JSON of the answer, which must have the status `expect`."""
        content = b"" if body is ... else body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} if content else {}
        answer = await self.client.request(method, path, content=content, headers=headers)
        assert answer.status_code == expect, (answer.status_code, answer.text)
        return answer.json()

    async def get(self, path: str) -> Any:
        return await self.ask("GET", path)

    async def refused(self, method: str, path: str, body: Any = ..., *, status: int, code: str) -> str:
        """The sentence with which this is refused, in the one shape of errors."""
        answer = await self.ask(method, path, body, expect=status)
        assert set(answer) == {"error", "code"}, answer
        assert answer["code"] == code
        assert answer["error"].strip() == answer["error"] != ""
        assert "\n" not in answer["error"]
        return str(answer["error"])

    def request(self, **fields: Any) -> dict[str, Any]:
        """A job that runs `true`, as a caller asks for it."""
        work = {} if fields.keys() & {"argv", "script", "script_text"} else {"command": "true"}
        return {**work, "run_dir": os.fspath(self.root), **fields}

    async def submit(self, **fields: Any) -> int:
        """Submit one job; its id."""
        return int((await self.ask("POST", "/jobs", self.request(**fields), 201))["id"])

    async def start(self, **fields: Any) -> int:
        """Submit a job and wait until it has been launched; its id."""
        job_id = await self.submit(**fields)
        await eventually(lambda: self.engine.job(job_id).started_boot is not None, "the launch")
        return job_id

    async def end(self, job_id: int, code: int | None = 0, text: str | None = None) -> Any:
        """A running job ends; its record then."""
        self.launcher.finish(job_id, code, text)
        return await self.get(f"/jobs/{job_id}/wait")

    async def retire(self, *job_ids: int) -> None:
        """These jobs, which have ended, move to the history."""
        jobs = [self.engine.job(job_id) for job_id in job_ids]
        self.history.add(jobs)
        await self.runtime.on_disk(self.runtime.commit(self.engine.retire([job.id for job in jobs])))
        assert not self.engine.jobs.keys() & set(job_ids), "they are still at hand"

    def write_log(self, job_id: int, data: bytes) -> None:
        """What the job has printed."""
        logs = self.data_dir / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        with (logs / f"{job_id}.log").open("ab") as file:
            file.write(data)
