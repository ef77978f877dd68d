"""Where on a command line the cursor is, by the same tables and rules as those of the readers.

It forgives: what is wrong in front of the cursor is somebody else's matter.
"""

from __future__ import annotations

from gflow.cli.command import Argument, Command, Group, Option, load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Position:
    """What is being typed.

    - table, path: the table of the innermost verb, and the words that led there.
    - option, argument: whose value it is, if it is one.
    - word: what there is of it; `kept` stands in front of it in the same word, as `--states=` or `-o` do.
    - fresh: nothing but the options of a group has come since the verb.
    - begun: the place among the words at which somebody else's command line begins, if there is one.
    - given: the texts of the options in front of the cursor, by dest.
    """

    __slots__ = (
        "argument",
        "begun",
        "fresh",
        "given",
        "kept",
        "option",
        "path",
        "table",
        "taken",
        "takes_options",
        "word",
    )

    def __init__(self, table: Command | Group, word: str) -> None:
        self.table = table
        self.path: list[str] = []
        self.word = word
        self.kept = ""
        self.option: Option | None = None
        self.argument: Argument | None = None
        self.takes_options = True
        self.fresh = True
        self.taken = 0
        self.begun: int | None = None
        self.given: dict[str, str] = {}

    def enter(self, word: str, member: Command | Group) -> None:
        """Go on behind a verb."""
        self.path.append(word)
        self.table, self.fresh, self.taken = member, True, 0

    def option_in(self, word: str) -> tuple[Option | None, str | None]:
        """The option of `word` that takes a value, and the text of that as far as it is in the word."""
        by_name = {name: option for option in self.table.options for name in option.names if option.convert}
        if word.startswith("--"):
            name, equals, text = word.partition("=")
            return by_name.get(name), text if equals else None
        for at in range(1, len(word)):
            if option := by_name.get(f"-{word[at]}"):
                return option, word[at + 1 :] or None
        return None, None


def locate(table: Command | Group, words: Sequence[str], word: str) -> Position | None:
    """The position behind `words` (without the program's name), in `word`; None if they lead nowhere."""
    found = Position(table, word)
    for at, text in enumerate(words):
        if not _step(found, text, at):
            return None
    _look_at_word(found)
    return found


def _step(found: Position, text: str, at: int) -> bool:
    if found.option is not None and found.option.bare is not None and text.startswith("-"):
        found.option = None
    if found.option is not None:
        found.given[found.option.dest] = text
        found.option = None
    elif found.takes_options and text == "--":
        found.takes_options = found.fresh = False
    elif found.takes_options and text.startswith("-") and text != "-":
        _take_option(found, text)
    else:
        return _take_word(found, text, at)
    return True


def _take_option(found: Position, text: str) -> None:
    found.fresh = found.fresh and isinstance(found.table, Group)
    option, value = found.option_in(text)
    if option is not None and value is not None:
        found.given[option.dest] = value
    else:
        found.option = option


def _take_word(found: Position, text: str, at: int) -> bool:
    table = found.table
    if isinstance(table, Group):
        member = table.load(text)
        if member is not None:
            found.enter(text, member)
        return member is not None
    if found.fresh and text in table.words:
        found.enter(text, load(table.words[text][0]))
        return True
    found.taken, found.fresh = found.taken + 1, False
    if table.stop_at_argument and found.begun is None:
        found.takes_options, found.begun = False, at
    return True


def _look_at_word(found: Position) -> None:
    """Which value the word at the cursor is, if it is one."""
    if found.option is not None and found.option.bare is not None and found.word.startswith("-"):
        found.option = None
    if found.option is not None:
        return
    if found.takes_options and found.word.startswith("-"):
        option, text = found.option_in(found.word)
        if option is not None and text is not None:
            found.option, found.kept, found.word = option, found.word.removesuffix(text), text
    elif isinstance(found.table, Command):
        found.argument = _argument(found.table.arguments, found.taken)


def _argument(arguments: tuple[Argument, ...], taken: int) -> Argument | None:
    if taken < len(arguments):
        return arguments[taken]
    return arguments[-1] if arguments and arguments[-1].variadic else None
