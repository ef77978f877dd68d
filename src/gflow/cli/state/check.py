"""gctl state check: whether every file is whole, and for each that is not, where and what to do."""

from __future__ import annotations

import sys

from gflow.cli.command import Command
from gflow.cli.output import output, print_document
from gflow.cli.render.table import harmless
from gflow.cli.state.place import DATA_DIR, existing, plainly

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from gflow.cli.command import Values
    from gflow.store.upkeep.finding import Finding


def run(values: Values) -> int:
    from gflow.store.lock import holder
    from gflow.store.upkeep.check import check

    data_dir = existing(values["data_dir"])
    pid = holder(data_dir)
    with plainly(str(data_dir)):
        findings = check(data_dir, running=pid is not None)
    well = all(finding.well for finding in findings)
    with plainly("standard output"):
        if values["output"] != "table":
            print_document(_document(data_dir, pid, findings, well=well), values["output"])
        else:
            sys.stdout.write("".join(_lines(findings)))
        sys.stdout.flush()
    return 0 if well else 1


def _document(data_dir: Path, pid: int | None, findings: list[Finding], *, well: bool) -> dict[str, Any]:
    return {
        "data_dir": str(data_dir),
        "daemon_pid": pid,
        "ok": well,
        "files": [finding.as_data() for finding in findings],
    }


def _lines(findings: list[Finding]) -> list[str]:
    """One line a file; what is to be said of it follows, indented."""
    names = max(len(finding.name) for finding in findings)
    verdicts = max(len(finding.verdict) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.name:{names}}  {finding.verdict:{verdicts}}  {finding.says}".rstrip())
        for problem in finding.problems:
            where = "" if problem.offset is None else f"at byte {problem.offset}: "
            lines.append(f"    {where}{problem.what}")
        lines += [f"    to do: {advice}" for advice in dict.fromkeys(problem.advice for problem in finding.problems)]
        lines += [f"    ({note})" for note in finding.notes]
    return [f"{harmless(line)}\n" for line in lines]


COMMAND = Command(
    "check",
    "Look at every file of the state, changing nothing; exit status 1 if anything is wrong.",
    run,
    options=(
        output("table", "json", "yaml"),
        DATA_DIR,
    ),
    examples=(
        ("gctl state check", "the daemon's files, whether it runs or not"),
        ("gctl state check --data-dir /backup/gflow", "a copy, before you need it"),
    ),
)
