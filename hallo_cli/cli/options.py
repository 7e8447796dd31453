"""Options as data: a parameter of a command is one option, or a dataclass whose fields are options.

`option`, `rare` and `argument` describe such a parameter or field. A parameter of type `Sources` stands for
one option for each setting, so that the settings' dataclasses stay the only source of what can be set.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from hallo_cli.cli.help import HelpfulCommand, keep_example, show_all
from hallo_cli.settings.preset_files import list_presets
from hallo_cli.settings.resolve import Sources, flag_of
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import describe, fields_of, limits_of, to_values, type_of

PANELS = {RenderSettings: "What is rendered", RuntimeSettings: "How it is computed"}
MORE = "More options"  # the panel of rare options that belong to no other one
EVERYDAY = {"bundle", "seed", "steps", "duration", "framing", "canvas", "device"}  # shown without --help-all
MAX_WIDTH = 120  # columns of help
Command = TypeVar("Command", bound=Callable[..., Any])


class Application(typer.Typer):
    """A Typer application whose commands show this package's help and take options as data."""

    def __init__(self, *, help: str, **options: Any) -> None:
        super().__init__(
            help=keep_example(help),
            no_args_is_help=True,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
            context_settings={"help_option_names": ["-h", "--help"], "max_content_width": MAX_WIDTH},
            **options,
        )

    def command(
        self, name: str | None = None, *, help: str | None = None, **options: Any
    ) -> Callable[[Command], Command]:
        """Register a command, as Typer does; its help is its docstring."""
        register = super().command

        def registered(command: Command) -> Command:
            text = keep_example(help or inspect.getdoc(command))
            register(name, cls=HelpfulCommand, help=text, **options)(_spread(command))
            return command

        return registered


def option(default: Any, help: str, *names: str, **how: Any) -> Any:
    """An option that shows its default unless the help names it; `...`: it must be given.

    Without `names` it is --NAME, also where it is a switch.
    """
    return _described(typer.Option, default, help, *names, **how)


def rare(default: Any, help: str, *names: str, **how: Any) -> Any:
    """An option that only --help-all shows."""
    return option(default, help, *names, rich_help_panel=MORE, **how)


def argument(default: Any, help: str, **how: Any) -> Any:
    """An argument that shows its default unless the help names it; `...`: it must be given."""
    return _described(typer.Argument, default, help, **how)


def _described(kind: Callable[..., Any], default: Any, help: str, *names: str, **how: Any) -> Any:
    """A dataclass field that knows its option."""
    described = kind(..., *names, **{"help": help, "show_default": "[default: " not in help, **how})
    return dataclasses.field(default=default, metadata={"typer": described})


AS_JSON = option(False, "Print one JSON object.", "--json")
HELP_ALL = option(False, "Show all options.", callback=show_all, is_eager=True)


def starting_with(words: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """Shell completion of a value: the words that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    return complete


def explain(key: str) -> str:
    """What a setting is and accepts, on one line."""
    fields = {**fields_of(RenderSettings), **fields_of(RuntimeSettings)}
    return f"{limits_of(fields[key]).help} ({describe(fields[key])})"


def _spread(command: Callable[..., Any]) -> Callable[..., None]:
    """The command as Typer takes it: one parameter for each option."""
    hints = get_type_hints(command, include_extras=True)
    own = inspect.signature(command)
    seen = {name: _parameters(name, hints[name], one.default) for name, one in own.parameters.items()}
    parameters = [one for group in seen.values() for one in group]
    if any(_panel_of(one) for one in parameters):
        parameters.append(_parameter("help_all", bool, HELP_ALL))

    @functools.wraps(command)
    def wrapper(**typed: Any) -> None:
        command(**{name: _value(name, hints[name], group, typed) for name, group in seen.items()})

    wrapper.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    wrapper.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return wrapper


def _parameters(name: str, kind: Any, default: Any) -> list[inspect.Parameter]:
    """The options of one parameter of a command; `Annotated[Sources, KEYS]` names the everyday settings."""
    kind, everyday = get_args(kind) if get_origin(kind) is Annotated else (kind, EVERYDAY)
    if kind is Sources:
        return [*_source_parameters(everyday), *_setting_parameters(everyday)]
    if not dataclasses.is_dataclass(kind):
        return [_parameter(name, kind, default)]
    hints = get_type_hints(kind)
    return [_parameter(one.name, hints[one.name], one) for one in dataclasses.fields(kind) if one.metadata]


def _value(name: str, kind: Any, group: list[inspect.Parameter], typed: dict[str, Any]) -> Any:
    """What a parameter of a command gets from the options that were typed."""
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if not dataclasses.is_dataclass(kind):
        return typed[name]
    values = {one.name: typed[one.name] for one in group}
    if kind is not Sources:
        return kind(**values)  # type: ignore[operator]
    preset, config = values.pop("preset"), values.pop("config")
    flags = {key: value for key, value in values.items() if value is not None}
    return Sources(flags, config=config, preset=preset)


def _source_parameters(everyday: Collection[str]) -> list[inspect.Parameter]:
    panel = None if everyday else PANELS[RenderSettings]
    preset = option(
        None,
        "A named set of settings; hallo presets list shows them.",
        metavar="NAME",
        rich_help_panel=panel,
        autocompletion=starting_with(list_presets),
    )
    config = option(None, "A TOML file with your own settings.", metavar="FILE", rich_help_panel=panel)
    return [_parameter("preset", str | None, preset), _parameter("config", Path | None, config)]


def _setting_parameters(everyday: Collection[str]) -> list[inspect.Parameter]:
    return [
        _parameter(
            key, (bool if type_of(field) is bool else str) | None, _setting(kind, key, key in everyday)
        )
        for kind in PANELS
        for key, field in fields_of(kind).items()
    ]


def _setting(kind: type, key: str, is_everyday: bool) -> Any:
    """The option of a setting."""
    field = fields_of(kind)[key]
    limits = limits_of(field)
    default = to_values(kind())[key]
    flag = flag_of(key)
    is_switch = type_of(field) is bool
    return option(
        None,
        f"{limits.help}  [default: {_word(default)}]",
        f"{flag}/{limits.off_flag or f'--no-{flag[2:]}'}" if is_switch else flag,
        metavar=None if is_switch else _metavar(field),
        rich_help_panel=None if is_everyday else PANELS[kind],
        autocompletion=starting_with(lambda: list(limits.choices)) if limits.choices else None,
    )


def _word(default: object) -> str:
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)


def _metavar(field: Any) -> str:
    limits = limits_of(field)
    if limits.choices:
        return "|".join((*limits.choices, *([limits.none_word] if limits.none_word else [])))
    word = {int: "N", float: "X", str: "TEXT"}[type_of(field)]
    word = "SECONDS" if field.name.endswith("_s") else word
    return f"{word}|{limits.none_word}" if limits.none_word else word


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    """One option as Typer takes it."""
    if isinstance(default, dataclasses.Field):
        described = copy.copy(default.metadata["typer"])
        if kind is bool and not described.param_decls:
            described.param_decls = (f"--{name.replace('_', '-')}",)
        kind, default = Annotated[kind, described], default.default
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def _panel_of(parameter: inspect.Parameter) -> str | None:
    """The panel of an option; None for arguments and everyday options."""
    panel: str | None = getattr(get_args(parameter.annotation)[-1], "rich_help_panel", None)
    return panel
