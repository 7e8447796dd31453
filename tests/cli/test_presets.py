import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hallo_cli.cli.app import register
from hallo_cli.errors import SettingsError
from hallo_cli.settings.preset_files import known_keys

app = register("presets")


def show(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["presets", "show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_list_names_every_preset_with_its_purpose() -> None:
    result = CliRunner().invoke(app, ["presets", "list"], catch_exceptions=False)
    assert "official   The published model" in result.stdout


def test_shown_settings_can_be_given_back_as_config(tmp_path: Path) -> None:
    config = tmp_path / "my.toml"
    config.write_text(show("official", "--steps", "3"))
    again = tomllib.loads(show("--config", str(config)))
    assert again == tomllib.loads(config.read_text())


def test_every_value_is_shown_with_its_origin() -> None:
    rows = json.loads(show("official", "--steps", "3", "--json"))["settings"]
    assert set(rows) == known_keys()
    assert rows["steps"] == {"value": 3, "origin": "--steps"}
    assert rows["size"] == {"value": 512, "origin": "preset official"}


def test_every_setting_has_a_flag_in_the_help() -> None:
    result = CliRunner().invoke(app, ["presets", "show", "--help-all"], env={"COLUMNS": "200"})
    flags = {"--" + key.replace("_", "-") for key in known_keys()}
    assert {flag for flag in flags if flag not in result.stdout} == set()


def test_bad_flag_is_a_settings_error() -> None:
    with pytest.raises(SettingsError, match="--steps: '0'"):
        CliRunner().invoke(app, ["presets", "show", "--steps", "0"], catch_exceptions=False)
