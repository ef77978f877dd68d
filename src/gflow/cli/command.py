"""What a command looks like, as data: one table per command, read by two parsers.

`quick` reads command lines that are right, in no time. `full` makes an asyncclick command of the same table for
everything else: help, and every way to be wrong. Whatever `quick` accepts, `full` reads the same. `completion` and
the man pages go by the same tables.

A converter turns the text of a value into what the handler gets, and raises ValueError with one line. A handler gets
a dictionary with one entry per option and argument, named by `dest`, and returns the exit status.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Values = dict[str, Any]
    Convert = Callable[[str], Any]
    Handler = Callable[[Values], int]


class UsageError(Exception):
    """The command line cannot be meant so; exit status 2."""


class Failure(Exception):
    """It could not be done; the message is one line, the exit status 1."""


class Option:
    """An option with a value, or (`convert` None) a flag.

    `dest` is the first long name; `default` is what the handler gets when it was not given; a `multiple` one gathers
    a list. `directive` options may also be set in a script. `bare` is the text that stands for the value where an
    option is given without one: as the last word, or followed by another option. `once` is of those of which two are
    likely to be meant as both, not as the last one: they are refused, and it says what to write.
    """

    __slots__ = (
        *("bare", "choices", "convert", "default", "dest", "directive"),
        *("help", "hidden", "metavar", "multiple", "names", "once"),
    )

    def __init__(
        self,
        *names: str,
        help: str,  # noqa: A002 - the field's usual name
        convert: Convert | None = None,
        metavar: str | None = None,
        default: Any = None,
        multiple: bool = False,
        hidden: bool = False,
        directive: bool = False,
        choices: tuple[str, ...] = (),
        bare: str | None = None,
        once: str | None = None,
    ) -> None:
        self.names = names
        self.dest = next(name for name in names if name.startswith("--"))[2:].replace("-", "_")
        self.help = help
        self.convert = convert
        self.metavar = metavar
        self.default = False if convert is None else default
        self.multiple = multiple
        self.hidden = hidden
        self.directive = directive
        self.choices = choices
        self.bare = bare
        self.once = once


class Argument:
    """A positional argument; the last one of a command may be `variadic` and then gathers a list."""

    __slots__ = ("convert", "dest", "metavar", "required", "variadic")

    def __init__(
        self, dest: str, metavar: str, convert: Convert, *, required: bool = True, variadic: bool = False
    ) -> None:
        self.dest = dest
        self.metavar = metavar
        self.convert = convert
        self.required = required
        self.variadic = variadic


class Command:
    """One verb. `run` is its handler.

    - examples: (command line, what it does) for the help text.
    - exclusive: groups of dests of which one at most may be given.
    - stop_at_argument: everything from the first argument on is arguments (they are somebody else's command line).
    - words: {first word: (module, summary)}: commands of their own that share the program's name.
    """

    __slots__ = ("arguments", "examples", "exclusive", "name", "options", "run", "stop_at_argument", "summary", "words")

    def __init__(
        self,
        name: str,
        summary: str,
        run: Handler,
        *,
        options: tuple[Option, ...] = (),
        arguments: tuple[Argument, ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
        exclusive: tuple[tuple[str, ...], ...] = (),
        stop_at_argument: bool = False,
        words: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self.name = name
        self.summary = summary
        self.run = run
        self.options = options + CONNECTION
        self.arguments = arguments
        self.examples = examples
        self.exclusive = exclusive
        self.stop_at_argument = stop_at_argument
        self.words = words or {}


class Group:
    """A program with several verbs. `members` maps each name and alias to the module whose COMMAND it is.

    `aliases` maps the short names among them to the long ones.
    """

    __slots__ = ("aliases", "examples", "members", "name", "options", "summary")

    def __init__(
        self,
        name: str,
        summary: str,
        members: Mapping[str, str],
        *,
        aliases: Mapping[str, str] | None = None,
        examples: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.name = name
        self.summary = summary
        self.members = members
        self.aliases = aliases or {}
        self.examples = examples
        self.options = CONNECTION

    def load(self, word: str) -> Command | Group | None:
        """The member called `word`, None if there is none."""
        module = self.members.get(self.aliases.get(word, word))
        return None if module is None else load(module)

    def summary_of(self, word: str) -> str:
        """What the member called `word` is for."""
        member = self.load(word)
        return member.summary if member is not None else ""


def load(module: str) -> Command | Group:
    """The table in `module`; importlib would cost more than what it loads."""
    loaded = __import__(module, fromlist=["COMMAND"]).COMMAND
    assert isinstance(loaded, Command | Group)
    return loaded


def fill(options: tuple[Option, ...], given: Values) -> Values:
    """`given` with the defaults of the options that were not."""
    return {option.dest: option.default for option in options} | given


CONNECTION: tuple[Option, ...] = (
    Option(
        "--url",
        convert=str,
        metavar="URL",
        help="The daemon's endpoint, as unix:/path, https://host:port or http://host:port (default: $GFLOW_URL).",
    ),
    Option(
        "--cacert",
        convert=str,
        metavar="FILE",
        help="Trust the certificate authorities in this file, in place of the system's (default: $GFLOW_CACERT).",
    ),
    Option("--config", convert=str, metavar="PATH", help="Read this configuration file."),
)
"""Every command that talks to the daemon takes these."""
