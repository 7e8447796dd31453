"""Shuts a portrait's eyes: the skin above an upper lid's edge is stretched down over the eye, lashes and all.

The eyes' outlines say exactly where lids meet, so this needs no network. It happens in the portrait's own
geometry; the head's motion is applied over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.warping import Rectangle, sampled, showing
from hallo_cli.domain import Bytes, Float

# Landmarks from left to right: the edges of the upper and the lower lid, the brow's lower side
_EYES = (
    (
        (33, 246, 161, 160, 159, 158, 157, 173, 133),
        (33, 7, 163, 144, 145, 153, 154, 155, 133),
        (46, 53, 52, 65, 55),
    ),
    (
        (362, 398, 384, 385, 386, 387, 388, 466, 263),
        (362, 382, 381, 380, 374, 373, 390, 249, 263),
        (285, 295, 282, 283, 276),
    ),
)
_REACH = (0.08, 0.45)  # of the eye's width, least and most: how far above the edge skin gives way
_BELOW_BROW = 0.6  # of the way up to the brow: hairs of a brow must not be stretched
_LITTLE = 0.33  # of the eye's width: with less skin above the edge, skin under the eye helps out
_UNDER = 0.08  # of the eye's width: where that begins, below the lower lid
_LASHES = 0.18  # of the eye's width: the strip above the edge that moves without being stretched
_STREAKS = 0.025  # of the eye's width: skin that is stretched down is smoothed across so far
# A fold or a painted lid is dark; drawn over the whole eye it would be a hole. It comes so near to the skin
# under the eye, both compared over so far, in the eye's width
_LIT, _SHADING = 0.7, 0.08
_BEYOND = 0.06  # of the eye's height: how far the edge goes below the lower one
_SOFT = 0.15  # of the eye's width: how far beyond the corners skin gives way
_MARGIN = 0.5  # of the eye's width: how far a turning head may carry the eye
_LEAST = 1 / 250  # lids that are shut less do not show


@dataclass(frozen=True)
class _Eye:
    """An eye's outline in the picture's pixels, from a little beyond one corner to beyond the other."""

    columns: Float  # [n] rising
    upper: Float  # [n] rows of the upper lid's edge
    gap: Float  # [n] rows from there down to the lower one's; falls off softly beyond the corners
    reach: Float  # [n] rows of skin above the edge that give way
    width: float  # from corner to corner

    def skin(self, picture: Bytes) -> Float:
        """The colour [3] of the skin under the eye."""
        rows = (self.upper + self.gap)[16:-16:4] + np.linspace(0.12, 0.28, 5)[:, None] * self.width
        seen = _looked_up(picture, self.columns[16:-16:4], rows)
        return np.asarray(np.median(seen.reshape(-1, 3), 0), np.float32)

    def shown(self, places: Float) -> Rectangle | None:
        """The rows and columns of `places` that may show the eye."""
        margin = _MARGIN * self.width
        low = np.array([self.columns[0], (self.upper - self.reach).min()])
        high = np.array([self.columns[-1], (self.upper + self.gap).max()])
        return showing(places, low - margin, high + margin)

    def sources(self, places: Float, shut: float) -> _Sources:
        """Where places [h, w, 2] of the picture take their pixels from."""
        x, y = places[..., 0], places[..., 1]
        edge = np.interp(x, self.columns, self.upper).astype(np.float32)
        gap = np.interp(x, self.columns, self.gap, left=0, right=0).astype(np.float32)
        drop = gap * np.float32(shut * (1 + _BEYOND))
        reach = np.interp(x, self.columns, self.reach).astype(np.float32)
        strip = np.minimum(np.float32(_LASHES * self.width), reach / 2)
        top = edge - reach
        share = (y - top) / np.maximum(reach - strip + drop, 1)
        rows = np.where(share < 1, top + share * (reach - strip), y - drop)
        moved = (y > top) & (drop > 0)
        cover = np.clip(edge + drop - y + 0.5, 0, 1) * moved
        stretched = np.clip(4 * np.minimum(share, 1 - share), 0, 1) * np.clip(
            drop / np.maximum(reach, 1), 0, 1
        )
        floor, small = edge + gap, np.float32(_LITTLE * self.width)
        borrowed = floor + np.float32(_UNDER * self.width) + (floor - y) / 2
        inside = np.clip((y - edge) / strip, 0, 1) * np.clip((edge + drop - strip - y) / strip, 0, 1)
        lack = np.clip(1 - reach / small, 0, 1) * inside
        return _Sources(*(np.asarray(part, np.float32) for part in (rows, cover, borrowed, lack, stretched)))


@dataclass(frozen=True)
class _Sources:
    """For each place [h, w]."""

    rows: Float  # the row that it shows
    cover: Float  # how much the lid covers it, 0..1
    borrowed: Float  # the row of skin under the eye that may serve instead
    lack: Float  # how far it must, 0..1: there is hardly any lid below a low brow
    stretched: Float  # how far skin is drawn out there, 0..1


class Lids:
    """The lids of one portrait, in the pixels of the picture that is moved."""

    def __init__(self, landmarks: Float) -> None:
        """`landmarks` [478, 2]."""
        eyes = (_eye(*(landmarks[list(line)] for line in lines)) for lines in _EYES)
        self._eyes = [eye for eye in eyes if eye is not None]

    def shut(self, target: Bytes, picture: Bytes, places: Float, amount: float) -> None:
        """Draw the lids, 0 open to 1 shut, over part of a frame.

        target [h, w, 3]: the part as warped from `picture`, changed in place.
        places [h, w, 2]: the columns and rows of `picture` that it was warped from.
        """
        if amount < _LEAST:
            return
        for eye in self._eyes:
            part = eye.shown(places)
            if part is None:
                continue
            source = eye.sources(places[part], min(amount, 1.0))
            lid = _drawn(eye, picture, places[part][..., 0], source)
            under = target[part].astype(np.float32)
            shown = under + source.cover[..., None] * (lid - under)
            target[part] = np.clip(shown + 0.5, 0, 255).astype(np.uint8)


def _drawn(eye: _Eye, picture: Bytes, columns: Float, source: _Sources) -> Float:
    """The lid's colours [h, w, 3]."""
    lid = _looked_up(picture, columns, source.rows)
    light = cv2.GaussianBlur(lid, (0, 0), _SHADING * eye.width)
    smooth = cv2.GaussianBlur(lid, (0, 0), sigmaX=_STREAKS * eye.width, sigmaY=0.1)
    smooth = np.asarray(smooth + np.float32(_LIT) * (eye.skin(picture) - light), np.float32)
    lid += source.stretched[..., None] * (smooth - lid)
    if source.lack.any():
        lid += source.lack[..., None] * (_looked_up(picture, columns, source.borrowed) - lid)
    return lid


