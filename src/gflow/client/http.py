"""The daemon's API, one method per verb, with the words of the routes.

Jobs and other records are the plain dictionaries of the API's JSON. Every method raises a `ClientError`; a refusal of
the daemon is a `Declined` with its sentence. What reads JSON is loaded by the methods that need it, for the sake of
those that do not.
"""

from __future__ import annotations

from gflow.client import unix
from gflow.client.endpoint import is_url
from gflow.client.errors import ClientError, ConnectionLost, Declined, Misanswered, NoAnswer, Unreachable, Unresponsive
from gflow.client.patience import Vigil
from gflow.client.plain import harmless_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")
    Record = dict[str, Any]
    Query = Mapping[str, "str | int | float | None"]

RESTART_SECS = 60.0
"""How long a command that waits for a job puts up with a daemon that is not there."""

RETRY_SECS = 0.2
_ACTIVE = ("Queued", "Hold", "Running")
_WITH_TIMES = frozenset(("SUBMIT", "START", "END", "REASON"))
_OFFSET = "x-offset"
_MOST_SAID = 1 << 20
"""What a refusal may have to say, or an answer that says nothing, in bytes."""

_MOST_OF_ONE = 1 << 28
"""What one record may be."""

_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~,")


def quote(text: str) -> str:
    """Percent-encode `text` for a path segment or a query; commas stay, they separate our lists."""
    data = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in data)


def target(path: str, query: Query | None = None) -> str:
    """`path` with the parameters that are not None."""
    pairs = [f"{name}={quote(str(value))}" for name, value in (query or {}).items() if value is not None]
    return f"{path}?{'&'.join(pairs)}" if pairs else path


