"""Converters: the text of an option's value to what a handler works with. Each raises ValueError with one line."""

from __future__ import annotations

from gflow.core import limits
from gflow.core.gpu_list import parse_gpu_list
from gflow.core.limits import parse_memory_mb, parse_time_limit
from gflow.core.listed import split

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from re import Pattern

_MAX_COUNT = 1_000_000


def count(text: str) -> int:
    """A whole number from 0 to a million."""
    return _whole(text, 0)


def positive(text: str) -> int:
    """A whole number from 1 to a million."""
    return _whole(text, 1)


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or not least <= int(text[:8]) <= _MAX_COUNT:
        raise ValueError(f"'{text}' is not a whole number from {least} to {_MAX_COUNT}")
    return int(text)


def signed(text: str) -> int:
    """A whole number; a minus counts from the end, a plus may be there."""
    return -count(text[1:]) if text.startswith("-") else count(text.removeprefix("+"))


def gpus(text: str) -> int:
    """`2`, or `gpu:2` and `gpu` as in Slurm's --gres."""
    if text.count(":") > 1 or (":" in text and not text.startswith("gpu:")):
        raise ValueError(f"'{text}' asks for a kind of GPU; write N or gpu:N, or name them with --gpu-ids")
    return 1 if text == "gpu" else count(text.removeprefix("gpu:"))


def gpus_or_all(text: str) -> list[int] | str:
    """Indices of `0,2-3`, or the word "all"."""
    return "all" if text.strip().lower() == "all" else parse_gpu_list(text)


def gpu_ids(text: str) -> list[int]:
    """The indices of `0,3` or `0-2`, ascending."""
    return parse_gpu_list(text)


def priority(text: str) -> int:
    """From 0 to 255. What is no number may be the name of one of Slurm's partitions, which -p is there."""
    if not text.isdigit():
        raise ValueError(f"'{text}' is not a number from 0 to 255; it is a priority, and there are no partitions here")
    number = count(text)
    if number > 255:
        raise ValueError(f"{number} is not in the range 0-255")
    return number


def span_secs(text: str) -> float:
    """Seconds, with fractions, from a tenth to a day."""
    try:
        secs = float(text) if text.isascii() else 0.0
    except ValueError:
        secs = 0.0
    if not 0.1 <= secs <= 86400:
        raise ValueError(f"'{text}' is not a number of seconds from 0.1 to 86400")
    return secs


def time_limit(text: str) -> int:
    """Seconds."""
    return parse_time_limit(text)


def time_limit_change(text: str) -> tuple[str, int]:
    """("set" or "add", seconds): a time limit, or with a sign in front a change of one."""
    if text[:1] in ("+", "-"):
        secs = parse_time_limit(text[1:])
        return "add", secs if text[0] == "+" else -secs
    return "set", parse_time_limit(text)


def memory_mb(text: str) -> int:
    """MiB. Slurm's 0, all there is, is told how to be had."""
    if text.strip() and not text.strip().strip("0"):
        raise ValueError(f"'{text}' is no memory size; where there is to be no limit, leave the option out")
    return parse_memory_mb(text)


def names(text: str) -> list[str]:
    """A comma list of words; `\\,` is a comma in one."""
    found = split(text)
    if not all(found):
        raise ValueError(f"'{text}' has an empty item")
    return found


def email_address(text: str) -> str:
    """An address to send mail to."""
    from gflow.core.notices import check_address

    return check_address(text.strip())


def job_events(text: str) -> list[str]:
    """Names of events of a comma list, in any case."""
    from gflow.core.notices import check_event

    return [check_event(name.lower()) for name in names(text)]


def trimmed(text: str) -> str:
    """A text in which blanks around it do not count; it may be empty."""
    return text.strip()


def not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("it must not be empty")
    return text.strip()


def line(text: str, most: int = limits.MAX_KEY) -> str:
    """A text of one line that is not empty, without blanks around it."""
    found = not_empty(text)
    if len(found) > most or not found.isprintable():
        raise ValueError(f"it must be one line of at most {most} printable characters")
    return found


def name(text: str) -> str:
    """What a job or a group is called."""
    return line(text, limits.MAX_NAME)


def project(text: str) -> str:
    """The code of a project; empty for none."""
    return line(text, limits.MAX_PROJECT) if text.strip() else ""


def reason(text: str) -> str:
    """Why a job is cancelled."""
    return line(text, limits.MAX_REASON)


def drain_reason(text: str) -> str:
    """Why nothing is started."""
    return line(text, limits.MAX_DRAIN_REASON)


def retries(text: str) -> int:
    """How often a job is run again."""
    number = count(text)
    if number > limits.MAX_RETRIES:
        raise ValueError(f"{number} is not in the range 0-{limits.MAX_RETRIES}")
    return number


def array(text: str) -> tuple[tuple[int, ...], int | None]:
    """The indices of `1-10:2` or `1,4,7`, and how many may run at once, as in `0-99%4`."""
    from gflow.cli.arrays import parse

    return parse(text)


