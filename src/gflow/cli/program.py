"""Whether there is what a command's first word names: a mistyped script is refused, instead of failing at night.

A word with a slash is looked for where the job will run, any other on the PATH; that the job may find it elsewhere
- in a conda environment, by an earlier job that builds it - makes a remark of the refusal.
"""

from __future__ import annotations

import os

from gflow.cli.command import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Values

_SCRIPTS = (".sh", ".py")
_FILLED_IN = frozenset("{$")
_LATER = "the job fails if it is still missing when it starts"


def check(word: str, values: Values) -> str | None:
    """What to remark about a program called `word`, if anything. Raises Failure for one that can never run."""
    if not _FILLED_IN.isdisjoint(word):
        return None
    return _check_file(word, values) if "/" in word else _check_name(word, values)


def _check_file(word: str, values: Values) -> str | None:
    here = os.path.join(os.getcwd(), values["chdir"] or "")
    if os.path.isdir(os.path.join(here, word)):
        raise Failure(f"{word} is a directory, neither a program nor a script")
    if os.path.lexists(os.path.join(here, word)):
        return None
    if _waits(values):
        return f"there is no {word} yet; {_LATER}"
    raise Failure(f"there is no {word}" + ("" if word.startswith("/") else f" in {os.path.normpath(here)}"))


def _check_name(word: str, values: Values) -> str | None:
    if _on_path(word) or values["export"] not in (None, "ALL"):
        return None
    if os.path.isdir(word):
        raise Failure(f"{word} is a directory, neither a program nor a script")
    if word.endswith(_SCRIPTS) and not _waits(values):
        hint = f"; for the one in {values['chdir']} write its path" if values["chdir"] else ""
        raise Failure(f"there is no script {word} here, and no such program on your PATH{hint}")
    return None if values["conda_env"] else f"{word} is not on your PATH; {_LATER}"


def _waits(values: Values) -> bool:
    return any(values[dest] for dest in ("depends_on", "depends_on_all", "depends_on_any"))


def _on_path(name: str) -> bool:
    places = os.environ.get("PATH", os.defpath).split(os.pathsep)
    paths = (os.path.join(place, name) for place in places)
    return any(os.access(path, os.X_OK) and not os.path.isdir(path) for path in paths)
