"""Lips shut by geometry, the portrait's own teeth shown again, and paint kept inside the mouth."""

import numpy as np
import pytest

from hallo_cli.analysis.lips import Lips
from hallo_cli.analysis.mouth import mouth_window
from hallo_cli.analysis.warping import whole
from hallo_cli.domain import CELLS, WHOLE, Bytes, Float

SKIN, UPPER_LIP, LOWER_LIP, TEETH = (210, 170, 150), (180, 60, 60), (190, 80, 80), (250, 250, 245)
UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
UNDER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
STEADY = (
    (33, 60, 40),
    (133, 85, 40),
    (362, 115, 40),
    (263, 140, 40),
    (6, 100, 45),
    (197, 100, 55),
    (195, 100, 62),
)
LINE, LEFT, RIGHT = 120, 60, 140
PART = slice(90, 150), slice(50, 150)  # of the frame, which is painted


def drawn(gap: float, *, turned: float = 0.0) -> tuple[Bytes, Float]:
    """A mouth 80 pixels wide whose lips are `gap` pixels apart, teeth between them, and its landmarks."""
    landmarks = np.zeros((478, 2), np.float32)
    columns = np.linspace(LEFT, RIGHT, 11)
    arch = np.sin(np.linspace(0, np.pi, 11))
    landmarks[list(UPPER)] = np.stack([columns, LINE - gap / 2 * arch], 1)
    landmarks[list(LOWER)] = np.stack([columns, LINE + gap / 2 * arch], 1)
    landmarks[list(UNDER)] = np.stack([columns, LINE + (gap / 2 + 12) * arch], 1)
    landmarks[61], landmarks[291], landmarks[2], landmarks[152] = (60, 120), (140, 120), (100, 85), (100, 180)
    for index, x, y in (*STEADY, (5, 100, 68)):
        landmarks[index] = x, y
    picture = np.full((220, 200, 3), SKIN, np.uint8)
    for x in range(LEFT, RIGHT + 1):
        height = float(np.interp(x, columns, arch))
        edges = [LINE - (gap / 2 + 8) * height, LINE - gap / 2 * height, LINE + gap / 2 * height]
        edges.append(LINE + (gap / 2 + 12) * height)
        top, inner, outer, bottom = (round(edge) for edge in edges)
        picture[top:inner, x], picture[inner:outer, x], picture[outer:bottom, x] = UPPER_LIP, TEETH, LOWER_LIP
    return picture, landmarks


def white(picture: Bytes) -> int:
    return int((picture.min(2) > 225).sum())


def parted(picture: Bytes, landmarks: Float, mask: Float, at: Float | None = None) -> tuple[Float, Float]:
    """Where the mouth's inside is seen, and where the frame's pixels come from then; before: `at`."""
    at = places(picture.shape) if at is None else at.copy()
    return Lips(landmarks, picture).part(at, whole(picture), mask, whole(picture)), at


def opening(picture: Bytes, landmarks: Float, at: Float) -> Float:
    return parted(picture, landmarks, np.ones(picture.shape[:2], np.float32), at)[0]


def block(rows: slice, columns: slice, light: float = 1.0) -> Float:
    mask = np.zeros((220, 200), np.float32)
    mask[rows, columns] = light
    return mask


def jaw_dropped(by: float) -> Float:
    """Where a frame's pixels come from whose lower lip was stretched by so much, as networks do it."""
    at = places((220, 200))
    below = np.clip(at[..., 1] - LINE, 0, None)
    at[..., 1] -= (
        by * np.clip(below / (by + 12), 0, 1) * np.clip((180 - at[..., 1]) / (168 - LINE - by), 0, 1)
    )
    return at


def places(shape: tuple[int, ...], shift: tuple[float, float] = (0, 0)) -> Float:
    grid = np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1)
    return (grid + np.array(shift)).astype(np.float32)


@pytest.mark.parametrize("gap", [8, 14, 30])
def test_lips_of_a_smile_meet_and_hide_the_teeth(gap: float) -> None:
    picture, landmarks = drawn(gap)
    assert white(picture) > 200
    shut = Lips(landmarks, picture).shut()
    assert white(shut) < 10
    column = shut[:, 100].astype(int)
    redder = np.flatnonzero(column[:, 0] - column[:, 1] > 70)
    assert len(redder) >= 18  # both lips are there, whole
    assert np.ptp(redder) < len(redder) + 6  # and meet


