"""Shuts a portrait's eyes: the skin above an upper lid's edge is stretched down over the eye, lashes and all.

The eyes' outlines say exactly where lids meet, so this needs no network. It happens in the portrait's own
geometry; the head's motion is applied over it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.domain import Bytes, Float

# Landmarks from one corner of an eye to the other
_EYES = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((362, 398, 384, 385, 386, 387, 388, 466, 263), (362, 382, 381, 380, 374, 373, 390, 249, 263)),
)
_REACH = 0.45  # of the eye's width: how far above the edge skin gives way
_LASHES = 0.10  # of the eye's width: the strip above the edge that moves without being stretched
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
    width: float  # from corner to corner

    def sources(self, places: Float, shut: float) -> tuple[Float, Float]:
        """Rows [h, w] from which places [h, w, 2] of the picture take their pixels; how far, 0..1."""
        x, y = places[..., 0], places[..., 1]
        edge = np.interp(x, self.columns, self.upper).astype(np.float32)
        gap = np.interp(x, self.columns, self.gap, left=0, right=0).astype(np.float32)
        drop = gap * np.float32(shut * (1 + _BEYOND))
        reach, strip = np.float32(_REACH * self.width), np.float32(_LASHES * self.width)
        top = edge - reach
        share = (y - top) / np.maximum(reach - strip + drop, 1)
        rows = np.where(share < 1, top + share * (reach - strip), y - drop)
        moved = (y > top) & (drop > 0)
        cover = np.clip(edge + drop - y + 0.5, 0, 1) * moved
        return np.asarray(rows, np.float32), np.asarray(cover, np.float32)


class Lids:
    """The lids of one portrait, in the pixels of the picture that is moved."""

    def __init__(self, landmarks: Float) -> None:
        """`landmarks` [478, 2]."""
        self._eyes = [
            eye for upper, lower in _EYES if (eye := _eye(landmarks[list(upper)], landmarks[list(lower)]))
        ]

    def shut(self, target: Bytes, picture: Bytes, places: Float, amount: float) -> None:
        """Draw the lids, 0 open to 1 shut, over part of a frame.

        target [h, w, 3]: the part as warped from `picture`, changed in place.
        places [h, w, 2]: the columns and rows of `picture` that it was warped from.
        """
        if amount < _LEAST:
            return
        for eye in self._eyes:
            window = _window(eye, places)
            if window is None:
                continue
            inside = places[window]
            rows, cover = eye.sources(inside, min(amount, 1.0))
            lid = cv2.remap(
                picture,
                np.ascontiguousarray(inside[..., 0]),
                rows,
                cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REPLICATE,
            ).astype(np.float32)
            under = target[window].astype(np.float32)
            target[window] = np.clip(under + cover[..., None] * (lid - under) + 0.5, 0, 255).astype(np.uint8)


def _eye(upper: Float, lower: Float) -> _Eye | None:
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
    lines = np.stack([columns, edge, np.maximum(gap, softened)]).astype(np.float32)
    return _Eye(lines[0], lines[1], lines[2], width)


def _window(eye: _Eye, places: Float) -> tuple[slice, slice] | None:
    """The rows and columns of `places` that may show the eye; they lie near where the picture has it."""
    left, top = places[0, 0]
    scale = (places[-1, -1] - places[0, 0]) / np.maximum(np.array(places.shape[1::-1]) - 1, 1)
    margin = _MARGIN * eye.width
    low = (np.array([eye.columns[0], eye.upper.min() - _REACH * eye.width]) - margin - (left, top)) / scale
    high = (np.array([eye.columns[-1], (eye.upper + eye.gap).max()]) + margin - (left, top)) / scale
    low, high = np.maximum(np.floor(low), 0).astype(int), np.ceil(high).astype(int)
    window = slice(low[1], max(high[1], low[1])), slice(low[0], max(high[0], low[0]))
    return window if places[window].size else None
