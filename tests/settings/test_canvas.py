import pytest

from hallo_cli.errors import SettingsError
from hallo_cli.settings.canvas import canvas_size, colour_of
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.settings.values import build


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1080x1920", (1080, 1920)),
        ("9:16", (1080, 1920)),
        ("16:9", (1920, 1080)),
        ("1:1", (1080, 1080)),
        ("portrait", (1080, 1920)),
        ("Landscape", (1920, 1080)),
        ("square", (1080, 1080)),
        ("4:5", (1080, 1350)),
        ("18:32", (1080, 1920)),
    ],
)
def test_canvas_is_a_size(text: str, size: tuple[int, int]) -> None:
    assert canvas_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["1081x1920", "1080x", "9:0", "0x0", "62x64", "4098x64", "100:1", "big", "9:16:3", "-9:16", ""],
)
def test_impossible_canvas_is_told(text: str) -> None:
    with pytest.raises(SettingsError, match="even numbers from 64 to 4096"):
        build(RenderSettings, {"canvas": text}, where="command line")


def test_colours_are_names_and_digits() -> None:
    assert colour_of("Black") == (0, 0, 0)
    assert colour_of("#ff8800") == (255, 136, 0)
    assert colour_of("#f80") == (255, 136, 0)
    assert colour_of("beach.jpg") is None
    assert colour_of("#ff88") is None