class Client:
    """Talks to the daemon behind the Unix socket at `path`, or behind an URL."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.unreadable = 0
        self._told: Record | None = None

    @property
    def by_tcp(self) -> bool:
        """Whether the daemon is not asked over a socket of this machine."""
        return is_url(self.path)

    def elsewhere(self, *, ask: bool = True) -> str | None:
        """The name of the machine the daemon is on, None if it is this one.

        The daemon is asked, for behind an address of this machine may be a tunnel; without `ask` the address decides.
        """
        if not self.by_tcp:
            return None
        from gflow.client import tcp

        host = tcp.host_of(self.path)
        if not ask:
            return None if tcp.is_here(host) else host
        told = self._status_once()
        if "endpoint" not in told or told.get("boot_id") == _boot_id():
            return None  # an older gflow does not say, and takes none of our jobs
        return str(told.get("host") or host)

    def _status_once(self) -> Record:
        if self._told is None:
            self._told = self.status()
        return self._told

    # Submitting

    def submit(self, job: Record) -> Record:
        """Queue one job; {"id", "run_name", "dropped_env"}. Safe to repeat if `job` has a submit_key.

        `already`: the state of an earlier job that is the same cell of its group; `held`: why its group is on hold.
        """
        self._check_takes_our_jobs()
        return self._record("POST", "/jobs", body=job, repeat=bool(job.get("submit_key")))

    def submit_batch(self, defaults: Record, jobs: list[Record], *, dry_run: bool = False) -> list[Record]:
        """Queue jobs that share `defaults`, all or none. Safe to repeat if each has a submit_key.

        `dry_run`: nothing is queued, what cannot be is refused all the same, and new jobs have None for an id.
        """
        self._check_takes_our_jobs()
        repeat = dry_run or all("submit_key" in job for job in jobs)
        query = {"dry_run": 1} if dry_run else None
        body = {"defaults": defaults, "jobs": jobs}
        return self._records("POST", "/jobs/batch", query=query, body=body, repeat=repeat)

    def _check_takes_our_jobs(self) -> None:
        """Raise where TCP leads to an older gflow: it drops what it does not know of a job, its command before all."""
        if self.by_tcp and "endpoint" not in self._status_once():
            raise ClientError(
                f"the daemon at {self.path} is an older gflow, which does not know such jobs; use its gbatch"
            )

    def resolve(self, shorthand: str) -> int:
        """The id `@` or `@~N` stands for."""
        answer = self._record("GET", "/jobs/resolve-dependency", query={"shorthand": shorthand})
        return int(answer["job_id"])

    # Looking

    def jobs(self, **filters: str | int | None) -> list[Record]:
        """Jobs by state, user, ids, name, project, limit, offset, created_after, order."""
        return self._records("GET", "/jobs", query=filters)

    def job(self, job_id: int) -> Record:
        return self._record("GET", f"/jobs/{job_id}")

    def why(self, job_id: int) -> Record:
        """What the job waits for, and when it is expected to start."""
        return self._record("GET", f"/jobs/{job_id}/why")

    def queue(self, columns: Iterable[str], **filters: str | int | None) -> tuple[list[list[str]], int]:
        """Rows of cell texts, in which nothing steers a terminal, and how many jobs matched before the limit.

        Times are local ones of this process, whatever the zone of the daemon, so that a time that was shown can be
        given to an option.
        `unreadable` is set to how many ended jobs the daemon cannot read any more; they are left out.
        """
        columns = tuple(columns)
        times = [at for at, name in enumerate(columns) if name in _WITH_TIMES]
        query = {"columns": ",".join(columns), **filters, "epoch": 1 if times else None}
        answer = self._ask("GET", "/queue", query=query)
        total = answer.count("x-total")
        self.unreadable = answer.count("x-unreadable", "0")
        text = harmless_rows(answer.read().decode("utf-8", "replace"))
        rows = [line.split("\x1f") for line in text.split("\n")[:-1]]
        if times:
            from gflow.client.local_times import localise

            localise(rows, times)
        return rows, total

    def progress(self, *job_ids: int) -> list[Record]:
        """How far these running jobs are, as far as they say so; of all that run without ids."""
        ids = ",".join(map(str, job_ids)) or None
        return self._records("GET", "/progress", query={"ids": ids})

    def processes(self, job_id: int) -> Record:
        """What a running job takes: {"id", "name", "measured_at", "cpus", "processes", "gpus"}."""
        return self._record("GET", f"/jobs/{job_id}/processes")

    def terminals(self) -> list[Record]:
        """The jobs that have a terminal: "id", "name", "state", "user" and "session" of each."""
        return self._records("GET", "/terminals")

    def groups(self, **filters: str | int | None) -> list[Record]:
        """Arrays and groups with jobs that have not ended, by first job; by mine, users."""
        return self._records("GET", "/groups", query=filters)

    def events(self, before_wait: Callable[[unix.Answer], None] | None = None) -> Iterator[bytes]:
        """What happens from now on, as it comes: server-sent events. The first piece comes once nothing is missed."""
        return self._ask("GET", "/events", timeout_secs=None).chunks(before_wait)

    def info(self) -> Record:
        return self._record("GET", "/info")

    def forecast(self) -> dict[int, float]:
        """When the first jobs in the queue are expected to start, by id, in seconds since the epoch."""
        return {job["id"]: job["expected_start"] for job in self._records("GET", "/forecast")}

    def gpu_processes(self) -> list[Record]:
        """The processes on GPUs that are ignored: "gpu_index" and "pid" of each."""
        return self._records("GET", "/gpu-processes")

    def quotas(self) -> Record:
        """{"overrides", "configured", "quotas"}."""
        return self._record("GET", "/quotas")

    def status(self) -> Record:
        return self._record("GET", "/status")

    def health(self) -> Record:
        return self._record("GET", "/health")

    def stats(self, **filters: str | int | None) -> Record:
        """Figures of the jobs of a user, a project, since a moment; for each user, project or day with `by`."""
        return self._record("GET", "/stats", query=filters)

    # Acting on a job

    def update(self, job_id: int, changes: Record) -> Record:
        """{"job", "updated_fields"}; a change to None clears."""
        return self._record("PATCH", f"/jobs/{job_id}", body=changes)

    def redo(self, job_id: int, changes: Record) -> Record:
        """An ended job once more; {"id", "run_name", "redone_from", "dropped_env", "cascade"}."""
        return self._record("POST", f"/jobs/{job_id}/redo", body=changes)

    def cancel(self, job_id: int, reason: str | None = None) -> None:
        _check_done(self._ask("POST", f"/jobs/{job_id}/cancel", query={"reason": reason}))

    def cancel_many(self, job_ids: list[int], *, reason: str | None = None, dry_run: bool = False) -> Record:
        """{"jobs", "dependents", "failed"}: what was cancelled, or with `dry_run` would be, and what cannot be."""
        body = {"ids": job_ids, "reason": reason, "dry_run": dry_run}
        return self._record("POST", "/jobs/cancel", body=body)

    def signal(self, job_id: int, number: int) -> Record:
        """{"id", "signal", "processes"}: to how many processes it was sent."""
        return self._record("POST", f"/jobs/{job_id}/signal", body={"signal": number})

    def close_terminal(self, job_id: int) -> Record:
        """Close the terminal of an ended job; {"id", "session", "closed", …}."""
        return self._record("DELETE", f"/jobs/{job_id}/terminal")

    def hold(self, job_id: int) -> None:
        _check_done(self._ask("POST", f"/jobs/{job_id}/hold"))

    def release(self, job_id: int, at: int | None = None) -> None:
        """Back to the queue; `at`: not before (seconds since the epoch)."""
        _check_done(self._ask("POST", f"/jobs/{job_id}/release", query={"at": at}))

    def finish(self, job_id: int) -> None:
        _check_done(self._ask("POST", f"/jobs/{job_id}/finish"))

    def fail(self, job_id: int) -> None:
        _check_done(self._ask("POST", f"/jobs/{job_id}/fail"))

    def set_group_limit(self, group_id: str, max_concurrent: int) -> Record:
        """{"group_id", "max_concurrent", "updated_jobs"}."""
        body = {"max_concurrent": max_concurrent}
        return self._record("POST", f"/groups/{quote(group_id)}/max-concurrency", body=body)

    # Reservations

    def reserve(self, reservation: Record) -> Record:
        """{"reservation_id"}."""
        return self._record("POST", "/reservations", body=reservation)

    def reservations(self, **filters: str | int | None) -> list[Record]:
        """Reservations by user, status, active_only; by start."""
        return self._records("GET", "/reservations", query=filters)

    def reservation(self, reservation_id: int) -> Record:
        return self._record("GET", f"/reservations/{reservation_id}")

    def cancel_reservation(self, reservation_id: int) -> None:
        _check_done(self._ask("DELETE", f"/reservations/{reservation_id}"), b"")

    # Steering the machine

    def allow_gpus(self, indices: list[int] | None) -> Record:
        """{"allowed_gpu_indices"}: what may be given out from now on; None for all."""
        return self._record("POST", "/gpus", body={"allowed_indices": indices})

    def drain(self, reason: str | None = None) -> Record:
        """Start nothing new: {"changed", "drained", "running_jobs"}."""
        return self._record("POST", "/drain", body={"reason": reason})

    def resume(self) -> Record:
        """Start jobs again: {"changed", "drained", "running_jobs"}."""
        return self._record("POST", "/resume")

    def ignore_gpu_process(self, index: int, pid: int) -> Record:
        """{"gpu_index", "pid", "inserted", "available"}."""
        return self._record("POST", "/gpu-processes/ignore", body={"gpu_index": index, "pid": pid})

    def unignore_gpu_process(self, index: int, pid: int) -> Record:
        """{"gpu_index", "pid", "removed", "available"}."""
        return self._record("POST", "/gpu-processes/unignore", body={"gpu_index": index, "pid": pid})

    def set_quota(self, scope: str, name: str | None, limits: Record) -> Record:
        """{"scope", "name", "overrides"}; limits that are not given stay."""
        return self._record("PUT", "/quotas", body={"scope": scope, "name": name, "limits": limits})

    def remove_quota(self, scope: str, name: str | None) -> Record:
        """{"scope", "name", "removed", "overrides"}."""
        return self._record("DELETE", "/quotas", query={"scope": scope, "name": name})

    # Tokens

    def create_token(self, wanted: Record) -> Record:
        """{"token", "id", "user", …}: the text of it is nowhere else."""
        return self._record("POST", "/tokens", body=wanted)

    def tokens(self) -> list[Record]:
        """The caller's tokens, to administrators everybody's, by id; without their texts, which nobody knows."""
        return self._records("GET", "/tokens")

    def revoke_token(self, token_id: int) -> Record:
        """What the token was."""
        return self._record("DELETE", f"/tokens/{token_id}")

    # Notifications

    def notifications(self) -> Record:
        """{"enabled", "targets", "given_up", ...}: how it goes with every target."""
        return self._record("GET", "/notifications")

    def test_notifications(self, target_name: str | None = None) -> list[Record]:
        """Try every target, or those called so, now: [{"target", "kind", "error", "note", "secs"}]."""
        body = {"target": target_name}
        answer = _record_of(self._ask("POST", "/notifications/test", body=body, timeout_secs=None))
        results: list[Record] = answer["results"]
        return results

    def redeliver(self, delivery_id: str) -> Record:
        """{"id", "target"}: a delivery that was given up waits again."""
        return self._record("POST", "/notifications/redeliver", body={"id": delivery_id})

    # The state as files

    def compact_state(self) -> Record:
        """{"jobs", "bytes_before", "bytes_after"}."""
        return _record_of(self._ask("POST", "/state/compact", timeout_secs=None))

    def prune_state(self, before: float, *, dry_run: bool = False, logs: bool = False) -> Record:
        """{"before", "dry_run", "jobs", "from_state", "from_history", "kept", "logs"}."""
        body = {"before": before, "dry_run": dry_run, "logs": logs}
        return _record_of(self._ask("POST", "/state/prune", body=body, timeout_secs=None))

    # Watching a job

    def wait(self, job_id: int, *, retries: bool = True) -> Record:
        """The job, or the last of its retries, once it is final; also if the daemon is restarted meanwhile."""
        return self._over_restarts(lambda: _record_of(accepted(self._ask_wait(job_id, retries=retries))))

    def wait_any(self, job_ids: Iterable[int]) -> Record:
        """The first of the jobs to be final; also if the daemon is restarted meanwhile."""
        ids = list(job_ids)
        return self._over_restarts(lambda: self._wait_any(ids))

    def _over_restarts(self, ask: Callable[[], T], *, expected: bool = False) -> T:
        """Ask, and ask again when the daemon went away while it was thinking; give up if it is gone for a minute.

        expected: it has been seen before, so it is waited for even if it cannot be reached to begin with.
        """
        import select
        import time

        from gflow.client.voice import say

        said, seen, give_up = False, expected, 0.0
        while True:
            try:
                return ask()
            except (NoAnswer, Unresponsive):
                seen, give_up = True, 0.0
                continue  # it is there, and that it hangs has been said
            except Misanswered:
                raise
            except (ConnectionLost, Declined) as error:
                if isinstance(error, Declined) and error.status != 503:
                    raise
                seen = True
            except Unreachable:
                if not seen:
                    raise  # there was no daemon to begin with
            now = time.monotonic()
            give_up = give_up or now + RESTART_SECS
            if now > give_up:
                raise ConnectionLost("gflowd went away and did not come back; the job may still run")
            if not said:
                said = True
                say("gflowd went away; waiting for it to come back ('gflowd up' starts it)")
            select.select([], [], [], RETRY_SECS)

    def _wait_any(self, job_ids: Iterable[int]) -> Record:
        import select

        questions = [self._ask_wait(job_id) for job_id in job_ids]
        try:
            poller = select.poll()
            for question in questions:
                poller.register(question, select.POLLIN)
            vigil = Vigil(self.path, unix.name(self.path))
            while not (found := poller.poll(1000 * vigil.secs)):
                vigil.more()
            ready = found[0][0]
            first = next(question for question in questions if question.fileno() == ready)
            return _record_of(accepted(first))
        finally:
            for question in questions:
                question.close()

    def _ask_wait(self, job_id: int, *, retries: bool = True) -> unix.Question:
        return unix.ask(self.path, "GET", f"/jobs/{job_id}/wait{'?retries=1' if retries else ''}", timeout_secs=None)

    def log(
        self, job_id: int, *, first: int | None = None, last: int | None = None, follow: bool = False
    ) -> unix.Answer:
        """The job's output as raw bytes, whole or its first or last lines; with `follow` to its end."""
        query = {"first": first, "last": last, "follow": 1 if follow else None}
        timeout_secs = None if follow else unix.ANSWER_TIMEOUT_SECS
        return _log_of(self._ask("GET", f"/jobs/{job_id}/log/stream", query=query, timeout_secs=timeout_secs))

    def follow_log(
        self,
        job_id: int,
        *,
        first: int | None = None,
        last: int | None = None,
        before_wait: Callable[[unix.Answer], None] | None = None,
    ) -> Iterator[bytes]:
        """The job's output as raw bytes as it comes, to its end; also if the daemon is restarted meanwhile."""
        answer = self.log(job_id, first=first, last=last, follow=True)
        offset, is_over = answer.count(_OFFSET), False
        while True:
            try:
                for chunk in answer.chunks(before_wait):
                    offset += len(chunk)
                    yield chunk
            except ConnectionLost:
                if first is not None:
                    raise
                is_over = False
            if first is not None or is_over:
                return
            # it may have ended while the daemon was away: there is more to come, also of a job that is over
            is_over = self._over_restarts(lambda: self.job(job_id), expected=True)["state"] not in _ACTIVE
            answer = self._over_restarts(lambda at=offset: self._rest(job_id, at), expected=True)  # type: ignore[misc]

    def _rest(self, job_id: int, offset: int) -> unix.Answer:
        query = {"offset": offset, "follow": 1}
        return _log_of(self._ask("GET", f"/jobs/{job_id}/log/stream", query=query, timeout_secs=None))

    def attach(self, job_id: int, *, read_only: bool = False) -> list[str]:
        """The command that opens the job's terminal."""
        if self.by_tcp:
            from gflow.client import ssh

            job = self.job(job_id)  # so that what is wrong with that is said here
            return ssh.attach(self.path, self._status_once().get("endpoint"), job["id"], read_only=read_only)
        answer = self._record("GET", f"/jobs/{job_id}/attach", query={"read_only": 1 if read_only else None})
        return [str(word) for word in answer["argv"]]

    # The wire

    def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        timeout_secs: float | None = unix.ANSWER_TIMEOUT_SECS,
    ) -> unix.Answer:
        data = None if body is None else _encode(body)
        doubt = "" if method == "GET" or _is_dry(query) or _is_dry(body) else _doubt(path)
        question = unix.ask(self.path, method, target(path, query), data, timeout_secs=timeout_secs, doubt=doubt)
        return accepted(question)

    def _record(
        self, method: str, path: str, *, query: Query | None = None, body: Any = None, repeat: bool = False
    ) -> Record:
        return self._read(_record_of, method, path, query=query, body=body, repeat=repeat)

    def _records(
        self, method: str, path: str, *, query: Query | None = None, body: Any = None, repeat: bool = False
    ) -> list[Record]:
        return self._read(_records_of, method, path, query=query, body=body, repeat=repeat)

    def _read(
        self,
        read: Callable[[unix.Answer], T],
        method: str,
        path: str,
        *,
        query: Query | None,
        body: Any,
        repeat: bool,
    ) -> T:
        try:
            return read(self._ask(method, path, query=query, body=body))
        except (NoAnswer, Misanswered):
            raise  # asked again it would be as silent, or say the same
        except ConnectionLost:
            if not repeat:
                raise
        try:
            return read(self._ask(method, path, query=query, body=body))
        except Unreachable as error:
            raise ConnectionLost(f"{error}{_doubt(path)}") from error


