import dataclasses
from pathlib import Path

import numpy as np
import pytest
from job_doubles import plain_compositor
from PIL import Image

from hallo_cli.domain import CropBox, Portrait, RegionMasks
from hallo_cli.errors import SettingsError
from hallo_cli.jobs.compositor import fitted
from hallo_cli.jobs.inputs import by_content
from hallo_cli.settings.schema import RenderSettings

SIDE = 64


@pytest.fixture
def portrait() -> Portrait:
    """The square at (100, 50) of a wide picture, its eyes in the square's middle."""
    region = np.ones((SIDE, SIDE), np.float32)
    masks = RegionMasks((region,), (region,), (region,))
    landmarks = np.full((478, 2), SIDE / 2, np.float32)
    return Portrait(
        np.zeros((SIDE, SIDE, 3), np.uint8),
        CropBox(100, 50, 200),
        (800, 400),
        landmarks,
        region,
        masks,
        None,
        "",
    )


def settings(**changes: object) -> RenderSettings:
    return dataclasses.replace(RenderSettings(canvas="9:16"), **changes)  # type: ignore[arg-type]


def test_canvas_that_cuts_the_mouth_off_is_told(portrait: Portrait) -> None:
    portrait.landmarks[17] = (SIDE / 2, SIDE * 0.8)
    inner = plain_compositor((SIDE, SIDE), shown=portrait.crop)
    wide = settings(canvas="1920x550", fit="crop")
    assert "cuts the mouth off" in fitted(inner, portrait, wide).warnings[0]
    padded = dataclasses.replace(wide, fit="pad")
    assert fitted(inner, portrait, padded).warnings == ()
    assert inner.warnings == ()


@pytest.mark.parametrize(("canvas", "is_told"), [("540x540", False), ("640x640", True)])
def test_canvas_that_enlarges_the_picture_much_is_told(
    portrait: Portrait, canvas: str, is_told: bool
) -> None:
    inner = plain_compositor((SIDE, SIDE), shown=portrait.crop)
    warnings = fitted(inner, portrait, settings(canvas=canvas)).warnings
    assert any("enlarged 3.2 times" in warning for warning in warnings) is is_told


def test_frames_stay_as_framed_without_a_canvas(portrait: Portrait) -> None:
    inner = plain_compositor((SIDE, SIDE))
    assert fitted(inner, portrait, RenderSettings()) is inner


@pytest.mark.parametrize("framing", ["crop", "head-and-shoulders", "full", "whole"])
@pytest.mark.parametrize("fit", ["crop", "pad", "blur"])
def test_every_framing_fits(portrait: Portrait, framing: str, fit: str) -> None:
    inner = plain_compositor((SIDE, SIDE))
    stage = fitted(inner, portrait, settings(framing=framing, fit=fit))
    made = stage.compose(np.zeros((2, SIDE, SIDE, 3), np.uint8))
    assert stage.size == (1080, 1920)
    assert made.shape == (2, 1920, 1080, 3)
    assert stage.shown is None


def test_face_of_the_whole_picture_is_in_the_middle(portrait: Portrait) -> None:
    frame = np.zeros((1, 400, 800, 3), np.uint8)
    frame[:, 130:170, 180:220] = 255  # where the eyes are: (200, 150)
    stage = fitted(plain_compositor((800, 400)), portrait, settings(framing="full"))
    rows, columns = np.nonzero(stage.compose(frame)[0, :, :, 0] > 128)
    assert columns.mean() == pytest.approx(540, abs=3)
    assert rows.mean() == pytest.approx(1920 * 150 / 400, abs=3)  # the picture is cut at its sides only


def test_squeezed_picture_has_its_own_shape_again(portrait: Portrait) -> None:
    frame = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    frame[:, 16:48, 24:40] = 255  # a square of the source, which is twice as wide as high
    stage = fitted(plain_compositor((SIDE, SIDE)), portrait, settings(framing="whole", fit="pad"))
    rows, columns = np.nonzero(stage.compose(frame)[0, :, :, 0] > 128)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=4)


def test_background_may_be_a_picture(portrait: Portrait, tmp_path: Path) -> None:
    Image.new("RGB", (300, 300), (0, 200, 0)).save(tmp_path / "wall.png")
    wanted = settings(fit="pad", background=str(tmp_path / "wall.png"))
    made = fitted(plain_compositor((SIDE, SIDE)), portrait, wanted).compose(
        np.zeros((1, SIDE, SIDE, 3), np.uint8)
    )
    assert tuple(made[0, -1, 0]) == (0, 200, 0)


@pytest.mark.parametrize("name", ["gone.png", "text.png", "mauve-ish"])
def test_background_that_is_nothing_is_told(portrait: Portrait, tmp_path: Path, name: str) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(SettingsError, match="--background"):
        fitted(plain_compositor((SIDE, SIDE)), portrait, settings(fit="pad", background=str(tmp_path / name)))


def test_background_counts_by_its_content(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        Image.new("RGB", (10, 10), (0, 200, 0)).save(tmp_path / name)
    one, same = (by_content(settings(fit="pad", background=str(tmp_path / n))) for n in ("a.png", "b.png"))
    Image.new("RGB", (10, 10), (0, 200, 1)).save(tmp_path / "b.png")
    other = by_content(settings(fit="pad", background=str(tmp_path / "b.png")))
    assert one == same != other
    assert by_content(settings(fit="pad", background="white")).background == "white"
