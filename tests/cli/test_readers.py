"""The two readers of command lines read the same, and what is wrong is told by asyncclick in one line."""

import contextlib
import io
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gflow.cli import full, gbatch, gbatch_new, gcancel, gctl, ginfo, gjob, gqueue, gstats, umbrella
from gflow.cli.command import Command, Group, UsageError
from gflow.cli.entry import _read_quickly
from gflow.cli.quick import Unclear
from support.effort import examples

TABLES = [
    table.COMMAND
    for table in (gbatch, gbatch_new, gcancel, gctl, ginfo, gjob, gqueue, gstats)
    if hasattr(table, "COMMAND")
]

_VALUES = [
    *("0", "1", "007", "256", "-5", "1-10", "10-1", "1,3-5", "@", "@~2", "2:00", "1:00:00", "+1:00:00", "-30:00"),
    *(
        "16G",
        "512M",
        "gpu:2",
        "USR1@120",
        "id",
        "ALL",
        "NONE",
        "PATH,HOME",
        "PD,Running",
        "NAME,ST",
        "json",
        "day",
        "csv",
        "always",
    ),
    *("UTC", "2h", "-24h:+24h", "active", "a@b.org", "job_failed,group_completed"),
    *("2d", "today", "now+2h", "+30", "unix:/s", "a=b", "x y", "", " ", "-", "--", "é", "'", "python", "gjob", "42"),
]


def _members(table):
    """The commands of a table, those of its groups among them."""
    if isinstance(table, Command):
        return [table]
    return [command for name in table.members for command in _members(table.load(name))]


def _paths(table):
    """The words that lead to each of them."""
    if isinstance(table, Command):
        return [[]]
    return [[name, *path] for name in [*table.members, *table.aliases] for path in _paths(table.load(name))]


def _commands():
    return [command for table in TABLES for command in _members(table)]


def _words(table):
    """Words that mean something to the table, and some that do not."""
    verbs = [] if isinstance(table, Command) else [*table.members, *table.aliases]
    options = [option for command in _members(table) for option in command.options]
    names = [name for option in options for name in option.names]
    value = st.sampled_from(_VALUES)
    name = st.sampled_from(names)
    return st.one_of(
        name,
        value,
        st.builds(lambda name, value: f"{name}={value}", name, value),
        st.builds(lambda name, value: name + value, name.filter(lambda name: len(name) == 2), value),
        st.builds(lambda *names: "-" + "".join(name[1] for name in names), name, name),
        st.sampled_from(verbs or ["--nosuch"]),
    )


def _argv(table):
    words = st.lists(_words(table), max_size=6)
    if isinstance(table, Group):
        outer = st.sampled_from([[], ["--url", "unix:/s"], ["--config=x"]])
        path = st.sampled_from(_paths(table))
        return st.builds(lambda outer, path, words: [*path[:1], *outer, *path[1:], *words], outer, path, words)
    return words


@st.composite
def _right(draw):
    """A command line with options that are right, in every way of writing them."""
    command = draw(st.sampled_from(_commands()))
    argv = []
    for option in draw(st.lists(st.sampled_from(command.options), max_size=5)):
        if option.once and any(word.startswith(option.names) for word in argv):
            continue
        name = draw(st.sampled_from(option.names))
        if option.convert is None:
            argv.append(name)
            continue
        fitting = [
            value
            for value in _VALUES
            if _fits(option.convert, value) and not (option.bare is not None and value[:1] == "-")
        ]
        value = draw(st.sampled_from(fitting))
        joined = f"{name}={value}" if name.startswith("--") else name + value
        argv += draw(st.sampled_from([[name, value], [joined] if joined != name else [name, value]]))
    fitting = [
        [value for value in _VALUES if value and _fits(argument.convert, value)] for argument in command.arguments
    ]
    return command, [*argv, "--", *(draw(st.sampled_from(values)) for values in fitting)]