def param(text: str) -> tuple[str, list[str]]:
    """A parameter's name and its values."""
    from gflow.cli.params import parse

    return parse(text)


def dependency(text: str) -> tuple[list[tuple[int, int] | str], str, bool]:
    """(ids and shorthands, "All" or "Any", whether any end will do) of `42`, `@~1` or `afterok:41:42`."""
    from gflow.cli.dependency import parse

    return parse(text)


def assignment(text: str) -> tuple[str, str]:
    """(name, value) of `lr=0.1`."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier() or not name.isascii():
        raise ValueError(f"'{text}' is not NAME=VALUE, e.g. lr=0.1")
    return name, value


def interval(text: str) -> float:
    """Seconds between two looks, 0.1 to an hour."""
    try:
        secs = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number of seconds") from None
    if not 0.1 <= secs <= 3600:
        raise ValueError(f"'{text}' is not from 0.1 to 3600 seconds")
    return secs


def wildcard(text: str) -> str:
    """A text that may have `*`, `?` and `[...]` for others; a backslash takes the meaning from them."""
    if text.replace("\\[", "").rfind("[") > text.rfind("]"):
        raise ValueError(f"'{text}' has a [ without its ]; for a [ itself write \\[")
    return text


def wildcards(text: str) -> list[str]:
    """A comma list of such; `\\,` is a comma in one."""
    return [wildcard(name) for name in names(text)]


def pattern(text: str) -> Pattern[str]:
    """A regular expression."""
    import re

    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"'{text}' is no regular expression: {error}") from error


def early_signal(text: str) -> tuple[int, int]:
    """(signal number, seconds before the end) of `USR1@120`; a minute before where that is left out, as with Slurm.

    Slurm's `B:` and `R:` in front, which say whether the shell gets it, do not count: here all processes do.
    """
    name, at, secs = text.partition("@")
    name = name[2:] if name[:2].upper() in ("B:", "R:") else name
    number = signal_number(name)
    return number, positive(secs) if at else 60


def signal_number(name: str) -> int:
    """The number of `USR1`, `SIGUSR1` or `10`."""
    import signal

    word = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
    number = int(name) if name.isascii() and name.isdigit() else getattr(signal, word, None)
    if "_" in word or not isinstance(number, int) or not 0 < number < 65:
        raise ValueError(f"'{name}' is not a signal, e.g. USR1 or TERM")
    return int(number)


def signal_name(number: int) -> str:
    """`USR1` of 10; the number where it has no name here."""
    import signal

    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def export(text: str) -> str | list[str]:
    """ "ALL", "NONE", or a list of names and `NAME=VALUE`, with "ALL" among them for all others as well."""
    if text in ("ALL", "NONE"):
        return text
    found = names(text)
    for item in found:
        name = item.partition("=")[0]
        if not name or name == "NONE" or "\0" in item:
            raise ValueError(f"'{item}' is no variable; give ALL, NONE, or a list of NAME and NAME=VALUE")
    return found


def begin(text: str) -> float:
    """The moment, in seconds since the epoch."""
    import time

    from gflow.core.moments import parse_begin

    return parse_begin(text, time.time())


def since(text: str) -> int:
    """The moment, in seconds since the epoch."""
    import time

    from gflow.core.moments import parse_since

    return int(parse_since(text, time.time()))


def before(text: str) -> float:
    """A moment that is past, in seconds since the epoch."""
    import time

    from gflow.core.moments import parse_since

    now = time.time()
    moment = parse_since(text, now)
    if moment > now:
        raise ValueError(f"'{text}' is in the future")
    return moment


def lifetime(text: str) -> float:
    """Seconds of `90s`, `45m`, `12h`, `30d`, `4w`: up to ten years."""
    number, unit = text[:-1], {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}.get(text[-1:])
    is_number = number.isascii() and number.isdigit() and len(number) <= 9
    secs = float(number) * unit if is_number and unit is not None else 0.0
    if not 0 < secs <= 10 * 366 * 86400:
        raise ValueError(f"'{text}' is not a time such as 12h, 30d or 4w, of up to ten years")
    return secs


def kind_of_answer(text: str) -> str:
    """How gbatch is to answer. What is no such word is likely to be the name of a file, which -o takes in Slurm."""
    try:
        return choice("text", "json", "yaml")(text)
    except ValueError as error:
        hint = "gjob log shows what a job prints; to have it in a file: gbatch 'COMMAND >FILE 2>&1'"
        raise ValueError(f"{error}; {hint}") from None


def choice(*allowed: str) -> Callable[[str], str]:
    """One of `allowed`, in any case."""

    def convert(text: str) -> str:
        word = text.lower()
        if word not in allowed:
            raise ValueError(f"'{text}' is not one of {', '.join(allowed)}")
        return word

    return convert
