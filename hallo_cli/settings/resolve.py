"""Merges all sources of settings: flag > environment > config file > preset > default.

Each value knows its origin. This module reads no command line; the flags are passed in.
"""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hallo_cli.settings.preset_files import known_keys, read_preset, read_values
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings, Value
from hallo_cli.settings.values import fields_of, parse, require_known, to_values

PREFIX = "HALLO_"
NEAR = 0.8  # how similar a variable's name must be to a setting's to count as mistyped
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resolved:
    """The settings of a run, and where each came from."""

    render: RenderSettings
    runtime: RuntimeSettings
    origins: Mapping[str, str]  # by key: "--steps", "HALLO_STEPS", "my.toml", "preset fast", "default"

    def values(self) -> dict[str, str | int | float | bool]:
        """Every value by key, as TOML holds it."""
        return {**to_values(self.render), **to_values(self.runtime)}


@dataclass(frozen=True)
class Sources:
    """What was given besides the defaults."""

    flags: Mapping[str, object] = field(default_factory=dict)  # by key; only those that were typed
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    config: Path | None = None
    preset: str | None = None


def resolve(sources: Sources) -> Resolved:
    """The settings that these sources give. Raises SettingsError at the first that cannot be used."""
    require_known(sources.flags, known_keys(), where="keyword arguments")
    fields = {**fields_of(RenderSettings), **fields_of(RuntimeSettings)}
    values: dict[str, Value] = {}
    origins = dict.fromkeys(sorted(known_keys()), "default")
    for source in _sources_weakest_first(sources):
        for key, (raw, origin, where) in source.items():
            values[fields[key].name] = parse(fields[key], raw, where=where)
            origins[key] = origin
    render = {name: value for name, value in values.items() if name in RenderSettings.__dataclass_fields__}
    runtime = {name: value for name, value in values.items() if name in RuntimeSettings.__dataclass_fields__}
    return Resolved(RenderSettings(**render), RuntimeSettings(**runtime), origins)  # type: ignore[arg-type]


def variable_of(key: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + key.upper()


def flag_of(key: str) -> str:
    """The command-line flag of a setting."""
    return "--" + key.replace("_", "-")


def _sources_weakest_first(sources: Sources) -> list[dict[str, tuple[object, str, str]]]:
    """For each source: key -> the raw value, its origin, and how a message names the place."""
    files: dict[str, Mapping[str, object]] = {}
    if preset := sources.preset or sources.environment.get(variable_of("preset")):
        files[f"preset {preset}"] = read_preset(preset).values
    if sources.config:
        files[str(sources.config)] = read_values(sources.config, where=str(sources.config))
    layers = [
        {key: (raw, origin, f"{origin}, {key}") for key, raw in values.items()}
        for origin, values in files.items()
    ]
    named = {key: variable_of(key) for key in known_keys()}
    _warn_of_mistyped(sources.environment, [*named.values(), variable_of("preset")])
    given = {key: name for key, name in named.items() if sources.environment.get(name)}
    layers.append({key: (sources.environment[name], name, name) for key, name in given.items()})
    layers.append({key: (raw, flag_of(key), flag_of(key)) for key, raw in sources.flags.items()})
    return layers


def _warn_of_mistyped(environment: Mapping[str, str], known: list[str]) -> None:
    for name in environment:
        if name.startswith(PREFIX) and name not in known:
            for near in difflib.get_close_matches(name, known, n=1, cutoff=NEAR):
                log.warning(
                    "the variable %s is not a setting and has no effect. Did you mean %s?", name, near
                )
