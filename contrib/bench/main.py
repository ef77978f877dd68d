"""Measure gflow, tmux alone and gflow 0.4.18 side by side, and print the table. `run` installs them and starts this."""

import argparse
import pathlib
import sys
import time
from collections.abc import Callable

import facts
import measure_gpus
import measure_history
import measure_latency
import measure_listing
import measure_notifications
import measure_scheduling
import measure_startup
import measure_submission
import measure_throughput
import report
from peers import Bench

SUBJECTS: dict[str, Callable[[Bench], list[report.Row]]] = {
    "startup": measure_startup.measure,
    "throughput": measure_throughput.measure,
    "latency": measure_latency.measure,
    "submission": measure_submission.measure,
    "listing": measure_listing.measure,
    "gpus": measure_gpus.measure,
    "scheduling": measure_scheduling.measure,
    "history": measure_history.measure,
    "notifications": measure_notifications.measure,
}

INTRODUCTION = """\
# Benchmarks

Made by `{command}`, which measures gflow, the tmux binary alone (same kind of wrapper script, called the same way) and
gflow 0.4.18 (package `runqd`) side by side in one run, each in a directory of its own. Values are medians; ratio is the
first value divided by the second.

{facts}

{table}
"""


def document(rows: list[report.Row], scratch: pathlib.Path, options: list[str]) -> str:
    """The whole report."""
    command = " ".join(["contrib/bench/run", *options])
    lines = "\n".join(f"- {fact}" for fact in facts.facts(scratch))
    return INTRODUCTION.format(command=command, facts=lines, table=report.table(rows))


def measure(bench: Bench, subjects: list[str]) -> list[report.Row]:
    """All rows; says on stderr what is going on."""
    rows: list[report.Row] = []
    for subject in subjects:
        begun = time.monotonic()
        print(f"measuring {subject} ...", file=sys.stderr, end="", flush=True)
        rows += SUBJECTS[subject](bench)
        print(f" {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return rows


def main() -> None:
    """See `run --help`."""
    parser = argparse.ArgumentParser(prog="contrib/bench/run", description=__doc__)
    parser.add_argument("--scratch", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--gflow", type=pathlib.Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--runqd", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=pathlib.Path, metavar="FILE", help="also write the report to FILE")
    parser.add_argument("--only", nargs="+", choices=SUBJECTS, metavar="SUBJECT", help=f"of {', '.join(SUBJECTS)}")
    arguments = parser.parse_args()
    bench = Bench(arguments.scratch, arguments.gflow, arguments.runqd)
    rows = measure(bench, arguments.only or list(SUBJECTS))
    options = (["--output", str(arguments.output)] if arguments.output else []) + (
        ["--only", *arguments.only] if arguments.only else []
    )
    text = document(rows, arguments.scratch, options)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
