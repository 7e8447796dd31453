"""Shuts a portrait's mouth, and limits what is generated to the mouth's inside.

Networks of the embedded model's size shut lips badly from a smile that shows teeth, and their masks are soft.
The lips' outlines say where they meet, so neither needs a network: the skin between nose and chin is
stretched until they do, and paint begins at that line. The portrait's own teeth are shown where the mouth
opens again.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.analysis.mouth import along_the_dark, find_mouth, lower_lip
from hallo_cli.domain import LUMA, Bytes, Float

# Landmarks that move with the skull: eye corners, the bridge of the nose
_STEADY = (33, 133, 362, 263, 6, 197, 195, 5)
_NOSE = slice(4, 8)  # of those: nearest to the teeth

# In widths of the mouth, but where it says otherwise
_INSET = 0.015  # cut from the lips' edges, where teeth shine through
_LINE, _DARK = 0.012, 0.35  # the line between lips that were shut here: how wide, and how dark of 1
_TEETH = 0.2  # how far down upper teeth reach
_SECOND_ROW = 0.12  # generated teeth so near below the portrait's own are darkened
_COLOURLESS = (0.2, 0.3)  # of the brightest channel: teeth differ less between channels, lips more
_INSIDE = 0.2  # of the lower lip's light: how dark the mouth is behind the teeth
# Of the lower lip's light: paint darker than the first has the lips' colour, lighter than the second its own
_DEEP = (0.25, 0.55)
_SOFT = 0.02  # over which edges fade


@dataclass(frozen=True)
class Teeth:
    """What a portrait shows between its lips, in the pixels of the picture that is moved."""

    picture: Bytes  # [h, w, 3]
    shown: Float  # [h, w] 0..1: where that is upper teeth and the shadows beside them
    below: Float  # [h, w] 0..1: where no second row may follow
    origin: tuple[int, int]  # column and row of its first pixel

    def over(self, paint: Float, to_picture: Float, inside: Float) -> None:
        """Lay the teeth over part of a frame's paint [h, w, 3] in place.

        to_picture [2, 3] brings the part's columns and rows to the picture's.
        inside [3]: the colour of the mouth behind the teeth.
        """
        matrix = to_picture.copy()
        matrix[:, 2] -= self.origin
        size, flags = (paint.shape[1], paint.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown, below = (cv2.warpAffine(part, matrix, size, flags=flags) for part in (self.shown, self.below))
        teeth = cv2.warpAffine(self.picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        smooth = cv2.blur(paint, (5, 5))
        most, least = smooth.max(2), smooth.min(2)
        colour = ((most - least) / np.maximum(most, 1) - _COLOURLESS[0]) / (_COLOURLESS[1] - _COLOURLESS[0])
        below *= np.clip(1 - colour, 0, 1) * (most > inside.max())
        paint += below[..., None] * (inside - paint)
        paint += shown[..., None] * (teeth - paint)


class Lips:
    """The lips of one portrait, in the pixels of a picture of it."""

    def __init__(self, landmarks: Float, picture: Bytes) -> None:
        """`landmarks` [478, 2] of the picture [h, w, 3]."""
        self._picture, self._steady = picture, landmarks[list(_STEADY)].astype(np.float32)
        self._mouth = find_mouth(landmarks)
        if self._mouth is not None and not self._mouth.is_parted:
            self._mouth = along_the_dark(self._mouth, picture)
        self._teeth = self._own_teeth()
        self._colour = None if self._mouth is None else lower_lip(self._mouth, picture)

    def shut(self) -> Bytes:
        """The picture with lips that meet."""
        window = self._window()
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
        sources = mouth.placed(x, np.asarray(rows, np.float32))
        drawn = cv2.remap(self._picture, *sources, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        dark = np.exp(-(((y - line) / (_LINE * mouth.width)) ** 2)) * np.clip(
            gap / (0.04 * mouth.width), 0, 1
        )
        shut = self._picture.copy()
        shut[window] = np.clip(drawn * (1 - _DARK * dark[..., None]) + 0.5, 0, 255).astype(np.uint8)
        return shut

    def opening(self, places: Float, unsure: Float, sure: Float) -> Float:
        """Where a frame shows the mouth's inside, 0..1 [h, w]; what is unsure must lie below the upper lip.

        places [h, w, 2]: the columns and rows of the shut picture that the frame was warped from.
        unsure, sure [h, w]: the mask, and the part of it that counts even where the lips' edge contradicts.
        """
        mouth = self._mouth
        if mouth is None:
            return unsure
        x, y = mouth.upright(places)
        inside = np.maximum(unsure * np.clip(y - mouth.line(x) + 0.5, 0, 1), sure)
        end = float(mouth.under[:, 1].max())
        return np.asarray(inside * np.clip((end - y) / (_SOFT * mouth.width), 0, 1), np.float32)

    @property
    def steady(self) -> Float:
        """Landmarks that move with the skull [n, 2]."""
        return self._steady

    def finish(self, paint: Float, origin: tuple[int, int], moved: Float) -> None:
        """Give part of a frame's paint [h, w, 3] the portrait's own colour and teeth, in place.

        origin: the part's first column and row in the frame. moved [n, 2]: where in the picture the places
        `steady` of the frame come from.
        """
        if self._colour is None:
            return
        light = paint @ LUMA
        full = float(self._colour @ LUMA)
        deep = np.clip((_DEEP[1] - light / full) / (_DEEP[1] - _DEEP[0]), 0, 1)[..., None]
        paint += deep * (light[..., None] / full * self._colour - paint)
        if self._teeth is not None:
            to_picture = _rigid(self._steady, moved)
            to_picture[:, 2] += to_picture[:, :2] @ np.array(origin, np.float32)
            self._teeth.over(paint, to_picture, _INSIDE * self._colour)

    def _window(self) -> tuple[slice, slice] | None:
        if self._mouth is None or not self._mouth.is_parted:
            return None
        return self._mouth.window(self._picture.shape[:2])

    def _own_teeth(self) -> Teeth | None:
        window = self._window()
        if self._mouth is None or window is None:
            return None
        mouth, (x, y) = self._mouth, self._mouth.grid(window)
        upper, gap = mouth.edges(x)
        soft = _SOFT * mouth.width
        end = upper + np.minimum(gap, _TEETH * mouth.width) - _INSET * mouth.width
        shown = np.clip((y - upper) / soft, 0, 1) * np.clip((end - y) / soft, 0, 1)
        far = end + _SECOND_ROW * mouth.width
        below = np.clip((y - end) / soft + 1, 0, 1) * np.clip((far - y) / soft, 0, 1) * (end > upper)
        return Teeth(
            np.ascontiguousarray(self._picture[window]),
            np.asarray(shown, np.float32),
            np.asarray(below, np.float32),
            (window[1].start, window[0].start),
        )


def _rigid(places: Float, moved: Float) -> Float:
    """The turn and shift [2, 3] that bring `places` to `moved` best; the bridge of the nose exactly."""
    a, b = places - places.mean(0), moved - moved.mean(0)
    turn = float(np.arctan2((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum(), (a * b).sum()))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]], np.float32)
    shift = moved[_NOSE].mean(0) - rotation @ places[_NOSE].mean(0)
    return np.concatenate([rotation, shift[:, None]], 1).astype(np.float32)
