"""A picture's own pixels are warped and painted on, at any size, and stay untouched where nothing moves."""

import cv2
import numpy as np
import pytest
import torch

from hallo_cli.analysis.motion_canvas import REACH, FaceParts, MotionCanvas
from hallo_cli.analysis.warping import Rectangle
from hallo_cli.domain import Bytes, CropBox, Float, MotionShape, Window
from hallo_cli.models.anchored import Motion, compose

SHAPE = MotionShape(flow=32, paint=128)


def picture(width: int = 200, height: int = 160) -> Bytes:
    """Smooth, so that ways to look pixels up differ little."""
    rough = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def packed(flow: Float | None = None, painted: Bytes | None = None) -> Bytes:
    flow = np.zeros((1, 32, 32, 2), np.float32) if flow is None else flow
    return SHAPE.pack(flow, np.zeros((1, 128, 128, 4), np.uint8) if painted is None else painted)


def test_packed_motion_comes_back() -> None:
    rng = np.random.default_rng(0)
    flow = rng.uniform(-0.3, 0.3, (3, 32, 32, 2)).astype(np.float32)
    painted = rng.integers(0, 256, (3, 128, 128, 4), dtype=np.uint8)
    frames = SHAPE.pack(flow, painted)
    assert frames.shape == (3, SHAPE.n_bytes)
    found = list(SHAPE.unpack(frames))
    assert np.abs(np.stack([one.flow for one in found]) - flow).max() <= 0.5 / 65536
    assert np.array_equal(np.stack([one.paint for one in found]), painted[..., :3])
    assert np.array_equal(np.stack([one.mask for one in found]), painted[..., 3])


def test_picture_without_motion_is_shown_as_it_is() -> None:
    canvas = MotionCanvas(picture(), CropBox(40.3, 20.7, 96.4), SHAPE)
    assert canvas.size == (200, 160)
    assert np.array_equal(canvas.compose(packed())[0], picture())


