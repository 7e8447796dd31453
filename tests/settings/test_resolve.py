from pathlib import Path

import pytest

from hallo_cli.errors import SettingsError
from hallo_cli.settings.preset_files import list_presets, read_preset
from hallo_cli.settings.resolve import Resolved, Sources, resolve
from hallo_cli.settings.schema import RenderSettings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.toml"
    path.write_text("steps = 7\nguidance = 2\nseed = 1\n")
    return path


def resolved_all(config: Path) -> Resolved:
    """Every source gives steps; each weaker one also gives something that the stronger ones don't."""
    environment = {"HALLO_STEPS": "8", "HALLO_GUIDANCE": "3", "HALLO_MODELS": "/somewhere"}
    return resolve(Sources({"steps": "9"}, environment, config, "official"))


def test_strongest_source_wins(config: Path) -> None:
    render = resolved_all(config).render
    assert (render.steps, render.guidance, render.seed, render.size) == (9, 3.0, 1, 512)


def test_each_value_remembers_where_it_came_from(config: Path) -> None:
    origins = resolved_all(config).origins
    expected = {
        "steps": "--steps",
        "guidance": "HALLO_GUIDANCE",
        "seed": str(config),
        "size": "preset official",
        "crf": "default",
    }
    assert {key: origins[key] for key in expected} == expected


def test_nothing_given_is_the_defaults() -> None:
    assert resolve(Sources({}, {})).render == RenderSettings()


def test_word_for_none_overrides_a_weaker_value(config: Path) -> None:
    assert resolve(Sources({"steps": "bundle"}, {}, config)).render.steps is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz = 7", "my.toml.*'stepz'.*Did you mean 'steps'"),
        ("steps = 'many'", "my.toml, steps: 'many' is not a whole number"),
        ("steps = ", "cannot be read as TOML"),
        ("[steps]\na = 1", "my.toml, steps"),
    ],
)
def test_config_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        resolve(Sources({}, {}, path))


def test_missing_config_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        resolve(Sources({}, {}, tmp_path / "gone.toml"))


def test_bad_variable_is_named() -> None:
    with pytest.raises(SettingsError, match="HALLO_STEPS: 'x' is not"):
        resolve(Sources({}, {"HALLO_STEPS": "x"}))


def test_unknown_preset_is_an_error_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match="Did you mean 'official'"):
        resolve(Sources({}, {}, preset="oficial"))


@pytest.mark.parametrize("name", list_presets())
def test_every_preset_is_valid_and_explained(name: str) -> None:
    resolve(Sources({}, {}, preset=name))
    assert len(read_preset(name).about) > 40


def test_the_promised_presets_are_there() -> None:
    assert {"preview", "official", "balanced", "fast", "still"} <= set(list_presets())


def test_official_preset_holds_the_published_numbers() -> None:
    render = resolve(Sources({}, {}, preset="official")).render
    published = (40, "ddim", 3.5, 1.0, 1.0, 1.0, 25.0, 512, 42, 1.2, "whole")
    assert published == (
        *(render.steps, render.solver, render.guidance),
        *(render.pose_weight, render.face_weight, render.lip_weight),
        *(render.fps, render.size, render.seed, render.face_expand_ratio, render.framing),
    )
    assert (render.face_checks, render.separate_vocals, render.silence_guard) == ("published", True, False)


def test_mistyped_variable_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    resolve(Sources({}, {"HALLO_STESP": "4", "HALLO_CACHE": "/tmp", "HALLO_FFMPEG": "x", "HALLO_SEED": "3"}))
    (record,) = caplog.records
    assert "HALLO_STESP" in record.message
    assert "HALLO_STEPS" in record.message