def _fits(convert, value):
    try:
        convert(value)
    except ValueError:
        return False
    return True


def _quick(table, argv):
    try:
        return _read_quickly(table, argv, table.name)
    except Unclear:
        return None


def _full(table, argv):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return full.read(table, argv, table.name)
        except SystemExit:
            return None


@pytest.fixture(autouse=True, scope="module")
def _stopped_clock():
    """`now+2h` is the same moment for both readers."""
    with mock.patch("time.time", return_value=1_800_000_000.0):
        yield


@settings(max_examples=examples(200))
@given(st.data())
def test_both_readers_accept_the_same_and_read_the_same(data):
    table = data.draw(st.sampled_from(TABLES))
    argv = data.draw(_argv(table))
    assert _quick(table, argv) == _full(table, argv)


@settings(max_examples=examples(100))
@given(_right())
def test_what_is_right_is_read_quickly(right):
    command, argv = right
    given = [option.dest for option in command.options if any(word.startswith(option.names) for word in argv)]
    if any(len(set(group) & set(given)) > 1 for group in command.exclusive):
        return
    found = _quick(command, argv)
    assert found is not None
    assert found == _full(command, argv)


@pytest.mark.parametrize(
    "argv", [["--group=-5"], ["--group=-5", "-a"], ["--format", "ID,--group=-5"], ["--group", "-5"]]
)
def test_what_stands_behind_an_equals_sign_is_the_value(argv):
    assert _quick(gqueue.COMMAND, argv) == _full(gqueue.COMMAND, argv)
    assert (_full(gqueue.COMMAND, argv) is not None) == (argv[0] == "--group=-5")


def test_every_name_of_an_option_is_its_own():
    for command in _commands():
        names = [name for option in command.options for name in option.names]
        assert len(names) == len(set(names)), command.name


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_unknown_options_are_refused_with_a_suggestion(run, table):
    done = run(table, "--confg", "x")
    assert done.status == 2
    assert done.out == ""
    assert "No such option '--confg'" in done.err
    assert "--config" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("table", [*TABLES, umbrella.COMMAND], ids=lambda table: table.name)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_has_examples(run, table, option):
    done = run(table, option)
    assert (done.status, done.err) == (0, "")
    assert "Usage:" in done.out
    assert "Examples:" in done.out


@pytest.mark.parametrize("command", _commands(), ids=lambda command: command.name)
def test_every_example_of_the_help_can_be_read(command):
    for example, _ in command.examples:
        import shlex

        words = shlex.split(example)
        argv = words[words.index(command.name) + 1 :] if command.name in words else words
        argv = argv[: next((at for at, word in enumerate(argv) if word in ("&&", "|")), None)]
        assert _quick(command, argv) is not None, example


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_version(run, table):
    from gflow import __version__

    done = run(table, "--version")
    assert (done.status, done.out) == (0, f"{table.name} {__version__}\n")


@pytest.mark.parametrize("table", [gjob.COMMAND, gctl.COMMAND, gctl.COMMAND.load("quota")])
def test_a_group_alone_shows_its_help(run, table):
    done = run(table)
    assert (done.status, done.out, done.err) == (0, run(table, "--help").out, "")
    assert len(done.out.splitlines()) > 10


@pytest.mark.parametrize("argv", [["nosuch"], ["shwo", "1"]])
def test_a_group_needs_one_of_its_verbs(run, argv):
    done = run(gjob.COMMAND, *argv)
    assert (done.status, done.out) == (2, "")
    if argv == ["shwo", "1"]:
        assert "show" in done.err


def test_exclusive_options_are_named(run):
    done = run(gqueue.COMMAND, "-a", "-c")
    assert done.status == 2
    assert "--all and --completed cannot be used together" in done.err


def test_usage_errors_of_handlers_are_errors_of_usage(run):
    def refuse(values):
        raise UsageError("no")

    done = run(Command("x", "x", refuse))
    assert (done.status, done.err) == (2, "x: no\n")