def test_shutting_changes_nothing_above_the_nose_below_the_chin_and_beside_the_mouth() -> None:
    picture, landmarks = drawn(20)
    rng = np.random.default_rng(0)
    noisy = np.clip(picture.astype(int) + rng.integers(-9, 9, picture.shape), 0, 255).astype(np.uint8)
    changed = (Lips(landmarks, noisy).shut() != noisy).any(2)
    assert changed[90:170, 70:130].any()
    changed[85:181, LEFT : RIGHT + 1] = False
    assert not changed.any()


def test_picture_with_shut_lips_stays_as_it_is() -> None:
    picture, landmarks = drawn(0)
    assert Lips(landmarks, picture).shut() is picture


def test_mouth_that_is_hardly_seen_is_left_alone() -> None:
    picture, landmarks = drawn(20)
    landmarks[:, 0] = 100 + (landmarks[:, 0] - 100) / 50
    lips = Lips(landmarks, picture)
    assert lips.shut() is picture
    full = np.ones((220, 200), np.float32)
    assert lips.part(places(picture.shape), whole(picture), full, whole(picture)) is full


def painted(lips: Lips, light: float, *, shift: tuple[float, float] = (0, 0)) -> Float:
    """Grey paint of one light, as the lips finish it; all of it will be seen."""
    paint = np.full((60, 100, 3), light, np.float32)
    lips.finish(paint, np.ones((60, 100), np.float32), PART, lips.steady + np.array(shift, np.float32))
    return paint


@pytest.mark.parametrize("shift", [(0, 0), (6, -4)])
def test_own_teeth_return_where_the_mouth_opens_and_follow_the_head(shift: tuple[float, float]) -> None:
    picture, landmarks = drawn(14)
    rows, columns = np.nonzero(painted(Lips(landmarks, picture), 40, shift=shift).min(2) > 200)
    assert len(rows) > 100
    assert abs(columns.mean() + 50 - (100 - shift[0])) < 2
    assert abs(rows.mean() + 90 - (LINE - shift[1])) < 3


def test_no_generated_teeth_beside_the_portraits_own() -> None:
    picture, landmarks = drawn(14)
    paint = painted(Lips(landmarks, picture), 220)
    assert paint[30, 50].min() > 200  # the own
    assert paint[40, 50].max() < 60  # a second row
    assert (paint[45:, :, 0] > 1.3 * paint[45:, :, 1]).all()  # flesh
    assert paint[30, 8].max() < 200  # in the mouth's corner


def test_dark_gap_between_lips_holds_no_teeth_of_its_own() -> None:
    picture, landmarks = drawn(14)
    picture[LINE - 7 : LINE + 8, 60:140] = 20
    assert painted(Lips(landmarks, picture), 180)[30, 50].min() > 150  # generated ones


def test_dark_inside_is_red_flesh_with_a_tongue_at_the_bottom() -> None:
    picture, landmarks = drawn(0)
    paint = painted(Lips(landmarks, picture), 25)
    assert (paint[..., 0] > 1.3 * paint[..., 1]).all()
    assert paint[55, 50, 0] > 2 * paint[10, 50, 0]
    assert paint[55, 50, 0] > 1.5 * paint[55, 2, 0]
    assert paint[59, 50, 0] > 1.2 * paint[55, 50, 0]  # the lip's inner side


def test_inside_of_a_grey_picture_is_grey() -> None:
    picture, landmarks = drawn(0)
    grey = np.repeat(picture.mean(2, keepdims=True), 3, axis=2).astype(np.uint8)
    assert np.ptp(painted(Lips(landmarks, grey), 25), axis=2).max() < 1