def _boot_id() -> str:
    """What tells this machine, since it was started, from all others; the daemon says its own in /status."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


_SHOWN_BY = {
    "jobs": "gqueue -a",
    "groups": "gqueue",
    "reservations": "gctl reserve list",
    "gpus": "gctl show-gpus",
    "gpu-processes": "gctl gpu-process list",
    "quotas": "gctl quota list",
    "notifications": "gctl webhooks",
    "state": "gctl state check",
}
"""The command that shows what a request to such a route has changed."""


def _doubt(path: str) -> str:
    """What a person has to know whose request to `path` may or may not have been heard."""
    _, what, *rest = path.split("/")
    shows = f"gjob show {rest[0]}" if what == "jobs" and rest and rest[0].isdigit() else _SHOWN_BY.get(what, "ginfo")
    return f"; it may have been done nevertheless: {shows} tells"


def _is_dry(asked: Any) -> bool:
    return isinstance(asked, dict) and bool(asked.get("dry_run"))


def _json(answer: unix.Answer, most: int | None = None) -> Any:
    from gflow.client.notation import loads

    try:
        return loads(answer.read(most))
    except (ValueError, RecursionError):
        raise answer.unexpected() from None


def _record_of(answer: unix.Answer) -> Record:
    value = _json(answer, _MOST_OF_ONE)
    if not isinstance(value, dict):
        raise answer.unexpected()
    return value


def _records_of(answer: unix.Answer) -> list[Record]:
    values = _json(answer)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise answer.unexpected()
    return values


def _check_done(answer: unix.Answer, said: bytes = b"null") -> None:
    """Raise unless this is what gflowd answers where there is nothing to tell; a record may tell more one day."""
    body = answer.read(_MOST_SAID).strip()
    if body != said and not (body.startswith(b"{") and body.endswith(b"}")):
        raise answer.unexpected()


def _log_of(answer: unix.Answer) -> unix.Answer:
    """The answer, if it is a log: any text may be one, but only gflowd says where in it that begins."""
    answer.count(_OFFSET)
    return answer


def _encode(body: Any) -> bytes:
    from gflow.client.notation import dumps

    try:
        return dumps(body).encode()
    except UnicodeEncodeError as error:
        raise ClientError("cannot send a path, argument or name that is not UTF-8 text") from error


def accepted(question: unix.Question) -> unix.Answer:
    """The answer, if it is one. Raises `Declined`."""
    answer = question.answer()
    if not 200 <= answer.status < 300:
        raise declined(answer)
    return answer


def declined(answer: unix.Answer) -> Declined:
    """What an answer says that is none."""
    from gflow.client.notation import loads

    if answer.status < 400:
        answer.close()
        return Declined(_sent_elsewhere(answer), answer.status, "")
    content = answer.read(_MOST_SAID)
    try:
        fields = loads(content)
        sentence, code = str(fields["error"]), str(fields.get("code", ""))
        if answer.status == 401 and is_url(answer.name):
            from gflow.client import tcp

            sentence = tcp.advice(answer.name)
        return Declined(sentence, answer.status, code)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = content.decode("utf-8", "replace").strip().partition("\n")[0][:200]
        said = f": {said}" if said not in ("", "null") else ", and no reason; is it an older gflow?"
        return Declined(f"gflowd answered {answer.status}{said}", answer.status, "")


def _sent_elsewhere(answer: unix.Answer) -> str:
    """About a redirection: gflowd makes none, and who follows one may hand a token to a stranger."""
    place = answer.headers.get("location", "")[:200]
    told = f" and sends us to {place}; if gflowd is there, say so with --url" if place else ""
    return f"what listens at {answer.name} is not gflowd: it answered {answer.status}{told}"
