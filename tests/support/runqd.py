"""The programs of gflow 0.4.18, as the package `runqd` has them, in an environment of their own.

`Programs` runs them as their users do. It notes which verbs and options were used, so that a test can tell, with what
their own `--help` lists, that none was forgotten.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

VERSION = "0.4.18"
COMMANDS = ("gbatch", "gqueue", "gjob", "gcancel", "ginfo", "gctl", "gstats")
INSTALL_SECS = 60.0

_NOT_VERBS = {"help", "completion"}
_NOT_OPTIONS = {"--help", "--version", "--verbose", "--quiet"}
"""What asks nothing of a daemon."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_OPTION = re.compile(r"^\s{2,6}(?:(-\w), )?(--[\w-]+)", re.MULTILINE)
_VERB = re.compile(r"^  ([a-z-]+)", re.MULTILINE)
_ALIASES = re.compile(r"\[aliases: ([^]]*)\]")

Verb = tuple[str, ...]


class NotInstalled(Exception):
    """The package cannot be had here; the message says why."""


def install(directory: Path) -> Path:
    """Make an environment in `directory` and install them; where they are then. Raises NotInstalled."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True, capture_output=True)
    pip = [sys.executable, "-m", "pip", "--python", directory / "bin/python", "--disable-pip-version-check"]
    asked = [*pip, "install", "--quiet", "--no-deps", "--retries=1", "--timeout=10", f"runqd=={VERSION}"]
    try:
        done = subprocess.run(asked, capture_output=True, text=True, timeout=INSTALL_SECS, check=False)
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"pip did not install runqd=={VERSION} within {INSTALL_SECS:g} s") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or "it says nothing").splitlines()[-1]
        raise NotInstalled(f"pip cannot install runqd=={VERSION}: {last}")
    return directory / "bin"


@dataclass(frozen=True)
class Done:
    """What a program did; without colours."""

    status: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a table below its header, as words."""
        return [line.split() for line in self.out.splitlines()[1:] if line.strip()]


@dataclass
class Programs:
    """Those in `place`, run in `work` with `environment`. `used` are verbs with an option each, or none ("")."""

    place: Path
    work: Path
    environment: Mapping[str, str]
    used: set[tuple[Verb, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.offered: dict[Verb, dict[str, str]] = {}
        for command in COMMANDS:
            self._look_at((command,))

        self.offered["gcancel",] |= {hidden: hidden for hidden in ("--finish", "--fail")}

    def _look_at(self, verb: Verb) -> None:
        """Note what its help lists: from each spelling of an option to its name, and the same of what is below it."""
        told = self._run([*verb, "--help"]).out
        options = told.partition("\nOptions:\n")[2]
        self.offered[verb] = {spelling: names[-1] for names in _spellings(options) for spelling in names[:-1]}
        for name in _VERB.findall(told.partition("\nCommands:\n")[2].partition("\n\n")[0]):
            if name not in _NOT_VERBS:
                self._look_at((*verb, name))

    def __call__(self, *words: str, status: int = 0, stdin: str | None = None) -> Done:
        """Run one to its end; it must end with `status`."""
        done = self._run([*words], stdin)
        assert done.status == status, (words, done)
        self.note(*words)
        return done

    def note(self, *words: str) -> None:
        """These were used, and did what they should."""
        verb = self.verb(words)
        spellings = self.offered[verb]
        given = {word.partition("=")[0] for word in words[len(verb) :]}
        self.used |= {(verb, "")} | {(verb, spellings[word]) for word in given if word in spellings}

    def verb(self, words: tuple[str, ...]) -> Verb:
        """Command and subcommands at the beginning of a command line."""
        return max((verb for verb in self.offered if words[: len(verb)] == verb), key=len)

    def start(self, *words: str, stdout: IO[Any] | int = subprocess.PIPE) -> "subprocess.Popen[str]":
        """One that does not end by itself, with its output in a pipe."""
        return subprocess.Popen(
            [self.place / words[0], *words[1:]],
            env=self.environment,
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            text=True,
        )

    @property
    def all(self) -> set[tuple[Verb, str]]:
        """Every verb, and every option of each; what only leads to verbs below it is none."""
        leads = {verb[:-1] for verb in self.offered} - {("gbatch",)}
        verbs = {verb: names for verb, names in self.offered.items() if verb not in leads}
        return {(verb, name) for verb, names in verbs.items() for name in ("", *names.values())}

    def _run(self, words: list[str], stdin: str | None = None) -> Done:
        done = subprocess.run(
            [os.fspath(self.place / words[0]), *words[1:]],
            env=self.environment,
            cwd=self.work,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return Done(done.returncode, _COLOUR.sub("", done.stdout), _COLOUR.sub("", done.stderr))


def _spellings(options: str) -> list[list[str]]:
    """For each option its spellings, its own name among them, and that name once more at the end."""
    found = list(_OPTION.finditer(options))
    ends = [*(match.start() for match in found[1:]), len(options)]
    result = []
    for match, end in zip(found, ends, strict=True):
        aliases = ", ".join(_ALIASES.findall(options[match.end() : end])).split(", ")
        if match[2] not in _NOT_OPTIONS:
            result.append([word for word in (match[1], match[2], *aliases) if word] + [match[2]])
    return result
