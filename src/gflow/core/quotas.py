"""Quotas: how much of the machine a user or a project may have at once.

For each limit the entry of that name counts, a runtime one before a configured one; without any, the default entry,
again runtime before configured. Jobs without a project fall under no project's quota.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gflow.core.errors import Malformed, NotFound, OverQuota
from gflow.core.model import Job, JobSpec, State

LIMITS = ("max_running_jobs", "max_running_gpus", "max_queued_jobs")
SCOPES = ("user", "project", "default_user", "default_project")
MOST = 1_000_000
MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Limits:
    """None: no limit."""

    max_running_jobs: int | None = None
    max_running_gpus: int | None = None
    max_queued_jobs: int | None = None


NONE = Limits()


@dataclass(frozen=True, slots=True)
class Table:
    """Limits by name, and those of everybody else; `scope` "user" or "project" says which names are meant."""

    users: Mapping[str, Limits] = field(default_factory=dict)
    projects: Mapping[str, Limits] = field(default_factory=dict)
    default_user: Limits = NONE
    default_project: Limits = NONE

    def named(self, scope: str) -> Mapping[str, Limits]:
        """The limits by name."""
        return self.users if scope == "user" else self.projects

    def default(self, scope: str) -> Limits:
        """The limits of those without an entry."""
        return self.default_user if scope == "user" else self.default_project

    def entry(self, scope: str, name: str | None) -> Limits:
        """One entry of any scope; no limits where there is none."""
        if scope in ("default_user", "default_project"):
            return self.default(scope.removeprefix("default_"))
        return self.named(scope).get(name or "", NONE)

    def with_entry(self, scope: str, name: str | None, limits: Limits) -> "Table":
        """The table with one entry replaced; one without limits is taken out."""
        if scope in ("default_user", "default_project"):
            return (
                replace(self, default_user=limits) if scope == "default_user" else replace(self, default_project=limits)
            )
        entries = {key: kept for key, kept in self.named(scope).items() if key != name}
        if limits != NONE and name is not None:
            entries[name] = limits
        return replace(self, users=entries) if scope == "user" else replace(self, projects=entries)


class Usage:
    """What the jobs of each user and project take up now. Kept job by job."""

    def __init__(self) -> None:
        self.running_jobs: Counter[tuple[str, str]] = Counter()
        self.running_gpus: Counter[tuple[str, str]] = Counter()
        self.queued_jobs: Counter[tuple[str, str]] = Counter()

    def count(self, job: Job, sign: int) -> None:
        """Enter (+1) or take back (-1) a job in its present state."""
        for who in parties(job.spec):
            if job.state is State.RUNNING:
                self.running_jobs[who] += sign
                self.running_gpus[who] += sign * job.spec.gpus
            elif job.state in (State.QUEUED, State.HOLD):
                self.queued_jobs[who] += sign

    def names(self, scope: str) -> set[str]:
        """Everybody with an entry."""
        counters = (self.running_jobs, self.queued_jobs)
        return {name for counter in counters for (kind, name), number in counter.items() if number and kind == scope}


def parties(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Whom a job counts for, as (scope, name)."""
    yield "user", spec.owner
    if spec.project is not None:
        yield "project", spec.project


