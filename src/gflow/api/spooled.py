"""What jobs need besides their record, put where the launcher finds it: captured environments and texts of scripts."""

import hashlib
import os
import stat
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import trio
from msgspec import UNSET

from gflow.api.services import KnownEnvironment, Services
from gflow.core.errors import Impossible, Malformed, Unavailable
from gflow.core.limits import MAX_ENVIRONMENT_BYTES, MAX_SCRIPT_BYTES
from gflow.store.spool import Kind
from gflow.wire.requests import JobUpdate

KEPT_ENVIRONMENTS = 32
"""Environments whose place in the spool is remembered, unless they are larger than `MOST_REMEMBERED`."""

MOST_REMEMBERED = 256 << 10

SCRIPT_SECS = 10.0


class Spooled:
    """The environments and scripts of one submission in the spool, each distinct one once, pinned until `unpin`.

    What is only tried (`dry`) is not stored.
    """

    def __init__(self, services: Services, *, dry: bool = False) -> None:
        self._services = services
        self._dry = dry
        self._pins: list[tuple[Kind, str]] = []
        self._environments: dict[int, str] = {}
        self._scripts: dict[str, str] = {}
        self.dropped: list[str] = []

    async def environment(self, variables: Any) -> str | None:
        """The digest of captured variables, None of None. Raises Malformed, Unavailable."""
        if variables is None:
            return None
        digest = self._environments.get(id(variables))
        if digest is None:
            if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
                raise Malformed("Invalid request: environment is an object of strings")
            digest, dropped = await self._captured(variables)
            self.dropped = sorted({*self.dropped, *dropped})
            self._environments[id(variables)] = digest
        return digest

    async def _captured(self, variables: dict[str, str]) -> tuple[str, frozenset[str]]:
        """The digest of these variables in the spool, and the names left out. One user's are mostly the same."""
        known, key = self._services.known_environments, hash(tuple(variables.items()))
        if key in known and known[key].variables == variables and self._pin("env", known[key].digest):
            return known[key].digest, known[key].dropped
        kept = {name: value for name, value in variables.items() if not self._drops(name)}
        try:
            data = self._services.render_environment(kept)
        except ValueError as error:
            raise Malformed(f"Invalid environment: {error}") from None
        if len(data) > MAX_ENVIRONMENT_BYTES:
            raise Impossible("The environment is longer than 2 MiB, more than Linux passes on; see --export")
        digest, dropped = await self._put("env", data), frozenset(variables.keys() - kept.keys())
        if len(data) <= MOST_REMEMBERED:
            if len(known) >= KEPT_ENVIRONMENTS:
                known.clear()
            known[key] = KnownEnvironment(variables, digest, dropped)
        return digest, dropped

    def _pin(self, kind: Kind, digest: str) -> bool:
        pinned = self._services.spool.pin(kind, digest)
        if pinned:
            self._pins.append((kind, digest))
        return pinned

    async def _put(self, kind: Kind, data: bytes) -> str:
        if self._dry:
            return hashlib.sha256(data).hexdigest()
        try:
            digest = await trio.to_thread.run_sync(self._services.spool.put, kind, data)
        except OSError as error:
            what = "environment" if kind == "env" else "script"
            where = f" in {os.fsdecode(error.filename)}" if error.filename is not None else ""
            why = error.strerror or error
            raise Unavailable(f"The {what} of the job cannot be stored{where}: {why}") from error
        self._pins.append((kind, digest))
        return digest

    def unpin(self) -> None:
        """The jobs are in the engine, or refused: what they need is known from there."""
        for kind, digest in self._pins:
            self._services.spool.unpin(kind, digest)

    def _drops(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._services.env_drop)

    async def script(self, path: str | None, text: str | None, run_dir: str | None) -> str | None:
        """The digest of a script: its `text`, else what is at `path` from `run_dir`; None without either.

        Raises Impossible, Malformed, Unavailable.
        """
        if path is None and text is None:
            return None
        if text is None and self._services.submitters is not None:
            raise Impossible(
                f"The text of the script {path} is missing (script_text): this daemon reads no files of users"
            )
        key = text if text is not None else f"\0{run_dir}\0{path}"
        if key not in self._scripts:
            data = await self._script_bytes(path, text, run_dir)
            if not data.strip():
                raise Impossible(f"The script {path or ''} is empty".replace("  ", " "))
            if len(data) > MAX_SCRIPT_BYTES:
                raise Impossible(f"The script is longer than {MAX_SCRIPT_BYTES >> 20} MiB")
            self._scripts[key] = await self._put("script", data)
        return self._scripts[key]

    async def _script_bytes(self, path: str | None, text: str | None, run_dir: str | None) -> bytes:
        if text is not None:
            return text.encode(errors="surrogateescape")
        place = Path(run_dir or "/", path or "")
        try:
            return await self._services.patience.within(SCRIPT_SECS, None, partial(_read_script, place))
        except TimeoutError as error:
            raise Impossible(f"The script {place} cannot be read: {error.strerror}") from None

    def keeps_script(self, digest: str) -> bool:
        """Whether the text of an earlier job is there still; then it stays."""
        return self._pin("script", digest)


async def spooled_script(spooled: Spooled, update: JobUpdate, run_dir: str) -> str | None:
    """The digest of the script an update names, None if it names none. Raises as `Spooled.script`."""
    path, text = (None if given is UNSET else given for given in (update.script, update.script_text))
    return await spooled.script(path, text, run_dir)


def _read_script(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Impossible(f"The script {path} is not a regular file")
            return file.read(MAX_SCRIPT_BYTES + 1)
    except OSError as error:
        raise Impossible(f"The script {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Malformed("The script path contains a NUL character") from None
