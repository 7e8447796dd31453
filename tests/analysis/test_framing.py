"""The rendered square is cut out and put back without a trace where nothing changed."""

import numpy as np
import pytest

from hallo_cli.analysis.face import SILHOUETTE, FaceAnalyser
from hallo_cli.analysis.framing import (
    cut,
    face_square,
    full_canvas,
    shoulders_canvas,
    square_canvas,
    to_square,
)
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Bytes, CropBox, Portrait, RegionMasks

GEOMETRY = Geometry(crop_scale=1.32, crop_shift=0.015)


@pytest.fixture
def portrait(analyser: FaceAnalyser, astronaut: Bytes) -> Portrait:
    (face,) = analyser.detect(astronaut)
    crop = face_square(face.landmarks, GEOMETRY)
    landmarks = to_square(face.landmarks, crop, 256)
    return Portrait(
        pixels=cut(astronaut, crop, 256),
        crop=crop,
        source_size=(512, 512),
        landmarks=landmarks,
        face_region=np.ones((256, 256), np.float32),
        masks=RegionMasks((), (), ()),
        identity=None,
        digest="",
    )


def spoken(portrait: Portrait) -> Bytes:
    """A frame whose mouth region is red, with everything a little brighter."""
    frame = portrait.pixels.astype(int) + 8
    frame[185:215, 110:150] = [255, 0, 0]
    return frame.clip(0, 255).astype(np.uint8)


def test_square_is_framed_around_the_oval(portrait: Portrait) -> None:
    outline = portrait.landmarks[list(SILHOUETTE)]
    low, high = outline.min(axis=0), outline.max(axis=0)
    assert (high - low).max() == pytest.approx(256 / 1.32, abs=0.1)
    assert ((low + high) / 2).tolist() == pytest.approx([128, 128 - 0.015 * 256], abs=0.1)


def test_whole_pixels_are_cut_exactly(astronaut: Bytes) -> None:
    assert np.array_equal(cut(astronaut, CropBox(100, 50, 200), 200), astronaut[50:250, 100:300])


@pytest.mark.parametrize("corner", [(-60.0, -40.0), (400.0, 380.0), (-60.0, 380.0)])
def test_edge_pixels_go_on_outside(astronaut: Bytes, corner: tuple[float, float]) -> None:
    left, top = int(corner[0]), int(corner[1])
    expected = np.pad(astronaut, ((200, 200), (200, 200), (0, 0)), mode="edge")
    expected = expected[top + 200 : top + 400, left + 200 : left + 400]
    assert np.array_equal(cut(astronaut, CropBox(*corner, 200), 200), expected)


@pytest.mark.parametrize("make", [full_canvas, shoulders_canvas])
def test_unchanged_frame_leaves_the_picture_as_it_was(astronaut: Bytes, portrait: Portrait, make) -> None:
    canvas = make(astronaut, portrait)
    composed = canvas.compose(portrait.pixels[None])[0]
    assert composed.shape[:2] == canvas.size[::-1]
    assert np.array_equal(composed, canvas.compose(portrait.pixels[None])[0])
    if make is full_canvas:
        assert np.array_equal(composed, astronaut)


def test_change_lands_where_it_belongs(astronaut: Bytes, portrait: Portrait) -> None:
    composed = full_canvas(astronaut, portrait).compose(spoken(portrait)[None])[0]
    scale = portrait.crop.side / 256
    x, y = (
        round(c + 128 * scale * k) for c, k in ((portrait.crop.left, 1.0), (portrait.crop.top, 200 / 128))
    )
    assert composed[y, x, 0] > 220
    assert composed[y, x, 1] < 40


def test_background_stays_untouched(astronaut: Bytes, portrait: Portrait) -> None:
    composed = full_canvas(astronaut, portrait).compose(spoken(portrait)[None])[0]
    changed = (composed != astronaut).any(axis=2)
    crop = portrait.crop
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert crop.top < rows.min() < rows.max() < crop.top + crop.side
    assert crop.left < columns.min() < columns.max() < crop.left + crop.side


def test_generated_pictures_are_shown_as_they_are(portrait: Portrait) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), dtype=np.uint8)
    assert np.array_equal(square_canvas(portrait).compose(frames), frames)


def test_wholly_generated_square_ends_softly_in_the_picture(astronaut: Bytes, portrait: Portrait) -> None:
    black = np.zeros((1, 256, 256, 3), np.uint8)
    composed = full_canvas(astronaut, portrait).compose(black)[0]
    x = round(portrait.crop.left + portrait.crop.side / 2)
    edge = round(portrait.crop.top)
    step = np.abs(composed[edge - 2 : edge + 3, x].astype(int) - astronaut[edge - 2 : edge + 3, x])
    assert step.max() < 60  # of 150 to 200 where it would end sharply
    assert composed[edge + 40, x].max() < 5


def test_head_and_shoulders_is_a_wider_even_square(astronaut: Bytes, portrait: Portrait) -> None:
    width, height = shoulders_canvas(astronaut, portrait).size
    assert width == height
    assert width % 2 == 0
    assert width >= 256


def test_canvas_knows_which_square_of_the_picture_it_shows(astronaut: Bytes, portrait: Portrait) -> None:
    assert square_canvas(portrait).shown == portrait.crop
    wide = shoulders_canvas(astronaut, portrait)
    assert wide.shown is not None
    unchanged = wide.compose(portrait.pixels[None])[0]
    assert np.array_equal(unchanged, cut(astronaut, wide.shown, wide.size[0]))
    assert full_canvas(astronaut, portrait).shown is None
    assert square_canvas(portrait, is_squeezed=True).shown is None


def test_huge_pictures_are_shown_at_most_4096_wide(analyser: FaceAnalyser, astronaut: Bytes) -> None:
    huge = np.zeros((600, 6000, 3), np.uint8)
    huge[:512, 3000:3512] = astronaut
    landmarks = analyser.detect(astronaut)[0].landmarks + np.array([3000, 0], np.float32)
    crop = face_square(landmarks, GEOMETRY)
    pixels = cut(huge, crop, 256)
    portrait = Portrait(
        pixels=pixels,
        crop=crop,
        source_size=(6000, 600),
        landmarks=to_square(landmarks, crop, 256),
        face_region=np.ones((256, 256), np.float32),
        masks=RegionMasks((), (), ()),
        identity=None,
        digest="",
    )
    canvas = full_canvas(huge, portrait)
    assert canvas.size == (4096, 410)
    assert np.array_equal(
        canvas.compose(pixels[None])[0], full_canvas(huge, portrait).compose(pixels[None])[0]
    )
