"""The settings of a method as options, from a file, and printed: all made from the fields of its config."""

from __future__ import annotations

import functools
import inspect
import json
import tomllib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
from pydantic import ValidationError

from dynaflex.cli.help import Command
from dynaflex.cli.inputs import FILES
from dynaflex.config import InputFile, Option, RunConfig, configuration, fault_of
from dynaflex.errors import InputError, UsageError

_GROUP = "Settings in a file"
PRINT = "--print-config"
_FILE, _BEFORE = "file_", "before_"
_MADE = ("own", "config")


class MethodCommand(Command):
    """The command of a method, of which nothing is required where its settings are only printed."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what was typed."""
        if PRINT in args:
            for parameter in self.params:
                parameter.required = False
        return super().parse_args(ctx, args)


def with_settings(config: type[RunConfig]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every setting in ``config``, and these as its parameter ``config``; and one for
    every file that the method alone takes, those that were given as its parameter ``own``, by name.

    ``--config FILE`` gives the defaults of those that are not typed; ``--print-config`` prints the settings and ends.
    """
    given = config.options()
    files = {f"{_FILE}{key}": file for key, file in config.files.items()}
    before = {f"{_BEFORE}{key}": file for key, file in config.files.items() if file.before is not None}
    made = [_file_parameter(name, f"--{name.removeprefix(_FILE)}", file) for name, file in files.items()]
    made += [_file_parameter(name, f"--{file.before}", file, hidden=True) for name, file in before.items()]
    made += [_parameter(name, _option(config, name, option), config) for name, option in given.items()]
    made += [
        inspect.Parameter("config_file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_file(config)),
        inspect.Parameter("print_config", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=_PRINT),
    ]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name not in _MADE]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            paths = {file.name: values.pop(name) for name, file in before.items()}
            paths |= {file.name: path for name, file in files.items() if (path := values.pop(name)) is not None}
            settings = configuration(config, {name: values.pop(name) for name in given}, config.option_name)
            del values["config_file"]
            if values.pop("print_config"):
                typer.echo(as_toml(settings), nl=False)
            else:
                command(**values, own={name: path for name, path in paths.items() if path is not None}, config=settings)

        return _signed(wrapped, [*own, *made])

    return decorate


def with_common_settings(without: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for every setting that all methods have, but for those it has itself; what was typed is
    its parameter ``settings``, by field. Each method has defaults of its own."""
    given = {name: option for name, option in RunConfig.options().items() if name not in without}
    made = []
    for name, option in given.items():
        one = _parameter(name, _option(RunConfig, name, option), RunConfig)
        kind, *told = get_args(one.annotation)
        made.append(one.replace(default=None, annotation=Annotated[kind | None, *told]))

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [one for one in inspect.signature(command, eval_str=True).parameters.values() if one.name != "settings"]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            typed = {name: value for name in given if (value := values.pop(name)) is not None}
            command(**values, settings=typed)

        return _signed(wrapped, [*own, *made])

    return decorate


def read_settings(path: Path, config: type[RunConfig]) -> dict[str, Any]:
    """Settings by field from a TOML file, whose keys are the names of options, with dashes or with underscores.

    Raises:
        InputError: the file cannot be read, or is no TOML.
        UsageError: a key is no setting, or its value cannot be meant.
    """
    try:
        with path.open("rb") as stream:
            written = tomllib.load(stream)
    except (OSError, ValueError) as error:
        raise InputError(
            "config.unreadable", "these settings cannot be read", file=path, expected="lines like epochs = 20",
            found=getattr(error, "strerror", None) or error, fix="--print-config prints such a file",
        ) from error  # fmt: skip
    keys = {}
    for key in written:
        try:
            keys[config.field_of(key)] = key
        except UsageError as error:
            raise error.but(file=path) from error
    values = {name: written[key] for name, key in keys.items()}
    try:
        config.model_validate(values, strict=True)
    except ValidationError as error:
        name, found, expected = fault_of(error)
        key = keys[name]
        raise UsageError(
            "config.value", f"the setting {key!r} cannot be {found!r}", file=path, expected=expected
        ) from error
    return values


def as_toml(settings: RunConfig) -> str:
    """The settings as ``--config`` reads them, group by group; a comment stands for one that is left to the data."""
    groups: dict[str, list[str]] = {}
    for name, option in settings.options().items():
        key, value = settings.key_of(name), getattr(settings, name)
        line = f"# {key} is not set" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}"
        groups.setdefault(option.group, []).append(line)
    return "\n".join(f"# {group}\n" + "".join(f"{line}\n" for line in lines) for group, lines in groups.items())


def _signed(wrapped: Callable[..., None], parameters: Iterable[inspect.Parameter]) -> Callable[..., None]:
    """A command that seems to have these parameters."""
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in parameters]
    setattr(wrapped, "__signature__", inspect.Signature(parameters))  # noqa: B010
    wrapped.__annotations__ = {one.name: one.annotation for one in parameters}
    return wrapped


def _option(config: type[RunConfig], name: str, option: Option) -> Any:
    """The option for a setting; a switch can be turned off as well, for one that a file turns on."""
    field, typed = config.model_fields[name], config.option_name(name)
    if field.annotation is bool:
        return typer.Option(
            f"{typed}/--no-{typed.removeprefix('--')}", help=field.description, rich_help_panel=option.group,
            show_default=False,
        )  # fmt: skip
    return typer.Option(typed, help=field.description, rich_help_panel=option.group, metavar=option.unit)


def _parameter(name: str, option: Any, config: type[RunConfig]) -> inspect.Parameter:
    field = config.model_fields[name]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=Annotated[field.annotation, option]
    )


def _file_parameter(name: str, typed: str, file: InputFile, hidden: bool = False) -> inspect.Parameter:
    option = typer.Option(typed, metavar="FILE", rich_help_panel=FILES, help=file.help, hidden=hidden)
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None, annotation=Annotated[Path | None, option])


def _file(config: type[RunConfig]) -> Any:
    def read(context: typer.Context, path: Path | None) -> Path | None:
        if path is not None and not context.resilient_parsing:
            context.default_map = {**(context.default_map or {}), **read_settings(path, config)}
        return path

    option = typer.Option(
        "--config", help="Settings from a TOML file; what is typed wins.", metavar="FILE", is_eager=True,
        callback=read, rich_help_panel=_GROUP,
    )  # fmt: skip
    return Annotated[Path | None, option]


_PRINT = Annotated[
    bool,
    typer.Option(
        PRINT, help="Print all settings as such a file, and leave; nothing else need be given.", rich_help_panel=_GROUP
    ),
]
