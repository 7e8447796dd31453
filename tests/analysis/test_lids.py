"""Lids shut by geometry: over a whole eye, and nowhere else."""

import numpy as np
import pytest

from hallo_cli.analysis.lids import Lids
from hallo_cli.domain import Bytes, Float

SKIN, LINE, EYE, HAIR = 200, 90, 255, 10
BROW_ROW = 74
UPPER = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (362, 398, 384, 385, 386, 387, 388, 466, 263))
BROW = ((46, 53, 52, 65, 55), (285, 295, 282, 283, 276))
LOWER = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (362, 382, 381, 380, 374, 373, 390, 249, 263))
HEIGHT, WIDTH = 200, 300


def drawn() -> tuple[Bytes, Float]:
    """Two white eyes with a dark edge above, and their landmarks."""
    landmarks = np.zeros((478, 2), np.float32)
    picture = np.full((HEIGHT, WIDTH, 3), SKIN, np.uint8)
    for left, uppers, lowers, brows in zip((50, 180), UPPER, LOWER, BROW, strict=True):
        landmarks[list(brows)] = np.stack([np.linspace(left, left + 60, 5), np.full(5, BROW_ROW)], 1)
        picture[BROW_ROW - 8 : BROW_ROW, left : left + 61] = HAIR
        columns = np.linspace(left, left + 60, 9)
        arch = 14 * np.sin(np.linspace(0, np.pi, 9))
        landmarks[list(uppers)] = np.stack([columns, 100 - arch], 1)
        landmarks[list(lowers)] = np.stack([columns, 100 + 0.7 * arch], 1)
        for x in range(left, left + 61):
            top, bottom = (np.interp(x, columns, 100 + share * arch) for share in (-1, 0.7))
            picture[round(top) - 2 : round(top), x] = LINE
            picture[round(top) : round(bottom), x] = EYE
    return picture, landmarks


def places(shift: tuple[float, float] = (0.0, 0.0)) -> Float:
    grid = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1)
    return (grid + np.array(shift)).astype(np.float32)


def shut(amount: float) -> Bytes:
    picture, landmarks = drawn()
    target = picture.copy()
    Lids(landmarks).shut(target, picture, places(), amount)
    return target


def test_shut_lids_cover_the_eyes_with_skin_and_their_dark_edge() -> None:
    before, after = drawn()[0], shut(1.0)
    assert (before == EYE).any(2).sum() > 1000
    assert (after[:, :, 0] > 240).sum() < 15
    assert (after[100:115, 75:85] < 130).any()  # the edge lies where the lower lid is


def test_dark_fold_above_the_eye_does_not_make_a_dark_lid() -> None:
    picture, landmarks = drawn()
    picture[BROW_ROW + 4 : BROW_ROW + 9, 60:101] = 60
    target = picture.copy()
    Lids(landmarks).shut(target, picture, places(), 1.0)
    assert target[92:100, 75:85].mean() > 0.75 * SKIN
    assert target[BROW_ROW + 4 : BROW_ROW + 14, 80].min() < 0.6 * SKIN  # the fold is still there


def test_hairs_of_a_brow_close_above_are_not_drawn_over_the_eye() -> None:
    before, after = drawn()[0], shut(1.0)
    assert (before == HAIR).any()
    assert np.array_equal((after == HAIR)[:BROW_ROW], (before == HAIR)[:BROW_ROW])
    assert not (after[BROW_ROW + 2 :] < 40).any()


@pytest.mark.parametrize("amount", [0.0, 1 / 500])
def test_open_lids_leave_the_picture_as_it_is(amount: float) -> None:
    assert np.array_equal(shut(amount), drawn()[0])


def test_half_shut_lids_leave_the_lower_half_of_the_eye() -> None:
    before, after = drawn()[0], shut(0.5)
    share = (after[:, :, 0] > 240).sum() / (before[:, :, 0] > 240).sum()
    assert 0.35 < share < 0.6


def test_what_lies_away_from_the_eyes_stays() -> None:
    before, after = drawn()[0], shut(1.0)
    changed = np.argwhere((before != after).any(2))
    assert changed[:, 0].min() > 100 - 14 - 30
    assert changed[:, 0].max() < 100 + 14
    assert not (before != after)[:, 125:165].any()


def test_lids_follow_a_head_that_has_moved() -> None:
    picture, landmarks = drawn()
    moved = np.roll(picture, (4, -6), (0, 1))
    Lids(landmarks).shut(moved, picture, places((6.0, -4.0)), 1.0)
    inner = np.roll(shut(1.0), (4, -6), (0, 1))
    assert np.abs(moved[20:180, 20:280].astype(int) - inner[20:180, 20:280]).max() <= 1


def test_an_eye_that_a_turned_head_hides_is_left_alone() -> None:
    picture, landmarks = drawn()
    landmarks[list(UPPER[0])] = landmarks[list(LOWER[0])] = (60, 100)
    target = picture.copy()
    Lids(landmarks).shut(target, picture, places(), 1.0)
    assert np.array_equal(target[:, :120], picture[:, :120])
    assert not np.array_equal(target, picture)
