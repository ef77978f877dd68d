"""Whatever words a command is given, it ends with an exit status that means something and a line that says why.

The daemon starts nothing: what chance makes of a command line is not to be run.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from importlib import import_module

import hypothesis
import pytest
from hypothesis import strategies as st

from gflow.cli.command import Argument, Command, Group, Option, UsageError
from support.daemon import Daemon
from support.effort import examples
from support.forker import CRASHED, PROGRAMS, Ended, Forker

TIMES = int(os.environ.get("GFLOW_FUZZ", "1"))
LINES = examples(60) * TIMES

NONSENSE = [
    "",
    " ",
    "x",
    "é",
    "-",
    "--",
    "---",
    "-x",
    "-1",
    "--no-such-option",
    "--=",
    "=",
    "@",
    "@~",
    "@~9",
    "*",
    "%",
    "\t",
    "a\nb",
]
NONSENSE += [
    "0",
    "1",
    "2",
    "3",
    "1,2",
    "1-3",
    "3-1",
    "9" * 30,
    "1.5",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "1:00",
    "0:0:0:0",
    "+1h",
    "10G",
]
NONSENSE += [
    "all",
    "none",
    "json",
    "csv",
    "R",
    "PD,x",
    "now",
    "tomorrow",
    "2h",
    "a=b",
    "a=1,2",
    "a=1:9",
    "[1",
    "(",
    "\\",
    "$(x)",
    "\udcff",
]
NONSENSE += ["x" * 300, "\u202e", "\x1b[31m", "true", "g"]
Convert = Callable[[str], object]
WAITING = {"wait", "watch", "follow", "top", "attach", "log", "interval", "-w", "-f", "-i"}
"""Verbs and options by which a command may wait for ever; others may not."""


def commands(table: Command | Group, *words: str) -> Iterator[tuple[tuple[str, ...], Command]]:
    """Every command below a table, with the words that lead to it."""
    if isinstance(table, Group):
        for word in table.members:
            below = table.load(word)
            assert below is not None
            yield from commands(below, *words, word)
    else:
        yield words, table


COMMANDS = [
    (program, *found)
    for program in PROGRAMS
    if program not in ("gflowd", "gflow")
    for found in commands(import_module(f"gflow.cli.{program}").COMMAND)
]


def takes(convert: Convert, word: str) -> bool:
    """Whether this can be a value of an option or argument."""
    try:
        convert(word)
    except (ValueError, UsageError):
        return False
    return True


def value(of: Option | Argument) -> st.SearchStrategy[str]:
    """A value as it is meant, mostly."""
    words = [*getattr(of, "choices", ()), *NONSENSE]
    meant = [word for word in words if of.convert is not None and takes(of.convert, word)]
    return st.one_of(*[st.sampled_from(meant or words)] * 5, st.sampled_from(words))


def option(of: Option) -> st.SearchStrategy[list[str]]:
    """An option as it is meant, mostly."""
    names = st.sampled_from(of.names)
    alone = names.map(lambda name: [name])
    if of.convert is None:
        return st.one_of(*[alone] * 5, names.map(lambda name: [f"{name}=x"]))
    apart = st.builds(lambda name, v: [name, v], names, value(of))
    joined = st.builds(lambda name, v: [f"{name}={v}" if name.startswith("--") else name + v], names, value(of))
    return st.one_of(*[apart, joined] * 4, alone)


def line(program: str, words: tuple[str, ...], table: Command) -> st.SearchStrategy[list[str]]:
    """A command line for one command, the daemon's place left out: others are not our business."""
    options = [option(each) for each in table.options if each.dest not in ("url", "config", "data_dir")]
    nonsense = st.lists(st.sampled_from(NONSENSE), max_size=1)
    arguments = [value(each).map(lambda word: [word]) for each in table.arguments]
    optional = st.lists(st.one_of(*options), max_size=3) if options else st.just([])
    parts = st.tuples(optional, st.one_of(st.just([]), st.just([]), nonsense), *arguments)
    return parts.map(
        lambda parts: [program, *words, *(w for part in parts[0] for w in part), *itertools.chain(*parts[1:])]
    )


LINE = st.sampled_from(COMMANDS).flatmap(lambda command: line(*command))


@pytest.fixture(scope="module")
def forker() -> Iterator[Forker]:
    with Daemon("--simulated-gpus", "2") as daemon:
        assert daemon.http("POST", "/drain", {"reason": None}).status == 200
        for _ in range(3):
            daemon.submit("true", hold=True, group="g")
        assert daemon.http("POST", "/jobs/1/cancel").status == 200
        with Forker(daemon) as forker:
            yield forker
        assert not [job for job in daemon.jobs().values() if job["started_at"] is not None]
        checked = daemon.cli("gctl", "state", "check")
        assert checked.returncode == 0, checked
        jobs = daemon.jobs()
        daemon.restart()
        assert daemon.jobs() == jobs


def check(argv: list[str], ended: Ended) -> None:
    """What holds however a command was called."""
    if ended.status is None:
        assert any(word in given for word in WAITING for given in argv), argv
        return
    assert "Traceback" not in ended.err, (argv, ended.err)
    assert ended.status != CRASHED, (argv, ended)
    assert 0 <= ended.status <= 2 or "wait" in "".join(argv), (argv, ended)
    assert "Internal error" not in ended.err, (argv, ended.err)
    if ended.status == 2:
        assert ended.err.count("\n") == 1, (argv, ended.err)
        assert ended.err.startswith(argv[0]), (argv, ended.err)
    if ended.status == 1:
        assert ended.err or ended.out or "wait" in argv, (argv, ended)


@pytest.mark.once
@pytest.mark.timeout(180 * TIMES)
def test_every_command_ends_well_whatever_it_is_told(forker: Forker):
    statuses: dict[int | None, int] = {}

    @hypothesis.settings(max_examples=LINES, database=None)
    @hypothesis.given(LINE, st.booleans())
    def ends(words: list[str], whole: bool) -> None:
        program, *argv = ["gflow", *words] if whole else words
        ended = forker.run(program, argv)
        statuses[ended.status] = statuses.get(ended.status, 0) + 1
        check([program, *argv], ended)

    ends()
    sys.stdout.write(f"{sum(statuses.values())} command lines tried: {statuses}\n")
    assert statuses.keys() >= {0, 1, 2}


@pytest.mark.once
def test_the_daemons_own_command_refuses_what_it_does_not_know(forker: Forker):
    verbs = ["run", "up", "down", "restart", "reload", "status", "init", "service", "doctor", "import", "nonsense", ""]

    @hypothesis.settings(max_examples=max(10, LINES // 10), database=None)
    @hypothesis.given(st.sampled_from(verbs), st.lists(st.sampled_from(NONSENSE[2:]), max_size=3))
    def refuses(verb: str, words: list[str]) -> None:
        argv = [verb, "--no-such-option", *words]
        ended = forker.run("gflowd", argv)
        check(["gflowd", *argv], ended)
        assert ended.status == 2, ended

    refuses()
