"""Makes one command-line option of every setting, so that the dataclasses stay the only source.

A command that is decorated with `takes_settings` has a parameter `given` (a `Given`) and gets in it what was
typed; typer sees one option a setting in its place.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hallo_cli.settings.presets import list_presets
from hallo_cli.settings.resolve import Resolved, Sources, flag_of, resolve, variable_of
from hallo_cli.settings.schema import (
    RenderSettings,
    RuntimeSettings,
    describe,
    fields_of,
    limits_of,
    to_values,
    type_of,
)

PANELS = {RenderSettings: "What is rendered", RuntimeSettings: "How it is computed"}


@dataclass(frozen=True)
class Given:
    """The settings that were typed, and the files they stand on."""

    flags: dict[str, object]
    preset: str | None
    config: Path | None

    def resolve(self) -> Resolved:
        """Bring them together with the environment and the defaults. Raises SettingsError."""
        preset = self.preset or os.environ.get(variable_of("preset")) or None
        return resolve(Sources(self.flags, os.environ, self.config, preset))


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter `given` of a command by --preset, --config and one option a setting."""
    own = inspect.signature(command)
    added = [*_source_parameters(), *_setting_parameters()]
    parameters = [p for p in own.parameters.values() if p.name != "given"] + added
    keys = {p.name for p in added}

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> None:
        typed = {key: arguments.pop(key) for key in keys}
        preset, config = typed.pop("preset"), typed.pop("config")
        flags = {key: value for key, value in typed.items() if value is not None}
        command(**arguments, given=Given(flags, preset, config))

    hints = inspect.get_annotations(command, eval_str=True)
    wrapper.__annotations__ = hints | {p.name: p.annotation for p in added}
    wrapper.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[p.replace(annotation=hints.get(p.name, p.annotation)) for p in parameters]
    )
    return wrapper


def _source_parameters() -> list[inspect.Parameter]:
    preset = typer.Option(
        "--preset",
        help=f"A named set of settings (`hallo presets list`); also {variable_of('preset')}.",
        metavar="NAME",
        show_default=False,
        autocompletion=_starting_with(list_presets),
    )
    config = typer.Option(
        "--config", help="A TOML file of settings of your own.", metavar="FILE", show_default=False
    )
    return [_parameter("preset", str, preset), _parameter("config", Path, config)]


def _setting_parameters() -> list[inspect.Parameter]:
    return [
        _parameter(key, bool if type_of(field) is bool else str, _option(kind, key))
        for kind in PANELS
        for key, field in fields_of(kind).items()
    ]


def _option(kind: type, key: str) -> Any:
    field = fields_of(kind)[key]
    limits = limits_of(field)
    default = to_values(kind())[key]
    flag = flag_of(key)
    is_switch = type_of(field) is bool
    return typer.Option(
        f"{flag}/--no-{flag[2:]}" if is_switch else flag,
        help=f"{limits.help} (default: {_word(default)})",
        metavar=None if is_switch else _metavar(field),
        show_default=False,
        rich_help_panel=PANELS[kind],
        autocompletion=_starting_with(lambda: list(limits.choices)) if limits.choices else None,
    )


def _word(default: object) -> str:
    return {True: "on", False: "off"}[default] if isinstance(default, bool) else str(default)


def _metavar(field: Any) -> str:
    limits = limits_of(field)
    if limits.choices:
        return "|".join(limits.choices)
    word = {int: "N", float: "X", str: "TEXT"}[type_of(field)]
    word = "SECONDS" if field.name.endswith("_s") else word
    return f"{word}|{limits.none_word}" if limits.none_word else word


def _parameter(name: str, kind: type, option: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _starting_with(words: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    def complete(incomplete: str) -> list[str]:
        return [word for word in words() if word.startswith(incomplete)]

    return complete


def explain(key: str) -> str:
    """What a setting is and accepts, on one line."""
    fields = {**fields_of(RenderSettings), **fields_of(RuntimeSettings)}
    return f"{limits_of(fields[key]).help} ({describe(fields[key])})"
