"""Shuts a portrait's mouth, and limits what is generated to the mouth's inside.

Networks of the embedded model's size shut lips badly from a smile that shows teeth, and their masks are soft.
The lips' outlines say where they meet, so neither needs a network: the skin between nose and chin is
stretched until they do, and the mouth opens from that line down (`mouth_opening`). Whatever the lips showed
is kept for when they part.
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from hallo_cli.analysis.lip_edges import along_the_dark, around_the_teeth
from hallo_cli.analysis.mouth import find_mouth, flesh_of, skin_of
from hallo_cli.analysis.mouth_inside import Inside, Teeth
from hallo_cli.analysis.mouth_opening import Course, columns_of, find_opening
from hallo_cli.analysis.warping import Rectangle, inside_of, origin_of, rectangle, sampled, whole
from hallo_cli.domain import LUMA, Bytes, Float

# Landmarks that move with the skull: eye corners, the bridge of the nose
_STEADY = (33, 133, 362, 263, 6, 197, 195, 5)
_NOSE = slice(4, 8)  # of those: nearest to the teeth

# In widths of the mouth, but where it says otherwise
_INSET = 0.015  # cut from the lips' edges, where teeth shine through
_LINE, _DARK = 0.012, 0.35  # the line between lips that were shut here: how wide, and how dark of 1
_TEETH = 0.2  # how far down upper teeth reach
_LEAST_TEETH, _BRIGHT = 0.02, 0.95  # of the width's square; of the flesh's light
_LOWERED = 0.03  # how far down they are moved: speaking lips cover more of them than smiling ones
_WHITER, _WHITE = 0.4, np.array([1.06, 1.0, 0.92], np.float32)  # how far to the second, of their light
_CORNER = 0.12  # over which they fade towards the mouth's corners
_SOFT = 0.02  # over which edges fade


class Lips:
    """The lips of one portrait, in the pixels of a picture of it."""

    def __init__(self, landmarks: Float, picture: Bytes) -> None:
        """`landmarks` [478, 2] of the picture [h, w, 3]."""
        self._picture, self._steady = picture, landmarks[list(_STEADY)].astype(np.float32)
        self._mouth = find_mouth(landmarks)
        if self._mouth is not None:
            find_edges = around_the_teeth if self._mouth.is_parted else along_the_dark
            self._mouth = find_edges(self._mouth, picture)
        self._inside = self._find_inside(landmarks)

    def shut(self) -> Bytes:
        """The picture with lips that meet."""
        window = self._between
        if self._mouth is None or window is None:
            return self._picture
        mouth, (x, y) = self._mouth, self._mouth.grid(window)
        upper, gap = mouth.edges(x)
        line = upper + mouth.meet * gap
        inset = _INSET * mouth.width * np.clip(gap / (0.05 * mouth.width), 0, 1)
        above = (y - mouth.top) * (upper - inset - mouth.top) / np.maximum(line - mouth.top, 1)
        below = (mouth.bottom - y) * (mouth.bottom - upper - gap - inset) / np.maximum(mouth.bottom - line, 1)
        rows = np.where(y < line, mouth.top + above, mouth.bottom - below)
        rows = np.where((y > mouth.top) & (y < mouth.bottom), rows, y)
        drawn = sampled(self._picture, mouth.placed(x, np.asarray(rows, np.float32)), cv2.INTER_CUBIC)
        dark = np.exp(-(((y - line) / (_LINE * mouth.width)) ** 2)) * np.clip(
            gap / (0.04 * mouth.width), 0, 1
        )
        shut = self._picture.copy()
        shut[window] = np.clip(drawn * (1 - _DARK * dark[..., None]) + 0.5, 0, 255).astype(np.uint8)
        return shut

    def part(self, places: Float, moved: Rectangle, mask: Float, painted: Rectangle) -> Float:
        """Open a frame's mouth: where its inside is seen, 0..1 [h, w]; in `places` the lower lip moves down.

        places [., ., 2]: the columns and rows of the shut picture that the frame is warped from.
        mask [h, w]: where networks paint, 0..1.
        moved, painted: the parts of the frame that the two are about.
        """
        mouth = self._mouth
        if mouth is None:
            return mask
        columns = columns_of(mouth)
        down = np.arange(mouth.top, 2 * mouth.bottom - mouth.top, dtype=np.float32)
        course = mouth.placed(*np.meshgrid(columns, down))
        from_x, from_y = mouth.upright(sampled(places, course - origin_of(moved)))
        paint = sampled(mask, course - origin_of(painted), border=cv2.BORDER_CONSTANT)
        opening = find_opening(mouth, down, Course(from_x, from_y, paint > 0.5))
        if opening is None:
            return np.zeros_like(mask)
        lowered = rectangle(*mouth.corners(columns[[0, -1]], opening.ends), within=moved)
        if lowered is not None:
            part = places[inside_of(lowered, moved)]
            part += opening.lowering(*mouth.grid(lowered), *mouth.upright(part))[..., None] * mouth.down
        return opening.shown(*mouth.grid(painted))

    @property
    def steady(self) -> Float:
        """Landmarks that move with the skull [n, 2]."""
        return self._steady

    def finish(self, paint: Float, shown: Float, painted: Rectangle, moved: Float) -> None:
        """Give part of a frame's paint [h, w, 3] the portrait's own colours and teeth, in place.

        shown [h, w]: where it will be seen. painted: the part of the frame.
        moved [n, 2]: where in the picture the places `steady` of the frame come from.
        """
        if self._inside is not None:
            to_picture = _rigid(self._steady, moved)
            to_picture[:, 2] += to_picture[:, :2] @ origin_of(painted)
            self._inside.paint_over(paint, shown, to_picture)

    def _find_inside(self, landmarks: Float) -> Inside | None:
        flesh = None if self._mouth is None else flesh_of(self._mouth, self._picture)
        if self._mouth is None or flesh is None:
            return None
        teeth = self._own_teeth(float(flesh @ LUMA))
        return Inside(flesh, skin_of(landmarks, self._picture), self._mouth.width, teeth)

    @cached_property
    def _between(self) -> Rectangle | None:
        """The part of the picture that shutting may change; None: none, such as of lips that are shut."""
        mouth = self._mouth
        if mouth is None or not mouth.is_parted:
            return None
        low, high = mouth.corners(mouth.upper[[0, -1], 0], (mouth.top, mouth.bottom))
        return rectangle(low, np.ceil(high) + 1, whole(self._picture))

    def _own_teeth(self, flesh: float) -> Teeth | None:
        """None where the picture shows none: what is between its lips is small, or darker than `flesh`."""
        window = self._between
        if self._mouth is None or window is None:
            return None
        mouth, (x, y) = self._mouth, self._mouth.grid(window)
        upper, gap = mouth.edges(x)
        soft = _SOFT * mouth.width
        end = upper + np.minimum(gap, _TEETH * mouth.width) - _INSET * mouth.width
        shown = np.clip((y - upper) / soft, 0, 1) * np.clip((end - y) / soft, 0, 1)
        side = np.minimum(x - mouth.upper[0, 0], mouth.upper[-1, 0] - x)
        shown *= np.clip(side / (_CORNER * mouth.width), 0, 1)
        picture = np.ascontiguousarray(self._picture[window])
        light = (picture @ LUMA)[shown > 0.5]
        if len(light) < _LEAST_TEETH * mouth.width**2 or np.percentile(light, 80) < _BRIGHT * flesh:
            return None
        origin = origin_of(window) + _LOWERED * mouth.width * mouth.down.astype(np.float64)
        return Teeth(_whiter(picture), np.asarray(shown, np.float32), origin)


def _whiter(teeth: Bytes) -> Bytes:
    """Teeth without some of the red that lips throw on them: they are seen alone now, not among lips."""
    white = (teeth @ LUMA)[..., None] * _WHITE
    return np.clip(teeth + _WHITER * (white - teeth) + 0.5, 0, 255).astype(np.uint8)


def _rigid(places: Float, moved: Float) -> Float:
    """The turn and shift [2, 3] that bring `places` to `moved` best; the bridge of the nose exactly."""
    a, b = places - places.mean(0), moved - moved.mean(0)
    turn = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    shift = moved[_NOSE].mean(0) - rotation @ places[_NOSE].mean(0)
    return np.concatenate([rotation, shift[:, None]], 1).astype(np.float32)
