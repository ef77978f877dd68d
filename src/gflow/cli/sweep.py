"""The jobs of an array or a parameter sweep: what each of them adds to what they share.

All combinations of parameters are made: rows of the file vary slowest, the last --param fastest.
"""

from __future__ import annotations

from gflow.cli.arrays import MAX_JOBS
from gflow.cli.command import Failure, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from gflow.cli.command import Values
    from gflow.cli.params import Param

    Record = dict[str, Any]
    Names = dict[str, str]

TASK = "task_id"
"""What the index of an array is called in templates."""

_MOST_NAME = 128
_MOST_BYTES = 8 << 20
"""Of a file of parameters: no more goes into one request."""


def members(values: Values) -> list[Record]:
    """What each job adds to the request; a single job that is neither adds its key at most. Raises `UsageError`."""
    several = _several(values)
    if several is None:
        if values["name_template"]:
            raise UsageError("--name-template needs --param, --param-file or --array: it names the jobs of a sweep")
        return [{} if values["key"] is None else {"key": values["key"]}]
    jobs = [fields | _named(values, names) for fields, names in several]
    _check_keys(jobs)
    return jobs


def _several(values: Values) -> list[tuple[Record, Names]] | None:
    """Of each job the fields of its own and the names that its templates may use; None for a single job."""
    if values["array"]:
        indices, _ = values["array"]
        return [({"task_id": index}, {TASK: str(index)}) for index in indices]
    if not values["param"] and not values["param_file"]:
        return None
    return [({"parameters": cell}, cell) for cell in combinations(values["param"] or [], values["param_file"])]


def combinations(params: list[Param], path: str | None) -> list[Names]:
    """The parameters of every job. One that is given twice counts as given last. Raises `UsageError`, `Failure`."""
    chosen = dict(params)
    rows = [{}] if path is None else _without(read_rows(path), chosen)
    number = len(rows)
    for found in chosen.values():
        number *= len(found)
    if number > MAX_JOBS:
        raise UsageError(f"the sweep has {number} jobs; one submission may have {MAX_JOBS}")
    cells = rows
    for name, found in chosen.items():
        cells = [cell | {name: value} for cell in cells for value in found]
    return cells


def check_once(params: Iterable[Param], where: str) -> None:
    """Raise `UsageError` for a parameter that is given twice in one place."""
    names = [name for name, _ in params]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"{where}: parameter {twice} is given twice; write {twice}=VALUE,VALUE")


def read_rows(path: str) -> list[Names]:
    """The rows of a CSV file by the names in its first line. Raises `UsageError` naming file and line, or `Failure`."""
    import csv
    from io import StringIO

    try:
        text = StringIO(_content(path).decode("utf-8-sig"), newline="")
        reader = csv.reader(text, strict=True, skipinitialspace=True)
        lines = [(reader.line_num, line) for line in reader if line and line != [""]]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"--param-file {path}: it is not CSV in UTF-8 ({error})") from error
    if len(lines) < 2:
        raise UsageError(f"--param-file {path}: it needs a line of names and a line for each job")
    names = _header(lines[0][1], path)
    return [_row(names, line, f"{path}:{number}") for number, line in lines[1:]]


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Failure(f"cannot read --param-file {path}: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise UsageError(
            f"--param-file {path} is longer than {_MOST_BYTES >> 20} MiB, more than the daemon takes at once"
        )
    return content


def _header(line: list[str], path: str) -> list[str]:
    from gflow.cli.params import check_name

    try:
        names = [check_name(name.strip()) for name in line]
    except ValueError as error:
        raise UsageError(f"--param-file {path}: {error}") from None
    check_once([(name, []) for name in names], f"--param-file {path}")
    return names


def _row(names: list[str], line: list[str], where: str) -> Names:
    if len(line) != len(names):
        raise UsageError(f"--param-file {where}: {len(line)} values for {len(names)} names")
    return dict(zip(names, line, strict=True))


def _without(rows: list[Names], others: Iterable[str]) -> list[Names]:
    """The rows without the columns that --param replaces; those that are equal then count once."""
    left = [{name: value for name, value in row.items() if name not in others} for row in rows]
    return list({tuple(row.items()): row for row in left}.values())


def _named(values: Values, names: Names) -> Record:
    fields: Record = {}
    if values["name_template"]:
        plain = {name: _normal(value) for name, value in names.items()}
        fields["run_name"] = filled("--name-template", values["name_template"], plain)[:_MOST_NAME]
    if values["key"] is not None:
        key = filled("--key", values["key"], names)
        fields["key"] = key if key != values["key"] else f"{key}/{_told(names)}"
    return fields


def filled(option: str, template: str, names: Names) -> str:
    """The template with every `{name}` replaced. Raises `UsageError` for names there are not."""
    done, rest = "", template
    while rest:
        text, brace, rest = rest.partition("{")
        done += text
        if not brace:
            break
        name, end, rest = rest.partition("}")
        if not end:
            raise UsageError(f"{option}: the {{ in '{template}' is not closed")
        if name not in names:
            raise UsageError(f"{option}: there is no {{{name}}} here; there is {_braced(names)}")
        done += names[name]
    return done


def remarks(job: Record, what: Record) -> list[str]:
    """What in the work of a sweep looks like a parameter that was mistyped: such a placeholder stays as it is."""
    names = {name.lower(): name for name in job.get("parameters") or ()}
    texts = [what.get("command") or "", *(what.get("argv") or what.get("script_args") or ())]
    unknown = [name for text in texts for name in _placeholders(text) if names and name not in names.values()]
    if not unknown:
        return []
    from difflib import get_close_matches

    found = {name: get_close_matches(name.lower(), names, 1) for name in unknown}
    meant = {
        name: f"is {{{names[close[0]]}}} meant?" if close else f"there is {_braced(names.values())}"
        for name, close in found.items()
    }
    return [f"there is no parameter {name}, so {{{name}}} stays as it is; {hint}" for name, hint in meant.items()]


def name_remarks(job: Record, name: str | None) -> list[str]:
    """What in the name that all jobs of a sweep have looks as if it were meant as a template."""
    there = job.get("parameters") or ({TASK: ""} if TASK in job else {})
    if not there.keys() & _placeholders(name or ""):
        return []
    return [f"--name is the same for all jobs, '{name}'; --name-template '{name}' gives each its own"]


def _braced(names: Iterable[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)


def _placeholders(text: str) -> list[str]:
    """The names in braces without a $ before them."""
    names: list[str] = []
    rest = text
    while "{" in rest:
        before, _, rest = rest.partition("{")
        name, end, _ = rest.partition("}")
        if end and name.isidentifier() and not before.endswith("$"):
            names.append(name)
    return names


def _normal(value: str) -> str:
    """A value as part of a name: whatever is no letter, digit or one of `-_.=+` becomes `_`."""
    kept = "".join(char if char.isalnum() or char in "-_.=+" else " " for char in value)
    return "_".join(kept.split()) or "_"


def _told(names: Names) -> str:
    return names[TASK] if list(names) == [TASK] else ",".join(f"{name}={value}" for name, value in names.items())


def _check_keys(jobs: list[Record]) -> None:
    keys = [job["key"] for job in jobs if "key" in job]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(f"--key: several jobs would have the key '{twice}'; name the parameters that tell them apart")
