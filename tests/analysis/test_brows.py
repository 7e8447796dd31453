"""Brows raised by geometry: they move up, the eyes below them and the chin stay."""

import cv2
import numpy as np
import pytest

from hallo_cli.analysis.brows import Brows
from hallo_cli.domain import Bytes, Float

SIDES = (
    ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55), (33, 160, 159, 157, 133), 50),
    ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276), (362, 384, 386, 387, 263), 150),
)
BROW, LID = 100, 130
HAIR = 20


def drawn() -> tuple[Bytes, Float]:
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[10], landmarks[152] = (125, 20), (125, 320)
    picture = np.full((340, 260, 3), 200, np.uint8)
    for upper, lower, lid, left in SIDES:
        columns = np.linspace(left, left + 60, 5)
        for line, row in ((upper, BROW - 8), (lower, BROW), (lid, LID)):
            landmarks[list(line)] = np.stack([columns, np.full(5, row)], 1)
        picture[BROW - 8 : BROW, left : left + 61] = HAIR
        picture[LID : LID + 10, left : left + 61] = 90
    return picture, landmarks


def places(shape: tuple[int, ...]) -> Float:
    return np.stack(np.meshgrid(np.arange(shape[1]), np.arange(shape[0])), -1).astype(np.float32)


def lifted(amount: float) -> tuple[Bytes, Bytes]:
    picture, landmarks = drawn()
    at = places(picture.shape)
    Brows(landmarks).lift(at, amount)
    columns, rows = (np.ascontiguousarray(at[..., axis]) for axis in (0, 1))
    return picture, np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR), np.uint8)


def middle_of_hair(picture: Bytes, column: int) -> float:
    return float(np.flatnonzero(picture[:, column, 0] < 60).mean())


@pytest.mark.parametrize("column", [80, 180])
def test_brows_rise_with_the_amount(column: int) -> None:
    before = middle_of_hair(drawn()[0], column)
    rises = [before - middle_of_hair(lifted(amount)[1], column) for amount in (0.25, 0.5, 1.0)]
    assert 2 < rises[0] < rises[1] < rises[2] < 15
    assert rises[2] == pytest.approx(4 * rises[0], rel=0.25)


def test_eyes_and_what_lies_below_stay_where_they_are() -> None:
    before, after = lifted(1.0)
    assert np.array_equal(before[LID:], after[LID:])


def test_skin_is_never_torn() -> None:
    picture, landmarks = drawn()
    at = places(picture.shape)
    Brows(landmarks).lift(at, 1.0)
    assert np.diff(at[..., 1], axis=0).min() > 0.55  # more would draw skin into streaks


def test_resting_brows_change_nothing() -> None:
    before, after = lifted(0.0)
    assert np.array_equal(before, after)


def test_brow_that_is_hardly_seen_does_not_move() -> None:
    picture, landmarks = drawn()
    landmarks[list(SIDES[0][1])] = 50
    at = places(picture.shape)
    Brows(landmarks).lift(at, 1.0)
    assert np.array_equal(at[:, :120], places(picture.shape)[:, :120])
    assert not np.array_equal(at[:, 140:], places(picture.shape)[:, 140:])
