"""What others call their jobs, or a server says, is completed as a value and never obeyed, whatever it looks like.

The shells ask a program that says what the real one would, and that shows which words it is called with otherwise: a
value that was completed comes back as exactly that value, and nothing it says has been done.
"""

import os
import shlex
import shutil
import subprocess

import pytest

from gflow.cli import gctl, gqueue
from gflow.cli.completion.choices import SHELLS
from gflow.cli.completion.scripts import script
from gflow.cli.completion.shells import answer
from support.shell import Shell

VALUES = [
    ":command 1",
    ":command psvar[$(touch done)]",
    ":command TMOUT=1,PATH=7",
    ":command 1;touch done",
    ":files",
    ":directories",
    ":words",
    "$(touch done)",
    "`touch done`",
    "a;touch done",
    "a\\:b\\\\c",
    'it\'s "x" $HOME',
    "-n",
    "~",
    "*",
    "{a,b}",
    "!!",
]
NO_ANSWERS = [
    ":command psvar[$(touch done)]",
    ":command TMOUT=1,PATH=7",
    ":command 2,TMOUT=1",
    ":command 99999999999999999999",
    ":command -1",
    ":command ",
    ":command",
    "psvar[$(touch done)]",
    "$(touch done)",
    "",
]


def answered(shell, *values):
    """What is answered to `gqueue -P ` when projects have these names."""
    line = "gqueue -P " if shell == "bash" else ""
    return answer(gqueue.COMMAND, ["2", shell, "2", line, "gqueue", "-P", ""], lambda *_: [(one, "") for one in values])


@pytest.mark.parametrize("shell", SHELLS)
def test_the_first_line_is_never_a_value(shell):
    found = answered(shell, *VALUES).split("\n")
    assert found[0] == ":words"
    assert len(found) == len(VALUES) + 2
    assert answered(shell).startswith(":words\n")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("value", ["", "a\n:command 1", "a\tb", "a\x1b[2J", "a\u202eb", "\u2066a", "a\u2028b"])
def test_a_value_that_steers_a_terminal_is_left_out(shell, value):
    assert answered(shell, value) == ":words\n"


def test_a_meaning_does_not_steer_a_terminal_either():
    found = answer(
        gqueue.COMMAND, ["2", "fish", "2", "", "gqueue", "-j", ""], lambda *_: [("7", "a\n:command 1\x1b\u202e")]
    )
    assert found == ":words\n7\ta?:command 1??\n"


def test_a_name_that_would_be_an_option_is_no_argument():
    def offered(*words):
        asked = ["2", "zsh", str(len(words)), "", "gctl", *words]
        return answer(gctl.COMMAND, asked, lambda kind, _: [("--url=x", ""), ("lr", "")] if kind == "groups" else [])

    assert offered("set-limit", "") == ":words\nlr\n"
    assert offered("set-limit", "--", "") == ":words\n--url=x\nlr\n"


@pytest.fixture
def place(tmp_path):
    """A directory with the program, the scripts, and a file with what the program answers."""
    program = tmp_path / "gqueue"
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = __complete ]; then cat {shlex.quote(str(tmp_path))}/answer; exit; fi\n'
        'for word; do printf "<%s>" "$word"; done\necho\n'
    )
    program.chmod(0o700)
    (tmp_path / "sub").mkdir()
    for shell in SHELLS:
        (tmp_path / f"script.{shell}").write_text(script("gqueue", shell))
    return tmp_path


def _environment(place):
    kept = {name: os.environ[name] for name in ("FPATH", "LD_LIBRARY_PATH") if name in os.environ}
    path = f"{place}:{os.environ['PATH']}"
    return kept | {"PATH": path, "HOME": str(place), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def _started(place, shell):
    """An interactive shell that knows the script."""
    words, begin = {
        "bash": (
            ["bash", "--norc", "--noprofile"],
            "bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
        ),
        "zsh": (["zsh", "-f"], "autoload -U compinit; compinit -D -u"),
    }[shell]
    terminal = Shell(words, _environment(place), place)
    terminal.type(f"PS1='>'; {begin}; . {place}/script.{shell}; echo rea''dy\n".encode(), b"ready\r\n")
    return terminal


INTERACTIVE = [
    "bash",
    pytest.param("zsh", marks=pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")),
]


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_a_value_is_completed_as_itself(place, shell):
    terminal = _started(place, shell)
    for value in VALUES:
        (place / "answer").write_text(answered(shell, value))
        terminal.type(b"gqueue -P \t\n", f"<-P><{value}>\r\n".encode())
    for value in VALUES:  # beside another one, with which it is listed
        (place / "answer").write_text(answered(shell, value, "zz"))
        terminal.type(
            b"gqueue -P \t\t\x15echo $TMOUT$PATH th''ere\n", f"\n{place}:{os.environ['PATH']} there\r\n".encode()
        )
    assert not (place / "done").exists()
    terminal.close()


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_an_answer_of_somebody_else_is_not_obeyed(place, shell):
    terminal = _started(place, shell)
    for own in NO_ANSWERS:
        (place / "answer").write_text(f"{own}\n")
        terminal.type(
            b"gqueue -P \t\x15echo $TMOUT$PATH th''ere\n", f"\n{place}:{os.environ['PATH']} there\r\n".encode()
        )
    assert not (place / "done").exists()
    terminal.close()


@pytest.mark.parametrize("shell", INTERACTIVE)
def test_the_real_instructions_are_followed(place, shell):
    terminal = _started(place, shell)
    for own, typed, shown in (
        (":command 1", "gqueue gqueu", "<gqueue>"),
        (":command 2", "gqueue -x cat answ", "<-x><cat><answer>"),
        (":files", "gqueue --config answ", "<--config><answer>"),
        (":directories", "gqueue --config su", "<--config><sub"),
    ):
        (place / "answer").write_text(f"{own}\n")
        terminal.type(f"{typed}\t\n".encode(), shown.encode())
    terminal.close()


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
def test_fish_takes_values_for_values(place):
    def completed(text, line="gqueue -P "):
        (place / "answer").write_text(text)
        asked = f"source {place}/script.fish; complete -C '{line}'"
        words = ["fish", "--no-config", "-c", asked]
        done = subprocess.run(
            words, env=_environment(place), cwd=place, capture_output=True, text=True, timeout=30, check=False
        )
        return sorted(done.stdout.splitlines())

    assert completed(answered("fish", *VALUES)) == sorted(VALUES)
    for own in NO_ANSWERS:
        assert completed(f"{own}\n") == []
    assert not (place / "done").exists()
    assert completed(":command 1\n", "gqueue gqueu")[0].startswith("gqueue")
    assert completed(":command 2\n", "gqueue -x cat answ") == ["answer"]
    assert completed(":files\n", "gqueue --config=answ") == ["--config=answer"]
    assert completed(":directories\n", "gqueue --config su") == ["sub/\tDirectory"]
