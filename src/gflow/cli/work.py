"""What a submission is to run: a script, an argument vector, or a shell command line - and which of them it is.

The first word is a script if it names a regular file that starts with `#!`, has a `# GFLOW` line, or ends in .sh or
.py. Any other single word with blanks or shell syntax is a line for the shell; everything else is taken word by word.
"""

from __future__ import annotations

import os
import sys

from gflow.cli import directives
from gflow.cli.command import Failure, UsageError
from gflow.core.limits import MAX_SCRIPT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SUFFIXES = (".sh", ".py")
_SHELL_SYNTAX = frozenset(" \t\n|&;<>()$`\"'\\*?[]~#")
_HEAD_BYTES = 65536
STDIN = "<stdin>"


class Work:
    """`fields` are those of the job request. `text` is that of a script, for its directives; `origin` names it."""

    __slots__ = ("fields", "origin", "text")

    def __init__(self, fields: dict[str, Any], origin: str = "", text: str | None = None) -> None:
        self.fields = fields
        self.origin = origin
        self.text = text


def find(words: list[str], wrapped: str | None = None) -> Work:
    """The work that `words` ask for; without any, or with `-`, the script on standard input.

    `wrapped` is a line for the shell in their place.
    """
    if wrapped is not None:
        if words:
            raise UsageError("--wrap has the command in itself; nothing may follow it")
        return Work({"command": wrapped})
    if not words or words[0] == "-":
        return _from_stdin(words[1:], asked=bool(words))
    first, *rest = words
    if not first:
        raise UsageError("the command is empty")
    if _is_script(first):
        text = _text(_content(first), first)
        return Work({"script": os.path.abspath(first), "script_text": text, "script_args": rest}, first, text)
    if not rest and not first.strip():
        raise UsageError("the command is empty")
    if not rest and not _SHELL_SYNTAX.isdisjoint(first) and not os.path.isfile(first):
        return Work({"command": first})
    return Work({"argv": words})


def script(path: str) -> dict[str, Any]:
    """The fields of a job request for the script at `path`, whatever it looks like. Raises Failure."""
    return {"script": os.path.abspath(path), "script_text": _text(_content(path), path)}


def _from_stdin(arguments: list[str], *, asked: bool) -> Work:
    if sys.stdin is None or (not asked and sys.stdin.isatty()):
        raise UsageError("nothing to submit: give a command, a script, or - to read a script from standard input")
    text = _text(sys.stdin.buffer.read(MAX_SCRIPT_BYTES + 1), STDIN)
    if not text.strip():
        raise UsageError("No content provided via stdin: give a command, a script, or a script on standard input")
    return Work({"script_text": text, "script_args": arguments}, STDIN, text)


def _is_script(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    if path.endswith(_SUFFIXES):
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    if b"\0" in head or head.startswith(b"#!"):
        return head.startswith(b"#!")
    return next(directives.lines(head.decode("latin-1")), None) is not None


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MAX_SCRIPT_BYTES + 1)
    except OSError as error:
        raise Failure(f"cannot read script {path}: {error.strerror}") from error


def _text(content: bytes, origin: str) -> str:
    """The text of a script of which no more was read than it may have. Raises UsageError, Failure."""
    if len(content) > MAX_SCRIPT_BYTES:
        raise UsageError(f"script {origin} is longer than {MAX_SCRIPT_BYTES >> 20} MiB, the most the daemon takes")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise Failure(f"script {origin} is not UTF-8 text; {_instead(origin)}") from error


def _instead(origin: str) -> str:
    if origin == STDIN:
        return "to run such a program, write it to a file and submit that: gbatch -- PATH"
    import shlex

    return f"to run it where it is, write: gbatch -- sh {shlex.quote(origin)}"