def test_generated_teeth_are_ivory_and_in_the_shadow_of_the_upper_lip_and_the_cheeks() -> None:
    picture, landmarks = drawn(0)
    paint = painted(Lips(landmarks, picture), 200)
    assert (paint[12:28, 45:55, 2] > 195).all()
    assert (paint[12:28, 45:55, 0] > 210).all()  # ivory
    assert paint[1, 50, 2] < 0.8 * paint[15, 50, 2]
    assert paint[15, 2, 2] < 0.8 * paint[15, 50, 2]
    assert (paint[57:, :, 2] < 100).all()  # none at the lower lip


def test_generated_teeth_are_as_light_as_the_picture() -> None:
    picture, landmarks = drawn(0)
    dim = (picture * 0.7).astype(np.uint8)
    bright, dimmer = (painted(Lips(landmarks, lit), 150)[15, 50] for lit in (picture, dim))
    assert dimmer.mean() < 0.95 * bright.mean()


def test_generated_teeth_take_the_tint_of_the_light() -> None:
    picture, landmarks = drawn(0)
    yellow = np.clip(picture * np.array([1.05, 1.0, 0.5]), 0, 255).astype(np.uint8)
    plain, tinted = (painted(Lips(landmarks, lit), 200)[15, 50] for lit in (picture, yellow))
    assert tinted[2] < 0.85 * plain[2]
    assert tinted[0] == pytest.approx(plain[0], rel=0.1)


def test_generated_teeth_are_as_light_in_small_openings_as_in_wide_ones() -> None:
    lips = Lips(*drawn(0)[::-1])
    light = {}
    for height, generated in ((6, 120), (24, 155)):  # as networks paint them
        paint = np.full((60, 100, 3), generated, np.float32)
        shown = np.zeros((60, 100), np.float32)
        shown[:height] = 1
        lips.finish(paint, shown, PART, lips.steady)
        light[height] = paint[2, 50].mean()
    assert light[6] == pytest.approx(light[24], rel=0.1)


def test_teeth_beyond_the_landmarks_are_hidden_too() -> None:
    picture = drawn(18)[0]
    landmarks = drawn(10)[1]
    assert white(picture) > 200
    assert white(Lips(landmarks, picture).shut()) < 10


def test_shining_lip_is_not_taken_for_teeth() -> None:
    picture, landmarks = drawn(14)
    picture[LINE + 7 : LINE + 18, 90:111] = TEETH  # down to the chin
    assert white(Lips(landmarks, picture).shut()) > 0.8 * 11 * 21


def test_mouth_opens_below_the_upper_lip_and_above_the_chin_only() -> None:
    picture, landmarks = drawn(14)
    shown = opening(picture, landmarks, places(picture.shape))
    assert not shown[: LINE - 8].any()
    assert shown[LINE + 3 : LINE + 12, 80:120].all()
    assert not shown[LINE + 34 :].any()
    assert not (shown[:, : LEFT + 1] > 0.5).any()
    assert not (shown[:, RIGHT:] > 0.5).any()
    moved = opening(picture, landmarks, places(picture.shape, (0, -10)))
    assert not moved[: LINE + 2].any()  # the frame shows the lip ten pixels lower


@pytest.mark.parametrize(("by", "believed"), [(6, 0.95), (10, 0.93), (20, 0.86)])
def test_lower_lip_stays_whole_below_the_opening(by: int, believed: float) -> None:
    picture, landmarks = drawn(0)
    depth = by + 9  # three pixels of the lip would be left
    shown, at = parted(picture, landmarks, block(slice(LINE, LINE + depth), slice(66, 134)), jaw_dropped(by))
    bottom = int(np.flatnonzero(shown[:, 100] > 0.5)[-1]) + 1
    assert 0.75 * depth < bottom - LINE <= believed * depth  # wide openings are believed less
    column = picture[np.rint(at[bottom:180, 100, 1]).astype(int), 100]
    is_lip = (column == LOWER_LIP).all(1)
    assert is_lip[:9].all()  # of 12 pixels, without the dark line
    assert is_lip.sum() <= 12
    assert (np.diff(at[bottom:, 100, 1]) > 0).all()  # nothing is shown twice