def test_square_is_composed_as_the_networks_were_trained() -> None:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(-0.05, 0.05, (5, 5, 2)).astype(np.float32)
    flow = np.asarray(cv2.resize(coarse, (32, 32), interpolation=cv2.INTER_CUBIC), np.float32)
    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[:, 40:80, 50:90] = (200, 30, 60, 255)
    square = picture(128, 128)
    canvas = MotionCanvas(square, CropBox(0, 0, 128), SHAPE)
    ours = canvas.compose(packed(flow[None], painted))[0].astype(int)
    planes = torch.from_numpy(painted).permute(0, 3, 1, 2).float() / 255
    motion = Motion(torch.from_numpy(flow)[None].permute(0, 3, 1, 2), planes[:, 3:], planes[:, :3] * 2 - 1)
    pixels = torch.from_numpy(square)[None].permute(0, 3, 1, 2).float() / 127.5 - 1
    theirs = ((compose(pixels, motion)[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
    apart = np.abs(ours - theirs)[2:-2, 2:-2]
    assert apart.mean() < 1.0  # cubic here, linear there
    assert (apart[44:72, 54:82] <= 1).all()  # the paint


def test_motion_goes_on_beyond_the_square_and_fades_out() -> None:
    crop = CropBox(60, 50, 60)
    flow = np.full((1, 32, 32, 2), 0.1, np.float32)
    changed = MotionCanvas(picture(), crop, SHAPE).compose(packed(flow))[0] != picture()
    rows, columns = np.nonzero(changed.any(axis=2))
    reach = REACH * crop.side
    assert crop.left - reach <= columns.min() < crop.left - reach / 2
    assert crop.top + crop.side + reach / 2 < rows.max() <= crop.top + crop.side + reach


@pytest.mark.parametrize("crop", [CropBox(-30, -20, 90), CropBox(150, 120, 90), CropBox(-50, -50, 300)])
def test_square_may_reach_over_the_pictures_edge(crop: CropBox) -> None:
    painted = np.full((1, 128, 128, 4), 255, np.uint8)
    frame = MotionCanvas(picture(), crop, SHAPE).compose(packed(None, painted))[0]
    assert frame.shape == (160, 200, 3)
    assert (frame == 255).all(axis=2).any()


def test_faint_masks_paint_nothing() -> None:
    painted = np.full((1, 128, 128, 4), 255, np.uint8)
    painted[..., 3] = 1
    canvas = MotionCanvas(picture(), CropBox(40, 20, 96), SHAPE)
    assert np.array_equal(canvas.compose(packed(None, painted))[0], picture())


def test_paint_has_no_colours_where_the_picture_has_none() -> None:
    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[..., :] = (250, 20, 60, 255)
    grey = np.repeat(picture()[..., :1], 3, axis=2)
    frame = MotionCanvas(grey, CropBox(40, 20, 96), SHAPE).compose(packed(None, painted))[0]
    assert np.ptp(frame.astype(int), axis=2).max() <= 1


def test_slight_motion_counts_in_the_face_alone() -> None:
    face = np.zeros((32, 32), np.float32)
    face[:, :16] = 1
    crop = CropBox(40, 20, 96)
    for strength, is_still in ((0.001, True), (0.05, False)):
        flow = np.full((1, 32, 32, 2), strength, np.float32)
        changed = MotionCanvas(picture(), crop, SHAPE, face=face).compose(packed(flow))[0] != picture()
        assert changed[40:90, 50:80].any()
        assert changed[40:90, 100:130].any() != is_still


def test_face_between_pixels_keeps_its_detail() -> None:
    rough = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.float32)
    fine = np.asarray(cv2.GaussianBlur(rough, (0, 0), 0.7), np.uint8)
    face = np.ones((32, 32), np.float32)

    def detail(pixels: float, face: Float | None) -> float:
        flow = np.full((1, 32, 32, 2), pixels / 128, np.float32)
        frame = MotionCanvas(fine, CropBox(0, 0, 128), SHAPE, face=face).compose(packed(flow))[0]
        return float(np.abs(cv2.Laplacian(frame[20:-20, 20:-20].astype(np.float32), cv2.CV_32F)).mean())

    whole, half, sharpened = detail(3, face), detail(3.5, None), detail(3.5, face)
    assert half < 0.9 * whole
    assert 0.9 * whole < sharpened < 1.1 * whole
    assert detail(3, None) == whole


@pytest.mark.parametrize(("mask", "share"), [(80, 0.0), (127, 0.49), (200, 1.0)])
def test_paint_is_shown_where_the_mask_is_sure(mask: int, share: float) -> None:
    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[0, 40:90, 40:90] = (255, 0, 0, mask)
    canvas = MotionCanvas(picture(), CropBox(0, 0, 128), SHAPE)
    middle = canvas.compose(packed(None, painted))[0][60:70, 60:70].astype(float)
    plain = picture()[60:70, 60:70].astype(float)
    wanted = plain + share * (np.array([255.0, 0, 0]) - plain)
    assert np.abs(middle - wanted).max() < 4


def test_paint_of_a_window_lies_where_it_would_in_the_whole_square() -> None:
    rng = np.random.default_rng(0)
    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[0, 60:100, 40:90, :3] = rng.integers(0, 256, (40, 50, 3))
    painted[0, 60:100, 40:90, 3] = 255
    window = Window(4, 6, 13, 14)
    rows, columns = window.within(128)
    shape = MotionShape(32, 128, window)
    part = shape.pack(np.zeros((1, 32, 32, 2), np.float32), painted[:, rows, columns])
    assert shape.n_bytes < SHAPE.n_bytes
    crop = CropBox(20.3, 10.7, 140.1)
    whole = MotionCanvas(picture(), crop, SHAPE).compose(packed(None, painted)).astype(int)
    assert np.abs(whole[0] - picture()).max() > 100
    assert np.abs(MotionCanvas(picture(), crop, shape).compose(part) - whole).mean() < 0.05


def test_lips_decide_what_of_the_mask_is_shown_and_where_pixels_come_from() -> None:
    class Below:
        steady = np.array([[60, 60], [70, 60], [60, 70], [70, 70]] * 2, np.float32)

        def part(self, places: Float, moved: Rectangle, mask: Float, painted: Rectangle) -> Float:
            rows = np.arange(len(mask))[:, None] + painted[0].start
            assert (moved[0].start, moved[1].start) == (0, 0)
            places[100:110] = places[110:120].copy()
            return np.asarray(mask * (rows >= 64), np.float32)

        def finish(self, paint: Float, shown: Float, painted: Rectangle, moved: Float) -> None:
            assert np.allclose(moved, self.steady, atol=0.1)

    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[0, 40:90, 40:90] = (255, 0, 0, 250)
    canvas = MotionCanvas(picture(128, 128), CropBox(0, 0, 128), SHAPE, parts=FaceParts(lips=Below()))  # type: ignore[arg-type]
    frame = canvas.compose(packed(None, painted))[0].astype(int)
    changed = np.abs(frame - picture(128, 128)).max(2) > 20
    assert not changed[45:60, 45:85].any()
    assert changed[68:85, 45:85].mean() > 0.95
    assert np.abs(frame[100:110] - picture(128, 128)[110:120]).max() <= 1


def test_paint_goes_on_upwards_behind_the_lip() -> None:
    class Open:
        steady = np.zeros((8, 2), np.float32)

        def part(self, places: Float, moved: Rectangle, mask: Float, painted: Rectangle) -> Float:
            return np.ones_like(mask)

        def finish(self, paint: Float, shown: Float, painted: Rectangle, moved: Float) -> None:
            assert painted[0].start < 40  # some more is looked at than is painted

    painted = np.zeros((1, 128, 128, 4), np.uint8)
    painted[0, 40:90, 40:90] = (200, 200, 200, 255)
    canvas = MotionCanvas(picture(), CropBox(0, 0, 128), SHAPE, parts=FaceParts(lips=Open()))  # type: ignore[arg-type]
    frame = canvas.compose(packed(None, painted))[0].astype(int)
    assert np.abs(frame[38:60, 45:85] - 200).max() <= 2
