"""Raises a portrait's brows: the skin between lids and forehead is moved up, most where the brows are.

The brows' outlines say where they are, so this needs no network. It happens in the portrait's own geometry;
the head's motion is applied over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.easing import soft
from hallo_cli.analysis.warping import sampled, showing
from hallo_cli.domain import Float

# Landmarks from left to right: a brow's upper and lower side, the edge of the upper lid
_BROWS = (
    ((70, 63, 105, 66, 107), (46, 53, 52, 65, 55), (33, 160, 159, 157, 133)),
    ((336, 296, 334, 293, 300), (285, 295, 282, 283, 276), (362, 384, 386, 387, 263)),
)
_FOREHEAD, _CHIN = 10, 152
_HIGHEST = 0.045  # of the face's height: how far brows are raised at most
_GIVES = 0.3  # of the way from the lid's edge up to the brow: more would draw the skin between into streaks
_LID_RESTS = 0.1  # of the way from the lid's edge up to the brow: skin below does not move
_FOREHEAD_GIVES = 3.0  # of that way: how far above the brow skin gives way
_SIDES = 0.35  # of the brow's width: how far beyond its ends
_LEAST = 1 / 250  # brows that are raised less do not show
_MARGIN = 0.1  # of the face's height: how far a turning head may carry them


@dataclass(frozen=True)
class _Field:
    """How far each pixel of part of the picture moves with the brows, 0..1."""

    shares: Float  # [h, w] of `reach`
    reach: float  # pixels
    origin: Float  # [2] column and row of its first pixel


class Brows:
    """The brows of one portrait, in the pixels of the picture that is moved."""

    def __init__(self, landmarks: Float) -> None:
        """`landmarks` [478, 2]."""
        upwards = landmarks[_FOREHEAD] - landmarks[_CHIN]
        self._height = float(np.linalg.norm(upwards))
        self._margin = _MARGIN * self._height
        self._upwards = np.asarray(upwards / max(self._height, 1e-3), np.float32)
        self._fields = [field for lines in _BROWS if (field := self._field(landmarks, lines)) is not None]

    def lift(self, places: Float, amount: float) -> None:
        """Change in place the columns and rows of the picture [h, w, 2] that a frame is warped from.

        amount: 0 as in the portrait to 1 as high as they go.
        """
        if amount < _LEAST:
            return
        for field in self._fields:
            end = field.origin + field.shares.shape[::-1]
            part = showing(places, field.origin - self._margin, end + self._margin)
            if part is not None:
                shares = sampled(field.shares, places[part] - field.origin, border=cv2.BORDER_CONSTANT)
                moved = shares[..., None] * np.float32(min(amount, 1.0) * field.reach)
                places[part] -= moved * self._upwards

    def _field(self, landmarks: Float, lines: tuple[tuple[int, ...], ...]) -> _Field | None:
        """None for a brow that is hardly seen, such as one of a face in profile."""
        right = np.array([-self._upwards[1], self._upwards[0]], np.float32)
        points = [
            np.stack([landmarks[list(line)] @ right, -landmarks[list(line)] @ self._upwards], 1)
            for line in lines
        ]
        upper, lower, lid = (line[np.argsort(line[:, 0])] for line in points)
        left, width = float(lower[0, 0]), float(lower[-1, 0] - lower[0, 0])
        free = float((lid[:, 1] - np.interp(lid[:, 0], *lower.T)).mean())
        if width < 4 or free < 1:
            return None
        sides, forehead = _SIDES * width, _FOREHEAD_GIVES * free
        across = (upper[:, 0].min() - sides, lid[:, 0].max() + sides)
        down = (upper[:, 1].min() - forehead, lid[:, 1].max())
        bounds = np.array([(x, y) for x in across for y in down])
        ends = bounds[:, :1] * right - bounds[:, 1:] * self._upwards
        low, high = np.floor(ends.min(0)), np.ceil(ends.max(0))
        columns, rows = (np.arange(low[axis], high[axis] + 1, dtype=np.float32) for axis in (0, 1))
        grid = np.stack(np.meshgrid(columns, rows), -1)
        x, y = grid @ right, -grid @ self._upwards
        top, bottom, edge = (np.interp(x, *line.T) for line in (upper, lower, lid))
        rests = edge - _LID_RESTS * np.maximum(edge - bottom, 1)
        below = np.clip((rests - y) / np.maximum(rests - bottom, 1), 0, 1)
        above = np.clip(1 - (top - y) / (_FOREHEAD_GIVES * free), 0, 1)
        beside = np.clip(1 + np.minimum(x - left, left + width - x) / (_SIDES * width), 0, 1)
        shares = _even(below) * soft(above) * soft(beside)
        reach = min(_HIGHEST * self._height, _GIVES * free)
        return _Field(np.asarray(shares, np.float32), reach, low.astype(np.float32))


def _even(share: npt.NDArray[np.floating]) -> Float:
    """Smooth from 0 to 1, but as evenly as that allows: no slope is above 1.25."""
    ends, slope = 0.2, 1.25
    near, far = np.minimum(share, ends), np.minimum(1 - share, ends)
    middle = np.clip(share, ends, 1 - ends) - ends
    evened = slope * (near**2 / (2 * ends) + middle + ends / 2 - far**2 / (2 * ends))
    return np.asarray(evened, np.float32)
