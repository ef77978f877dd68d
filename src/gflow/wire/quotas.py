"""Quotas as the API shows them, and how callers change them; the words are gflow's."""

from typing import Any

from msgspec import Struct, field

from gflow.core.quotas import Limits, Quotas, limits_to_map, table_to_map
from gflow.wire.requests import Int

Json = dict[str, Any]


class GivenLimits(Struct, forbid_unknown_fields=True):
    """The limits to change; those that are absent or null stay."""

    max_running_jobs: Int | None = None
    max_running_gpus: Int | None = None
    max_queued_jobs: Int | None = None

    def limits(self) -> Limits:
        """The same, as the core has them."""
        return Limits(self.max_running_jobs, self.max_running_gpus, self.max_queued_jobs)


class QuotaChange(Struct, forbid_unknown_fields=True):
    """New limits of a user, a project, or of those that have none of their own."""

    scope: str
    name: str | None = None
    limits: GivenLimits = field(default_factory=GivenLimits)


def quotas_json(quotas: Quotas) -> Json:
    """What was set at run time, what is configured, and for all who have limits or use anything what counts."""
    rows = [_row(quotas, scope, name) for scope in ("user", "project") for name in _names(quotas, scope)]
    return {
        "overrides": table_to_map(quotas.overrides),
        "configured": table_to_map(quotas.configured),
        "quotas": rows + [_default(quotas, scope) for scope in ("user", "project")],
    }


def _names(quotas: Quotas, scope: str) -> list[str]:
    tables = (quotas.overrides, quotas.configured)
    return sorted(quotas.usage.names(scope).union(*(table.named(scope) for table in tables)))


def _row(quotas: Quotas, scope: str, name: str) -> Json:
    usage, who = quotas.usage, (scope, name)
    return {
        "scope": scope,
        "name": name,
        "limits": limits_to_map(quotas.limits(scope, name)),
        "running_jobs": usage.running_jobs[who],
        "running_gpus": usage.running_gpus[who],
        "queued_jobs": usage.queued_jobs[who],
    }


def _default(quotas: Quotas, scope: str) -> Json:
    """What counts for those without an entry; nobody uses that as such."""
    configured, override = quotas.configured.default(scope), quotas.overrides.default(scope)
    limits = limits_to_map(configured) | limits_to_map(override)
    zeros = dict.fromkeys(("running_jobs", "running_gpus", "queued_jobs"), 0)
    return {"scope": f"default_{scope}", "name": "", "limits": limits, **zeros}