class Quotas:
    """The configured limits, the runtime ones on top, and what is used of them."""

    def __init__(self, configured: Table = Table()) -> None:
        self.configured = configured
        self.overrides = Table()
        self.usage = Usage()
        self._effective: dict[tuple[str, str], Limits] = {}

    def configure(self, configured: Table) -> None:
        """Replace the configured limits."""
        self.configured = configured
        self._effective.clear()

    def set_overrides(self, overrides: Table) -> None:
        """Replace the runtime limits."""
        self.overrides = overrides
        self._effective.clear()

    def limits(self, scope: str, name: str) -> Limits:
        """What counts for a user or project."""
        known = self._effective.get((scope, name))
        if known is None:
            sources = (
                self.overrides.named(scope).get(name, NONE),
                self.configured.named(scope).get(name, NONE),
                self.overrides.default(scope),
                self.configured.default(scope),
            )
            known = Limits(*(_first(getattr(source, limit) for source in sources) for limit in LIMITS))
            self._effective[scope, name] = known
        return known

    def over(self, owner: str, project: str | None, gpus: int) -> tuple[str, str, str, int] | None:
        """The first limit that one more running job with `gpus` GPUs would break: scope, name, limit, its value."""
        for who in (("user", owner), ("project", project)):
            if who[1] is None:
                continue
            scope, name = who[0], who[1]
            limits, usage = self.limits(scope, name), self.usage
            jobs, most = limits.max_running_jobs, limits.max_running_gpus
            if jobs is not None and usage.running_jobs[scope, name] >= jobs:
                return scope, name, "max_running_jobs", jobs
            if most is not None and gpus and usage.running_gpus[scope, name] + gpus > most:
                return scope, name, "max_running_gpus", most
        return None

    def check_queue(self, specs: list[JobSpec]) -> None:
        """Refuse jobs that would make a queue longer than its owner or project may have. Raises OverQuota."""
        fresh = Counter(who for spec in specs for who in parties(spec))
        for (scope, name), number in fresh.items():
            most = self.limits(scope, name).max_queued_jobs
            waiting = self.usage.queued_jobs[scope, name]
            if most is not None and waiting + number > most:
                raise OverQuota(f"quota exceeded for {scope} '{name}': {waiting + number}/{most} queued jobs")

    def check_ever(self, spec: JobSpec) -> None:
        """Refuse a job that its owner's limits would never let start. Raises OverQuota."""
        for scope, name in parties(spec):
            most = self.limits(scope, name).max_running_gpus
            if most is not None and spec.gpus > most:
                raise OverQuota(f"quota of {scope} '{name}': a job of {spec.gpus} GPUs is more than the {most} allowed")


def check_entry(scope: str, name: str | None, limits: Limits) -> None:
    """Refuse a limit nobody can mean. Raises Malformed."""
    if scope not in SCOPES:
        raise Malformed(f"Invalid quota scope '{scope}': use {', '.join(SCOPES)}")
    if (scope in ("user", "project")) != bool(name and name.strip()):
        raise Malformed(f"A quota of scope {scope} {'needs a name' if scope in ('user', 'project') else 'has no name'}")
    if name is not None and (len(name) > MAX_NAME or not name.isprintable() or name != name.strip()):
        raise Malformed(f"Invalid name: use up to {MAX_NAME} printable characters, without blanks around them")
    for limit in LIMITS:
        value = getattr(limits, limit)
        if value is not None and not 0 <= value <= MOST:
            raise Malformed(f"Invalid {limit} {value}: use 0 to {MOST}")


def merged(old: Limits, given: Limits) -> Limits:
    """`old` with the limits that are given replaced. Raises Malformed if none is."""
    changes = {limit: value for limit in LIMITS if (value := getattr(given, limit)) is not None}
    if not changes:
        raise Malformed(f"Give at least one of {', '.join(LIMITS)}")
    return replace(old, **changes)


def without(table: Table, scope: str, name: str | None) -> Table:
    """`table` without an entry. Raises NotFound if there is none."""
    if table.entry(scope, name) == NONE:
        raise NotFound("no matching quota override")
    return table.with_entry(scope, name, NONE)


def table_to_map(table: Table) -> dict[str, Any]:
    """As it is kept with the state and shown: nothing that is empty."""
    plain: dict[str, Any] = {
        key: {name: limits_to_map(limits) for name, limits in sorted(getattr(table, key).items())}
        for key in ("users", "projects")
    }
    plain |= {key: limits_to_map(getattr(table, key)) for key in ("default_user", "default_project")}
    return {key: value for key, value in plain.items() if value}


def limits_to_map(limits: Limits) -> dict[str, int]:
    """The limits there are, by name."""
    return {limit: value for limit in LIMITS if (value := getattr(limits, limit)) is not None}


def table_from_map(plain: Mapping[str, Any]) -> Table:
    """The table `table_to_map` was given."""
    named = {
        key: {str(name): _limits(limits) for name, limits in (plain.get(key) or {}).items()}
        for key in ("users", "projects")
    }
    return Table(
        **named, default_user=_limits(plain.get("default_user")), default_project=_limits(plain.get("default_project"))
    )


def _limits(plain: Mapping[str, Any] | None) -> Limits:
    return Limits(**{limit: (plain or {}).get(limit) for limit in LIMITS})


def _first(values: Iterator[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)
