"""The quick reader of command lines: accepts what is plainly right, and leaves the rest to `full`.

It follows click's rules for what it accepts: `--name value`, `--name=value`, `-nVALUE`, `-n VALUE`, clustered flags,
`--` before arguments, the last of repeated options wins, but for those that are `once`. Whatever else comes,
`Unclear` is raised and says why.
"""

from __future__ import annotations

from gflow.cli.command import Argument, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from gflow.cli.command import Convert, Values

    Found = dict[Option, list[str]]


class Unclear(Exception):
    """This reader does not take it; the message says why."""


def read(command: Command, argv: list[str]) -> Values:
    """What was given, by dest. Raises `Unclear`."""
    given, words = read_options(command.options, argv, stop_at_argument=command.stop_at_argument)
    given |= _arguments(command.arguments, words)
    for group in command.exclusive:
        if sum(dest in given for dest in group) > 1:
            raise Unclear(exclusive_message(command.options, group, given))
    return given


def read_options(
    options: tuple[Option, ...], argv: list[str], *, stop_at_argument: bool = False
) -> tuple[Values, list[str]]:
    """The options in `argv`, and the words that are left. Raises `Unclear`."""
    by_name = {name: option for option in options for name in option.names}
    found: Found = {}
    words: list[str] = []
    rest = argv[::-1]
    while rest:
        word = rest.pop()
        if word == "--":
            break
        if len(word) < 2 or word[0] != "-":
            words.append(word)
            if stop_at_argument:
                break
        elif word.startswith("--"):
            _long(by_name, word, rest, found)
        else:
            _short(by_name, word, rest, found)
    return {option.dest: _value(option, texts) for option, texts in found.items()}, words + rest[::-1]


def _long(by_name: dict[str, Option], word: str, rest: list[str], found: Found) -> None:
    name, equals, value = word.partition("=")
    option = by_name.get(name)
    if option is None:
        raise Unclear(f"no such option: {name}")
    texts = found.setdefault(option, [])
    if option.convert is not None:
        texts.append(value if equals else _next(name, rest, option.bare))
    elif equals:
        raise Unclear(f"option {name} takes no value")


def _short(by_name: dict[str, Option], word: str, rest: list[str], found: Found) -> None:
    for at in range(1, len(word)):
        name = f"-{word[at]}"
        option = by_name.get(name)
        if option is None:
            raise Unclear(f"no such option: {name}")
        texts = found.setdefault(option, [])
        if option.convert is not None:
            texts.append(word[at + 1 :] or _next(name, rest, option.bare))
            return


def _next(name: str, rest: list[str], bare: str | None) -> str:
    if bare is not None and (not rest or (len(rest[-1]) > 1 and rest[-1][0] == "-")):
        return bare
    if not rest:
        raise Unclear(f"option {name} needs a value")
    return rest.pop()


def _value(option: Option, texts: list[str]) -> object:
    """What the handler gets: of an option that was repeated, the last text counts."""
    if option.convert is None:
        return True
    if option.multiple:
        return [_converted(option.convert, option.dest, text) for text in texts]
    if option.once and len(texts) > 1:
        raise Unclear(twice_message(option))
    return _converted(option.convert, option.dest, texts[-1])


def _converted(convert: Convert, name: str, text: str) -> object:
    try:
        return convert(text)
    except ValueError as error:
        raise Unclear(f"{name}: {error}") from error


def _arguments(arguments: tuple[Argument, ...], words: list[str]) -> Values:
    given: Values = {}
    left = words
    for argument in arguments:
        taken, left = (left, []) if argument.variadic else (left[:1], left[1:])
        if argument.required and not taken:
            raise Unclear(f"missing {argument.metavar}")
        values = [_converted(argument.convert, argument.metavar, word) for word in taken]
        if argument.variadic:
            given[argument.dest] = values
        else:
            given[argument.dest] = values[0] if values else None
    if left:
        raise Unclear(f"unexpected argument '{left[0]}'")
    return given


def twice_message(option: Option) -> str:
    """That an option was given twice of which one at most is meant, and what to write instead."""
    return f"{_long_name(option)} is given twice; {option.once}"


def exclusive_message(options: tuple[Option, ...], group: tuple[str, ...], given: Values) -> str:
    """Which options of `group` cannot be used together."""
    names = [_long_name(option) for option in options if option.dest in group and option.dest in given]
    return f"{' and '.join(names)} cannot be used together"


def _long_name(option: Option) -> str:
    return next(name for name in option.names if name.startswith("--"))
