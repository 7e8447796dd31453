"""The mouth's inside: the portrait's own teeth, a tongue, and the dark behind them.

What networks of the embedded model's size paint there is soft and grey. Its teeth are kept where the portrait
shows none; its dark is replaced by the portrait's own flesh in little light, with a tongue at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.domain import LUMA, Bytes, Float

_COLOURLESS = (0.2, 0.3)  # of the brightest channel: teeth differ less between channels, lips more
_DARK, _TONGUE = 0.2, 0.62  # of the flesh's light
# Of the flesh's light: paint darker than the first is replaced, lighter than the second kept
_DEEP = (0.3, 0.6)
# In widths of the mouth: how far up the tongue is seen, and from which openings on
_TONGUE_HEIGHT, _TONGUE_SHOWS = 0.2, (0.03, 0.16)


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
        inside [h, w, 3]: the mouth behind the teeth.
        """
        matrix = to_picture.copy()
        matrix[:, 2] -= self.origin
        size, flags = (paint.shape[1], paint.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown, below = (cv2.warpAffine(part, matrix, size, flags=flags) for part in (self.shown, self.below))
        teeth = cv2.warpAffine(self.picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        smooth = cv2.blur(paint, (5, 5))
        most, least = smooth.max(2), smooth.min(2)
        colour = ((most - least) / np.maximum(most, 1) - _COLOURLESS[0]) / (_COLOURLESS[1] - _COLOURLESS[0])
        below *= np.clip(1 - colour, 0, 1) * (most > inside.max(2))
        paint += below[..., None] * (inside - paint)
        paint += shown[..., None] * (teeth - paint)


@dataclass(frozen=True)
class Inside:
    """What is seen between one portrait's lips when they part."""

    flesh: Float  # [3] the colour of lips and tongue in full light
    width: float  # of the mouth, in pixels
    teeth: Teeth | None  # the portrait's own, if it shows some

    def paint_over(self, paint: Float, shown: Float, to_picture: Float) -> None:
        """Change a frame's paint [h, w, 3] in place.

        shown [h, w]: where it will be seen, 0..1.
        to_picture [2, 3]: from its columns and rows to the picture's, along with the skull.
        """
        light = cv2.blur(np.asarray(paint @ LUMA, np.float32), (3, 3)) / float(self.flesh @ LUMA)
        deep = np.clip((_DEEP[1] - light) / (_DEEP[1] - _DEEP[0]), 0, 1)
        lit = _DARK + (_TONGUE - _DARK) * self._tongue(shown)
        inside = np.asarray(lit[..., None] * self.flesh, np.float32)
        paint += deep[..., None] * (inside - paint)
        if self.teeth is not None:
            self.teeth.over(paint, to_picture, inside)

    def _tongue(self, shown: Float) -> Float:
        """How much the tongue is seen, 0..1 [h, w]."""
        seen = shown > 0.5
        columns = np.flatnonzero(seen.any(0))
        if not len(columns):
            return np.zeros_like(shown)
        rows = np.arange(len(shown), dtype=np.float32)[:, None]
        bottom, top = (np.where(seen, rows, -1).max(0), np.where(seen, rows, len(rows)).min(0))
        opened = np.where(seen.any(0), bottom - top + 1, 0).astype(np.float32)
        reach = max(1, round(0.04 * self.width))
        floor_row = cv2.blur(bottom[None].astype(np.float32), (2 * reach + 1, 1))
        across = (np.arange(shown.shape[1]) - columns[0]) / max(columns[-1] - columns[0], 1) * 2 - 1
        low, high = (share * self.width for share in _TONGUE_SHOWS)
        wide = np.clip((opened.max() - low) / (high - low), 0, 1)
        height = _TONGUE_HEIGHT * self.width * wide * np.clip(1 - across**4, 0, 1)
        share = np.clip(1 - (floor_row - rows) / np.maximum(height, 1), 0, 1)
        return np.asarray(wide * share * share * (3 - 2 * share) * (np.abs(across) < 1), np.float32)