def test_skin_between_a_lip_and_a_near_chin_is_squeezed_but_stays() -> None:
    picture, landmarks = drawn(0)
    landmarks[152] = 100, LINE + 30
    shown, at = parted(picture, landmarks, block(slice(LINE, LINE + 28), slice(66, 134)))
    bottom = int(np.flatnonzero(shown[:, 100] > 0.5)[-1]) + 1
    assert (np.diff(at[bottom:, 100, 1]) > 0).all()
    assert (at[LINE + 31 :, 100, 1] == np.arange(LINE + 31, 220)).all()
    column = picture[np.rint(at[bottom : LINE + 31, 100, 1]).astype(int), 100]
    assert (column == SKIN).all(1).sum() >= 3


def test_parting_moves_nothing_above_the_lips_beside_them_and_below_the_chin() -> None:
    picture, landmarks = drawn(0)
    before = jaw_dropped(20)
    _, after = parted(picture, landmarks, block(slice(LINE, LINE + 26), slice(66, 134)), before)
    moved = np.abs(after - before).max(2) > 0.01
    assert moved[LINE + 26 : LINE + 40, 90:110].all()
    moved[LINE:182, 50:150] = False
    assert not moved.any()


def test_head_that_turned_parts_its_lips_where_they_are() -> None:
    picture, landmarks = drawn(0)
    shift = (6, -4)
    mask = block(slice(LINE + 4, LINE + 20), slice(66 - 6, 134 - 6))
    shown, at = parted(picture, landmarks, mask, places(picture.shape, shift))
    rows, columns = np.nonzero(shown > 0.5)
    assert abs(columns.mean() - (100 - 6)) < 1.5
    assert rows.min() >= LINE + 3
    assert np.allclose(at[..., 0], places(picture.shape, shift)[..., 0])  # this mouth is level


def test_faint_masks_and_islands_are_not_shown() -> None:
    picture, landmarks = drawn(0)
    below = slice(LINE + 22, LINE + 28)
    for mask in (block(below, slice(90, 110)), block(slice(LINE, LINE + 9), slice(80, 120), 0.4)):
        shown, at = parted(picture, landmarks, mask)
        assert not shown.any()
        assert np.array_equal(at, places(picture.shape))
    mask = np.maximum(block(slice(LINE, LINE + 10), slice(70, 130)), block(below, slice(90, 110)))
    shown, _ = parted(picture, landmarks, mask)
    assert shown[LINE + 2 : LINE + 8, 90:110].all()
    assert not shown[LINE + 12 :].any()


def test_pointed_mask_opens_a_round_mouth() -> None:
    picture, landmarks = drawn(0)
    mask = np.zeros((220, 200), np.float32)
    for x in range(66, 135):
        mask[LINE : LINE + 30 - abs(x - 100) * 30 // 35, x] = 1
    heights = (parted(picture, landmarks, mask, jaw_dropped(24))[0] > 0.5).sum(0)
    assert heights.max() >= 20
    assert heights[84] > 0.65 * heights.max()  # 0.54 in the mask


def test_line_between_shut_lips_is_where_the_picture_is_dark() -> None:
    picture, landmarks = drawn(0)
    picture[LINE - 3 : LINE - 1, LEFT:RIGHT] = 30  # the landmarks are two pixels off
    shown = opening(picture, landmarks, places(picture.shape))
    assert shown[LINE - 1, 100] > 0.8
    assert shown[LINE - 5, 100] < 0.01


def test_window_holds_the_mouth_and_leaves_out_the_eyes() -> None:
    _, landmarks = drawn(14)
    window = mouth_window(landmarks, 220)
    rows, columns = window.within(220 // CELLS * CELLS)
    assert rows.start < 85
    assert rows.stop > 190
    assert columns.start < 45
    assert columns.stop > 155
    assert rows.start > 30
    assert mouth_window(np.full((478, 2), -500, np.float32), 220) == WHOLE


def test_blunt_ends_of_a_mask_are_rounded() -> None:
    picture, landmarks = drawn(0)
    shown, _ = parted(picture, landmarks, block(slice(LINE, LINE + 20), slice(70, 130)))
    heights = (shown > 0.5).sum(0)[70:130]
    assert heights[30] >= 15
    assert heights[2] < 10
    assert (np.diff(heights[:28]) >= -1).all()
    assert np.abs(np.diff(shown, axis=1)).max() < 0.9  # no steps
