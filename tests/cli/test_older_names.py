"""Every name that gflow 0.4.18 has - programs, verbs, options, columns, ways to write a value - is one of ours, and is
shown, run, on a page of docs/examples. What is left out on purpose is in the document for those who move."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from gflow.cli import columns
from gflow.cli.click_table import of_gflowd
from gflow.cli.command import Command, Group, load
from support.older_names import COLUMNS, FORMS, LEFT_OUT, OPTIONS, OUTPUTS, PROGRAMS
from support.transcripts import Example, blocks

DOCS = Path(__file__).parents[2] / "docs"
MOVING = DOCS / "moving-from-gflow.md"

pytestmark = [pytest.mark.once, pytest.mark.skipif(not DOCS.exists(), reason="installed without its documents")]

Name = tuple[str, str]
"""A verb, and a spelling of one of its options or "" for the verb itself."""


def table_of(program: str) -> Command | Group:
    return of_gflowd() if program == "gflowd" else load(f"gflow.cli.{program}")


def tables(verb: str, table: Command | Group) -> Iterator[tuple[str, Command | Group]]:
    """What `verb` names and all below it, under every name it has."""
    yield verb, table
    if isinstance(table, Group):
        for word in {*table.members, *table.aliases}:
            member = table.load(word)
            assert member is not None
            yield from tables(f"{verb} {word}", member)
    else:
        for word, (module, _) in table.words.items():
            yield f"{verb} {word}", load(module)


OURS = {verb: table for program in PROGRAMS for verb, table in tables(program, table_of(program))}
OLDER = {(verb, name) for verb, names in OPTIONS.items() for name in ("", *names.split())}


def left_out(name: Name) -> bool:
    """Whether it, or what it belongs to, is left out."""
    whole = f"{name[0]} {name[1]}".strip()
    return any(whole == out or whole.startswith(f"{out} ") for out in LEFT_OUT)


def examples() -> list[Example]:
    pages = sorted((DOCS / "examples").glob("*.md"))
    pieces = [piece for page in pages for piece in blocks(page.read_text(encoding="utf-8"))]
    return [example for piece in pieces if not isinstance(piece, str) for example in piece]


def commands(example: Example) -> Iterator[list[str]]:
    """The words of each command of ours in an example, its program first."""
    lexer = shlex.shlex(example.command.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set(";|&()<>"):
            starts = [at for at, each in enumerate(words) if each in PROGRAMS]
            if starts:
                yield words[starts[0] :]
            words = []
        else:
            words.append(word)


def used(words: list[str]) -> Iterator[Name]:
    """The verb of a command line, under its long name, too, and the options of each part of it."""
    verb, at, table = words[0], 1, OURS[words[0]]
    while at < len(words):
        word, at = words[at], at + 1
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        option = next((each for each in table.options if name in each.names), None)
        if option is not None:
            yield verb, name
            at += option.convert is not None and word == name  # its value is the next word
        elif f"{verb} {word}" in OURS:
            yield f"{verb} {word}", ""
            aliases = table.aliases if isinstance(table, Group) else {}
            verb = f"{verb} {aliases.get(word, word)}"
            table = OURS[verb]
        elif isinstance(table, Command) and table.stop_at_argument:
            break
    yield verb, ""


def shown() -> set[Name]:
    """What the pages show, but for command lines that were refused."""
    done = [example for example in examples() if "[exit 2]" not in example.printed]
    return {name for example in done for words in commands(example) for name in used(words)}


def test_every_name_is_ours():
    ours = {(verb, name) for verb, table in OURS.items() for each in table.options for name in each.names}
    ours |= {(verb, "") for verb in OURS}
    assert {name for name in OLDER - ours if not left_out(name)} == set()


def test_what_is_left_out_is_left_out_and_said_to_be():
    there = {name for name in LEFT_OUT if name in OURS}
    assert there == set(), "these are there now: they belong on a page of docs/examples instead"
    told = MOVING.read_text(encoding="utf-8")
    assert [name for name in LEFT_OUT if f"`{name}`" not in told] == []


NOT_ON_PAGES = {
    *(("gqueue", name) for name in ("-w", "--watch", "--interval")),
    *((f"gflowd service {verb}", "") for verb in ("install", "uninstall")),
}
"""What needs a terminal or a systemd, which pages have not."""


def test_every_name_is_on_a_page():
    missing = {name for name in OLDER - shown() - NOT_ON_PAGES if not left_out(name)}
    assert sorted(missing) == []


def test_a_page_uses_what_it_types():
    example = Example(
        ["$ FOO=1 gbatch -n x --time=5 sh -c 'a; b' | gjob l -l1 $(gqueue -j 7) && gctl quota set --user=u"]
    )
    names = [set(used(words)) for words in commands(example)]
    assert names == [
        {("gbatch", "-n"), ("gbatch", "--time"), ("gbatch", "")},
        {("gjob l", ""), ("gjob log", "-l"), ("gjob log", "")},
        {("gqueue", "-j"), ("gqueue", "")},
        {("gctl quota", ""), ("gctl quota set", "--user"), ("gctl quota set", "")},
    ]


def test_every_program_has_what_all_have():
    typed = "\n".join(example.command for example in examples())
    for program in PROGRAMS:
        assert any("--config" in option.names for option in OURS[program].options), program
    assert "completion bash" in typed
    assert "--version" in typed
    assert "--config" in typed


def test_every_column_is_ours_and_on_a_page():
    printed = {word for example in examples() for line in example.printed for word in line.split()}
    assert set(COLUMNS.split()) <= set(columns.COLUMNS)
    assert set(COLUMNS.split()) <= printed


@pytest.mark.parametrize("kind", FORMS)
def test_every_way_to_write_a_value_is_on_a_page(kind):
    typed = "\n".join(f"{line} \n{line}\n" for example in examples() for line in example.lines)
    assert [form for form in FORMS[kind] if form not in typed] == []


def test_what_older_programs_print_is_on_a_page():
    printed = "\n".join(line for example in examples() for line in example.printed)
    assert [pattern for pattern in OUTPUTS if not re.search(pattern, printed)] == []


def test_the_table_of_older_clients_has_every_name():
    """What it lists was tried; that is all there is but what asks nothing of a daemon."""
    rows = re.findall(r"^\| `(g[^`]*)` \| (.*?) \| .*? \| (.*?) \|$", MOVING.read_text(encoding="utf-8"), re.MULTILINE)
    tried = {
        (verb, name) for verb, names, without in rows for name in ("", *re.findall(r"`(--[^`]*)`", names + without))
    }
    verbs = {verb for verb, _ in tried}
    asked = {(verb, name) for verb, name in OLDER if verb.split()[0] not in ("gflowd", "gflow") and is_main(verb, name)}
    assert sorted(asked - tried - ALIASES) == []
    assert verbs <= {verb for verb, _ in OLDER}


ALIASES = {(f"gjob {word}", "") for word in ("a", "l", "h", "r", "u", "s", "close")} | {
    ("gbatch", "--nice"),
    ("gcancel", "--cancel"),
    ("gcancel", "--kill"),
}
"""Other words for what is in the table."""


def is_main(verb: str, name: str) -> bool:
    """Whether it is the name under which its help lists an option, or a verb."""
    if not name or verb not in OURS:
        return True
    option = next((each for each in OURS[verb].options if name in each.names), None)
    return name.startswith("--") and option is not None and name[2:].replace("-", "_") == option.dest
