"""The mouth's inside: the portrait's own teeth, a tongue, and the dark behind them.

What networks of the embedded model's size paint there is soft and grey. Its teeth are kept where the portrait
shows none; its dark is replaced by the portrait's own flesh in little light, with a tongue at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.easing import soft
from hallo_cli.domain import LUMA, Bytes, Float

# Of the flesh's light: the depth of the mouth, the tongue, the lower lip's inner side
_DARK, _TONGUE, _RIM = 0.14, 0.58, 0.68
# Of the flesh's light: paint darker than the first is replaced, lighter than the second kept
_DEEP = (0.3, 0.6)
_REDDER = np.array([1.0, 1.2, 1.2], np.float32)  # light that stays in the mouth turns red: exponents
# Generated teeth are grey, evenly lit and the same in every picture: what makes them the portrait's
_LIGHTER, _IVORY = np.float32(1.2), np.array([1.14, 1.08, 1.0], np.float32)
# The light is white where skin's own colours lie between these, of its light; tints beyond are not believed
_SKINS, _TINTS = np.array([[1.0, 0.86, 0.66], [1.3, 1.0, 1.0]], np.float32), (0.6, 1.5)
_BRIGHT, _BRIGHTER = 165.0, 1.25  # skin that is lighter than the first has lighter teeth, at most so
_LIP_SHADOW, _LIP_SHADOWED = 0.06, 0.72  # how far down they lie in the upper lip's shadow, and the light left
_SIDE_LIGHT = 0.65  # what light the teeth near the corners get
# Networks paint them darker where the mouth is little open: by the first at nothing, less up to the second
_DIM, _UNDIMMED = 0.35, 0.22
_GREY = 0.05  # of its light: colours that differ less between channels are a grey picture's
# In widths of the mouth: how far up tongue and lip are seen, and from which openings on
_TONGUE_HEIGHT, _TONGUE_SHOWS = 0.26, (0.03, 0.16)
_RIM_HEIGHT, _RIM_SHOWS = 0.03, (0.02, 0.08)
_LOW = 0.4  # of the opening, from below: less and less of it may be teeth
_SHADE, _SHADED = 0.12, 0.45  # how far down upper lip and teeth throw a shadow, and what light it leaves


@dataclass(frozen=True)
class Teeth:
    """What a portrait shows between its lips, in the pixels of the picture that is moved."""

    picture: Bytes  # [h, w, 3]
    shown: Float  # [h, w] 0..1: where that is upper teeth and the shadows beside them
    origin: npt.NDArray[np.float64]  # [2] column and row of its first pixel

    def over(self, paint: Float, to_picture: Float) -> None:
        """Lay the teeth over part of a frame's paint [h, w, 3] in place.

        to_picture [2, 3] brings the part's columns and rows to the picture's.
        """
        matrix = to_picture.copy()
        matrix[:, 2] -= self.origin
        size, flags = (paint.shape[1], paint.shape[0]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = cv2.warpAffine(self.shown, matrix, size, flags=flags)
        teeth = cv2.warpAffine(self.picture, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        paint += shown[..., None] * (teeth - paint)


@dataclass(frozen=True)
class _Light:
    """For each place [h, w] between the lips, 0..1, but where it says otherwise."""

    flesh: Float  # what is left of full light: in the depth, on the tongue, on the lower lip
    bottom: Float  # how certainly there are no upper teeth
    teeth: Float  # what is left of full light on upper teeth
    opened: float  # pixels: how far the mouth is open


@dataclass(frozen=True)
class Inside:
    """What is seen between one portrait's lips when they part."""

    flesh: Float  # [3] the colour of lips and tongue in full light
    skin: Float  # [3] its colour
    width: float  # of the mouth, in pixels
    teeth: Teeth | None  # the portrait's own, if it shows some

    def paint_over(self, paint: Float, shown: Float, to_picture: Float) -> None:
        """Change a frame's paint [h, w, 3] in place.

        shown [h, w]: where it will be seen, 0..1.
        to_picture [2, 3]: from its columns and rows to the picture's, along with the skull.
        """
        light = self._light(shown)
        lit = light.flesh[..., None]
        inside = np.asarray(self.flesh * (lit if self._is_grey else lit**_REDDER), np.float32)
        if self.teeth is not None:
            paint[:] = inside
            self.teeth.over(paint, to_picture)
            return
        paint *= 1 + _DIM * (1 - self._share(light.opened, (0, _UNDIMMED)))
        known = cv2.blur(np.asarray(paint @ LUMA, np.float32), (3, 3)) / float(self.flesh @ LUMA)
        deep = np.maximum(light.bottom, np.clip((_DEEP[1] - known) / (_DEEP[1] - _DEEP[0]), 0, 1))
        paint *= light.teeth[..., None] * (_LIGHTER if self._is_grey else self._white)
        paint += deep[..., None] * (inside - paint)

    @property
    def _white(self) -> Float:
        """What generated teeth are multiplied by [3] to be white in the picture's light."""
        level = max(float(self.skin @ LUMA), 1.0)
        own = self.skin / level
        tint = np.clip(own / np.clip(own, *_SKINS), *_TINTS)
        return np.asarray(_IVORY * tint * np.clip(level / _BRIGHT, 1, _BRIGHTER), np.float32)

    @property
    def _is_grey(self) -> bool:
        return float(np.ptp(self.flesh)) < _GREY * float(self.flesh @ LUMA)

    def _light(self, shown: Float) -> _Light:
        seen = shown > 0.5
        columns = np.flatnonzero(seen.any(0))
        if not len(columns):
            return _Light(np.full_like(shown, _DARK), np.zeros_like(shown), np.ones_like(shown), 0)
        rows = np.arange(len(shown), dtype=np.float32)[:, None]
        bottom, top = np.where(seen, rows, -1).max(0), np.where(seen, rows, len(rows)).min(0)
        opened = np.where(seen.any(0), bottom - top + 1, 0).astype(np.float32)
        up, down = self._smooth(bottom) - rows, rows - self._smooth(top)  # pixels
        across = np.abs((np.arange(shown.shape[1]) - columns[0]) / max(columns[-1] - columns[0], 1) * 2 - 1)
        wide = self._share(opened.max(), _TONGUE_SHOWS)
        height = _TONGUE_HEIGHT * self.width * wide * np.clip(1 - across**4, 0, 1)
        tongue = wide * soft(1 - up / np.maximum(height, 1))
        shade = _SHADED + (1 - _SHADED) * soft(down / (_SHADE * self.width))
        rim = soft(1 - up / (_RIM_HEIGHT * self.width)) * np.clip(1 - across**6, 0, 1)
        rim *= self._share(opened.max(), _RIM_SHOWS)
        lit = (_DARK + (_TONGUE - _DARK) * tongue) * shade
        low = 1 - soft(up / np.maximum(_LOW * opened, 1))
        on_teeth = _LIP_SHADOWED + (1 - _LIP_SHADOWED) * soft(down / (_LIP_SHADOW * self.width))
        on_teeth *= 1 - (1 - _SIDE_LIGHT) * across**2
        lit += rim * (_RIM - lit)
        lit, low, on_teeth = (np.asarray(part, np.float32) for part in (lit, low, on_teeth))
        return _Light(lit, low, on_teeth, float(opened.max()))

    def _share(self, pixels: float, ends: tuple[float, float]) -> float:
        return float(np.clip((pixels / self.width - ends[0]) / (ends[1] - ends[0]), 0, 1))

    def _smooth(self, line: Float) -> Float:
        reach = max(1, round(0.04 * self.width))
        return np.asarray(cv2.blur(line[None].astype(np.float32), (2 * reach + 1, 1)), np.float32)
