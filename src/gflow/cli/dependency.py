"""One dependency, or several in Slurm's words: `42`, `@~1`, `afterok:41:42`, `afterany:41`, `afterok:41?afterok:42`.

afterok waits for jobs to finish, afterany for their end, whatever became of them. Commas mean all, question marks one.
"""

from __future__ import annotations

from gflow.cli import ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.ids import Part

    Wanted = tuple[list[Part], str, bool]

KINDS = ("afterok", "afterany")
_FORMS = "write a job's id, @ (your latest job), @~1 (the one before), afterok:ID or afterany:ID"


def parse(text: str) -> Wanted:
    """(ids and shorthands, "All" or "Any", whether any end will do). Raises ValueError."""
    if ":" not in text and not text.strip().lower().startswith("after"):
        return [_single(text)], "All", False
    if "," in text and "?" in text:
        raise ValueError(f"'{text}' mixes , (all of them) and ? (one of them)")
    mode = "Any" if "?" in text else "All"
    parts: list[Part] = []
    kinds: set[str] = set()
    for clause in text.split("?" if mode == "Any" else ","):
        kind, *names = clause.strip().split(":")
        kinds.add(_kind(kind, text))
        parts += [_named(name, text) for name in names] if names else [_named("", text)]
    if len(kinds) > 1:
        raise ValueError(f"'{text}' mixes {' and '.join(sorted(kinds))}; one job waits in one way")
    return parts, mode, kinds == {"afterany"}


def _single(text: str) -> Part:
    try:
        return ids.parse_one(text)
    except ValueError as error:
        if "," in text:
            raise ValueError(f"'{text}' names several jobs: use --depends-on-all or --depends-on-any") from None
        if text.strip().lower() == "singleton":
            raise ValueError("'singleton' is not known here: --group NAME --max-concurrent 1 does the same") from None
        if "Invalid" not in str(error):
            raise
        raise ValueError(f"'{text}' is no dependency: {_FORMS}") from None


def _kind(kind: str, text: str) -> str:
    if kind.lower() not in KINDS:
        raise ValueError(f"'{text}': {kind!r} is not known here; write afterok:ID[:ID...] or afterany:ID[:ID...]")
    return kind.lower()


def _named(name: str, text: str) -> Part:
    try:
        return ids.parse_one(name)
    except ValueError:
        raise ValueError(f"'{text}' is not a dependency: {name!r} is no job id, @ or @~N") from None
