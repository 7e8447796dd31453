"""Finds and reads presets and config files: TOML files whose keys are settings."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.errors import SettingsError, did_you_mean
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import fields_of, require_known
from hallo_cli.store.reading import read_small

PACKAGE = Path(__file__).parent.parent
FOLDERS = (PACKAGE / "presets", PACKAGE.parent / "presets")  # installed; in a checkout
QUALITY = "quality"  # the table of limits for finished videos; settings/quality.py reads it


@dataclass(frozen=True)
class Preset:
    """A named TOML file."""

    name: str
    about: str  # its leading comment
    values: dict[str, object]


def known_keys() -> set[str]:
    """Every key that a preset or config file may hold."""
    return {*fields_of(RenderSettings), *fields_of(RuntimeSettings)}


def list_presets() -> list[str]:
    """Names of all presets that come with the program."""
    return sorted({path.stem for folder in FOLDERS for path in folder.glob("*.toml")})


def read_preset(name: str) -> Preset:
    """The preset of this name. Raises SettingsError if there is none, suggesting the nearest."""
    if name not in list_presets():
        hint = did_you_mean(name, list_presets())
        raise SettingsError(f"unknown preset {name!r}. {hint} (A file of your own goes with --config.)")
    path = preset_path(name)
    lines = path.read_text(encoding="utf-8").splitlines()
    n_comments = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    about = "\n".join(line.lstrip("# ") for line in lines[:n_comments])
    return Preset(name, about, read_values(path, where=f"preset {name}"))


def read_quality(preset: str | None, config: Path | None) -> dict[str, object]:
    """The [quality] table for batches, of a preset and, over it, a config file. Raises SettingsError."""
    files = [preset_path(preset)] if preset else []
    table: dict[str, object] = {}
    for path in [*files, *([config] if config else [])]:
        found = _read_toml(path, where=str(path)).get(QUALITY, {})
        if not isinstance(found, dict):
            raise SettingsError(
                f"{path}: quality = {found!r} is not a table; write [quality] and limits under it."
            )
        table |= found
    return table


def preset_path(name: str) -> Path:
    """The file of a preset that exists."""
    return next(folder / f"{name}.toml" for folder in FOLDERS if (folder / f"{name}.toml").is_file())


def read_values(path: Path, *, where: str) -> dict[str, object]:
    """The settings in a TOML file. Raises SettingsError if it cannot be read or has an unknown key."""
    values = _read_toml(path, where=where)
    values.pop(QUALITY, None)
    require_known(values, known_keys(), where=where)
    return values


def _read_toml(path: Path, *, where: str) -> dict[str, object]:
    try:
        if not path.is_file():
            raise OSError("no such file")
        return tomllib.loads(read_small(path).decode())
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"{where}: {str(path)!r} cannot be read as TOML ({error}).") from error
