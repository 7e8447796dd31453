import dataclasses

import pytest

from hallo_cli.errors import SettingsError
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings
from hallo_cli.settings.values import build, canonical, describe, fields_of, limits_of, to_values


@pytest.mark.parametrize("kind", [RenderSettings, RuntimeSettings])
def test_values_survive_being_written_and_read(kind: type) -> None:
    assert build(kind, to_values(kind()), where="test") == kind()


def test_text_and_typed_values_mean_the_same() -> None:
    text = {
        "steps": "12",
        "guidance": "2",
        "duration": "3.5",
        "separate_vocals": "yes",
        "face_index": "largest",
    }
    typed = {"steps": 12, "guidance": 2.0, "duration": 3.5, "separate_vocals": True, "face_index": "largest"}
    assert build(RenderSettings, text, where="flags") == build(RenderSettings, typed, where="file")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("steps", 1.5),
        ("steps", 0),
        ("steps", "many"),
        ("seed", True),
        ("size", 100),
        ("guidance", float("nan")),
        ("guidance", "inf"),
        ("framing", "round"),
        ("separate_vocals", "perhaps"),
        ("bundle", ""),
        ("bundle", "a\nb"),
        ("duration", [1]),
        ("fps", None),
    ],
)
def test_value_out_of_bounds_is_refused_with_what_is_accepted(key: str, value: object) -> None:
    field = fields_of(RenderSettings)[key]
    with pytest.raises(SettingsError, match=r"my\.toml") as caught:
        build(RenderSettings, {key: value}, where="my.toml")
    assert describe(field) in str(caught.value)


def test_unknown_key_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(SettingsError, match=r"'lip-weigth'.*Did you mean 'lip_weight'"):
        build(RenderSettings, {"lip-weigth": 1}, where="my.toml")


def test_every_setting_explains_itself() -> None:
    everything = [*fields_of(RenderSettings).values(), *fields_of(RuntimeSettings).values()]
    assert all(limits_of(field).help.endswith(".") for field in everything)


@pytest.mark.parametrize("field", dataclasses.fields(RenderSettings), ids=lambda field: field.name)
def test_every_render_setting_is_part_of_the_fingerprint(field: dataclasses.Field[object]) -> None:
    changed = dataclasses.replace(RenderSettings(), **{field.name: "something else"})
    assert canonical(changed) != canonical(RenderSettings())


@pytest.mark.parametrize(
    ("values", "words"), [({"solver": "unipc"}, "Use dpm\\+\\+"), ({"compile": "auto"}, "Choose off or on")]
)
def test_value_of_an_earlier_version_is_refused_with_its_successor(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        build(RenderSettings, values, where="my.toml")


def test_compiling_is_part_of_what_identifies_a_result() -> None:
    assert canonical(RenderSettings(compile="on")) != canonical(RenderSettings())