def _looked_up(picture: Bytes, columns: Float, rows: npt.NDArray[np.floating]) -> Float:
    places = np.stack(np.broadcast_arrays(columns, rows), -1).astype(np.float32)
    return sampled(picture, places, cv2.INTER_CUBIC).astype(np.float32)


def _eye(upper: Float, lower: Float, brow: Float) -> _Eye | None:
    """None for an eye that is hardly seen, such as one of a face in profile."""
    left, right = (float(upper[at, 0]) for at in (0, -1))
    width = right - left
    if width < 4 or (np.diff(upper[:, 0]) <= 0).any() or (np.diff(lower[:, 0]) <= 0).any():
        return None
    columns = np.linspace(left - _SOFT * width, right + _SOFT * width, 65)
    edge, floor = (np.interp(columns, side[:, 0], side[:, 1]) for side in (upper, lower))
    gap = np.maximum(floor - edge, 0)
    kernel = np.hanning(2 * round(64 * _SOFT / (1 + 2 * _SOFT)) + 1)
    softened = np.convolve(gap, kernel / kernel.sum(), "same")
    order = np.argsort(brow[:, 0])
    free = _BELOW_BROW * (edge - np.interp(columns, brow[order, 0], brow[order, 1]))
    reach = np.clip(free, _REACH[0] * width, _REACH[1] * width)
    lines = np.stack([columns, edge, np.maximum(gap, softened), reach]).astype(np.float32)
    return _Eye(lines[0], lines[1], lines[2], lines[3], width)
