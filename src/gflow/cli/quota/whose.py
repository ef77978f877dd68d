"""The options that say whose quota is meant."""

from __future__ import annotations

from gflow.cli.command import Option, UsageError
from gflow.cli.kinds import not_empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

WHOSE = (
    Option("--user", convert=not_empty, metavar="NAME", help="Of this user."),
    Option("--project", convert=not_empty, metavar="CODE", help="Of this project."),
    Option("--default-user", help="Of every user who has no limits of their own."),
    Option("--default-project", help="Of every project that has no limits of its own."),
)
ONE_OF = tuple(option.dest for option in WHOSE)


def whose(values: Values) -> tuple[str, str | None]:
    """Scope and name; the readers see to it that there is no second one."""
    for scope in ONE_OF:
        if values[scope]:
            return scope, None if scope.startswith("default_") else values[scope]
    raise UsageError("say whose: --user NAME, --project CODE, --default-user or --default-project")


def described(scope: str, name: str | None) -> str:
    """`user alice`, `every other user`."""
    return f"{scope} {name}" if name is not None else f"every other {scope.removeprefix('default_')}"
