"""Options that several commands share, grouped into values such as the settings.

`takes_settings` decorates a command whose parameters are dataclasses. Typer sees each `Annotated` field of
such a dataclass as one option, and a `Given` parameter as one option for each setting. So the dataclasses of
the settings stay the only source of what can be set.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from hallo_cli.cli.help import HelpAll
from hallo_cli.settings.preset_files import list_presets
from hallo_cli.settings.resolve import Resolved, Sources, flag_of, resolve
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import describe, fields_of, limits_of, to_values, type_of

PANELS = {RenderSettings: "What is rendered", RuntimeSettings: "How it is computed"}
EVERYDAY = {"bundle", "seed", "steps", "duration", "framing", "canvas", "device"}  # shown without --help-all


@dataclass(frozen=True)
class Given:
    """The settings that were given as flags, the preset and the config file."""

    flags: dict[str, object]
    preset: str | None
    config: Path | None

    @property
    def sources(self) -> Sources:
        """They and the environment."""
        return Sources(self.flags, os.environ, self.config, self.preset)

    def resolve(self) -> Resolved:
        """Merge them with the environment and the defaults. Raises SettingsError."""
        return resolve(self.sources)


def takes_settings(
    command: Callable[..., None], *, everyday: Collection[str] = EVERYDAY
) -> Callable[..., None]:
    """Replace every parameter of a command whose type is a dataclass by options for its fields.

    Of the settings, only the `everyday` ones are shown without --help-all.
    """
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    groups = {name: _Group(kind, everyday) for name, kind in hints.items() if dataclasses.is_dataclass(kind)}
    seen: list[inspect.Parameter] = []
    for name, parameter in own.parameters.items():
        seen += groups[name].parameters if name in groups else [parameter.replace(annotation=hints[name])]

    if any(_panel_of(parameter) for parameter in seen):
        seen.append(_parameter("help_all", HelpAll, False))

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        arguments.pop("help_all", None)
        values = {name: group.taken_from(arguments) for name, group in groups.items()}
        command(**arguments, **values)

    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in seen} | {"return": None}
    wrapper.__signature__ = own.replace(parameters=seen)  # type: ignore[attr-defined]
    return wrapper


def starting_with(words: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """Shell completion of a value: the words that begin with what was typed."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    return complete


class _Group:
    """The options that together form one value."""

    def __init__(self, kind: Any, everyday: Collection[str]) -> None:
        self._kind = kind
        if kind is Given:
            self.parameters = [*_source_parameters(everyday), *_setting_parameters(everyday)]
            return
        hints = get_type_hints(kind, include_extras=True)
        self.parameters = [
            _parameter(field.name, hints[field.name], field.default)
            for field in dataclasses.fields(kind)
            if get_origin(hints[field.name]) is Annotated
        ]

    def taken_from(self, arguments: dict[str, Any]) -> Any:
        """Remove this group's arguments from a call's and build the value from them."""
        typed = {parameter.name: arguments.pop(parameter.name) for parameter in self.parameters}
        if self._kind is not Given:
            return self._kind(**typed)
        preset, config = typed.pop("preset"), typed.pop("config")
        return Given({key: value for key, value in typed.items() if value is not None}, preset, config)


def _source_parameters(everyday: Collection[str]) -> list[inspect.Parameter]:
    panel = None if everyday else PANELS[RenderSettings]
    preset = typer.Option(
        "--preset",
        help="A named set of settings; hallo presets list shows them.",
        metavar="NAME",
        show_default=False,
        rich_help_panel=panel,
        autocompletion=starting_with(list_presets),
    )
    config = typer.Option(
        "--config",
        help="A TOML file with your own settings.",
        metavar="FILE",
        show_default=False,
        rich_help_panel=panel,
    )
    return [_optional("preset", str, preset), _optional("config", Path, config)]


def _setting_parameters(everyday: Collection[str]) -> list[inspect.Parameter]:
    return [
        _optional(key, bool if type_of(field) is bool else str, _option(kind, key, key in everyday))
        for kind in PANELS
        for key, field in fields_of(kind).items()
    ]


def _option(kind: type, key: str, is_everyday: bool) -> Any:
    field = fields_of(kind)[key]
    limits = limits_of(field)
    default = to_values(kind())[key]
    flag = flag_of(key)
    is_switch = type_of(field) is bool
    return typer.Option(
        f"{flag}/{limits.off_flag or f'--no-{flag[2:]}'}" if is_switch else flag,
        help=f"{limits.help}  [default: {_word(default)}]",
        metavar=None if is_switch else _metavar(field),
        show_default=False,
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


def _optional(name: str, kind: type, option: Any) -> inspect.Parameter:
    return _parameter(name, Annotated[kind | None, option], None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _panel_of(parameter: inspect.Parameter) -> str | None:
    """The panel of an option; None for arguments and everyday options."""
    option = get_args(parameter.annotation)[-1] if get_origin(parameter.annotation) is Annotated else None
    panel: str | None = getattr(option, "rich_help_panel", None)
    return panel


def explain(key: str) -> str:
    """What a setting is and accepts, on one line."""
    fields = {**fields_of(RenderSettings), **fields_of(RuntimeSettings)}
    return f"{limits_of(fields[key]).help} ({describe(fields[key])})"
