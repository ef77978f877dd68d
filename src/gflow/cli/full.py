"""The full reader of command lines: an asyncclick command made from the same table as the quick one.

It is loaded for help, and for every command line `quick` does not take, so its words are what a person reads
when something is wrong. asyncclick's coroutines never wait here, so they are driven by hand and no event loop is
loaded.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NoReturn, cast

import asyncclick as click

from gflow import __version__
from gflow.cli.command import Argument, Command, Group, Option
from gflow.cli.quick import exclusive_message, twice_message
from gflow.client.plain import harmless

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gflow.cli.command import Convert, Values

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def read(table: Command | Group, argv: list[str], prog: str) -> tuple[Command, Values, str]:
    """The command meant, what was given, and the words that name it.

    Ends the process after help, and with status 2 after an error.
    """
    try:
        outcome = _drive(_build(table, table.name).main(args=argv, prog_name=prog, standalone_mode=False))
    except click.ClickException as error:
        refuse(_explained(error) if table.name == "gbatch" else error, prog)
    if isinstance(outcome, int):
        sys.exit(outcome)
    return cast("tuple[Command, Values, str]", outcome)


def complaint(options: tuple[Option, ...], words: list[str]) -> str:
    """What is wrong with `words`, which `quick` did not take as `options`; one line."""
    built = click.Command("directive", callback=_nothing, params=[*map(_option, options)], add_help_option=False)
    try:
        _drive(built.main(args=words, prog_name="directive", standalone_mode=False))
    except click.ClickException as error:
        return _one_line(_explained(error))
    return "it cannot be read."


def _explained(error: click.ClickException) -> click.ClickException:
    """The error with what to do instead, if it is about an option of sbatch; only gbatch has such."""
    from gflow.cli.slurm_options import instead_of

    name = error.option_name if isinstance(error, click.NoSuchOption) else ""
    hint = instead_of(name)
    if hint is not None:
        error = click.UsageError(f"No such option '{name}': {hint}", ctx=getattr(error, "ctx", None))
    return error


def _nothing(**params: Any) -> None:
    """The callback of a command that is only parsed."""


def _drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("reading a command line must not wait for anything")


def refuse(error: click.ClickException, prog: str) -> NoReturn:
    """Say in one line what is wrong with a command line, and end the process. Verbs alone are a question for help."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print(error.message, flush=True)
        sys.exit(0)
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else prog
    print(f"{path}: {harmless(_one_line(error))} See '{path} --help'.", file=sys.stderr)
    sys.exit(error.exit_code)


def _one_line(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    return message if message.endswith((".", "?", "!", "?)")) else f"{message}."


class _Value(click.ParamType[Any]):
    """A value read by one of our converters."""

    def __init__(self, convert: Convert, metavar: str) -> None:
        self.name = metavar.lower()
        self._convert = convert

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._convert(value.replace(_VALUE, "") if isinstance(value, str) else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


_VALUE = "\0"
"""Marks the beginning of a value; no word of a command line can hold one."""


class _Command(click.Command):
    """A command that takes what stands behind `=` for the value, also for an option that may do without, and whatever
    it looks like."""

    def __init__(self, name: str, table: Command, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._unclear = tuple(
            f"{name}=-" for option in table.options if option.bare is not None for name in option.names
        )

    async def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        given = [_marked(word) if word.startswith(self._unclear) else word for word in args[:end]]
        return await super().parse_args(ctx, given + args[end:])


def _marked(word: str) -> str:
    name, _, value = word.partition("=")
    return f"{name}={_VALUE}{value}"


class _Members(click.Group):
    """A group whose members are loaded when they are looked at."""

    def __init__(self, table: Group, **settings: Any) -> None:
        super().__init__(**settings)
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._table.members)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        name = self._table.aliases.get(cmd_name, cmd_name)
        if name not in self._table.members:
            return None
        module = __import__(self._table.members[name], fromlist=["COMMAND"])
        made = getattr(module, "COMMAND", None) or getattr(module, name)  # gflowd is made with asyncclick itself
        return made if isinstance(made, click.Command) else _build(made, name)

    async def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            names = [*self._table.members, *self._table.aliases]
            raise click.NoSuchCommand(args[0], possibilities=names, ctx=ctx)
        _, command, rest = await super().resolve_command(ctx, args)
        return (command.name if command is not None else None), command, rest


def _build(table: Command | Group, name: str) -> click.Command:
    if isinstance(table, Group):
        return _Members(
            table,
            name=name,
            help=table.summary,
            epilog=_examples(table.examples),
            params=[*map(_option, table.options), _version()],
            context_settings=dict(_SETTINGS),
            subcommand_metavar="COMMAND ...",
        )
    command = table

    def collect(**params: Any) -> tuple[Command, Values, str]:
        context, given = click.get_current_context(), _collected(command, params)
        path = context.command_path
        while context.parent is not None:
            context = context.parent
            given = _given(command.options, context.params) | given
        return command, given, path

    return _Command(
        name,
        command,
        callback=collect,
        params=[*map(_option, command.options), *map(_argument, command.arguments), _version()],
        help=command.summary,
        epilog=_examples(command.examples),
        context_settings={**_SETTINGS, "allow_interspersed_args": not command.stop_at_argument},
    )


def _collected(command: Command, params: Values) -> Values:
    given = _given(command.options, params)
    for group in command.exclusive:
        if sum(dest in given for dest in group) > 1:
            raise click.UsageError(exclusive_message(command.options, group, given))
    for argument in command.arguments:
        value = params[argument.dest]
        given[argument.dest] = list(value) if argument.variadic else value
    return given


def _given(options: tuple[Option, ...], params: Values) -> Values:
    values = {option: params.get(option.dest) for option in options}
    return {
        option.dest: list(value) if option.multiple else value
        for option, value in values.items()
        if value is not None and not (option.multiple and not value)
    }


def _option(option: Option) -> click.Option:
    common: dict[str, Any] = {"help": option.help, "hidden": option.hidden, "default": None}
    if option.convert is None:
        return click.Option([option.dest, *option.names], is_flag=True, flag_value=True, **common)
    kind = _Value(option.convert, option.metavar or "VALUE")
    if option.bare is not None:
        common |= {"is_flag": False, "flag_value": option.bare}
    if option.once is not None:
        common |= {"callback": _once(option)}
    several = option.multiple or option.once is not None
    return click.Option([option.dest, *option.names], type=kind, metavar=option.metavar, multiple=several, **common)


def _once(option: Option) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def single(ctx: click.Context, param: click.Parameter, value: Any) -> Any:  # noqa: ARG001
        if value and len(value) > 1:
            raise click.UsageError(f"{twice_message(option)}.", ctx=ctx)
        return value[0] if value else None

    return single


def _argument(argument: Argument) -> click.Argument:
    return click.Argument(
        [argument.dest],
        type=_Value(argument.convert, argument.metavar),
        metavar=argument.metavar + ("..." if argument.variadic else ""),
        nargs=-1 if argument.variadic else 1,
        required=argument.required,
    )


def _version() -> click.Option:
    def show(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: ARG001
        if value and not ctx.resilient_parsing:
            print(f"{ctx.find_root().info_name} {__version__}")
            raise click.exceptions.Exit(0)

    return click.Option(
        ["--version"], is_flag=True, expose_value=False, is_eager=True, callback=show, help="Show the version and exit."
    )


def _examples(examples: tuple[tuple[str, str], ...]) -> str | None:
    if not examples:
        return None
    lines = [line for example, meaning in examples for line in (f"  {example}", f"      {meaning}")]
    return "\b\n" + "\n".join(["Examples:", *lines])
