"""Derives from landmarks the face region, the attention masks and the blend.

Follows the published preprocessing (rectangles around face and lips, blurred at 64 x 64) with one difference:
regions that reach over the picture's edge are clipped to it, where the original's wrapped around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from hallo_cli.analysis.face import LIPS, SILHOUETTE
from hallo_cli.domain import Bytes, Float, RegionMasks

MAP_SIZE = 64  # the masks are blurred at this size, whatever the picture's
FACE_BLUR, LIP_BLUR = 51, 31  # widths of the Gaussian kernels

Region = tuple[int, int, int, int]  # left, right, top, bottom: half-open


@dataclass(frozen=True)
class RegionMaps:
    """The masks at 64 x 64 before they are scaled to each level (uint8)."""

    background: Bytes
    face: Bytes
    lip: Bytes


def expand_region(
    bounds: tuple[float, float, float, float], size: tuple[int, int], ratio: float
) -> tuple[int, int, int, int]:
    """Scale a box (left, right, top, bottom) around its middle and shift it into the picture.

    A box larger than the picture still reaches outside; the rectangles below are clipped.
    """
    left, right, top, bottom = bounds
    return (*_expand(left, right, size[0], ratio), *_expand(top, bottom, size[1], ratio))


def face_rectangle(landmarks: Float, size: tuple[int, int], ratio: float = 1.2) -> Region:
    """The face locator's rectangle in a picture of `size` (width, height)."""
    return _clip(expand_region(_bounds(landmarks, SILHOUETTE), size, ratio), size)


def lip_rectangle(landmarks: Float, size: tuple[int, int], ratio: float = 2.0) -> Region:
    """The lip attention's rectangle in a picture of `size` (width, height)."""
    return _clip(expand_region(_bounds(landmarks, LIPS), size, ratio), size)


def union(regions: Sequence[Region]) -> Region:
    """The smallest rectangle that holds all of these: what training uses over a video's frames."""
    lefts, rights, tops, bottoms = zip(*regions, strict=True)
    return min(lefts), max(rights), min(tops), max(bottoms)


def filled(region: Region, size: tuple[int, int]) -> Bytes:
    """A picture [height, width] of `size` (width, height): 255 in the rectangle, else 0."""
    picture = np.zeros((size[1], size[0]), np.uint8)
    left, right, top, bottom = region
    picture[top:bottom, left:right] = 255
    return picture


def locator_mask(face: Region, size: tuple[int, int], out: tuple[int, int]) -> Float:
    """The face region [height, width] in 0..1 scaled from `size` to `out` (both width, height)."""
    return _scaled(filled(face, size), out)


def region_maps(face: Region, lip: Region, size: tuple[int, int]) -> RegionMaps:
    """Blur two rectangles of a picture of `size` (width, height) into the three maps (paper: section 3.2)."""
    face_blur = _blurred(filled(face, size), FACE_BLUR)
    lip_blur = _blurred(filled(lip, size), LIP_BLUR)
    # Truncated, not rounded, in double precision: the published masks are one grey level off for 50 values.
    background = ((1.0 - face_blur / 255.0) * 255).astype(np.uint8)
    return RegionMaps(background, np.asarray(cv2.subtract(face_blur, lip_blur), np.uint8), lip_blur)


def union_maps(face: Region, lip: Region, size: tuple[int, int]) -> RegionMaps:
    """As `region_maps`, but with the background that the published training computes: not truncated."""
    maps = region_maps(face, lip, size)
    face_blur = _blurred(filled(face, size), FACE_BLUR)
    return RegionMaps(np.asarray(255 - face_blur, np.uint8), maps.face, maps.lip)


def attention_masks(maps: RegionMaps, grids: Sequence[tuple[int, int]]) -> RegionMasks:
    """Scale the maps to each level's grid (width, height), finest first."""
    return RegionMasks(
        full=tuple(_scaled(maps.background, grid) for grid in grids),
        face=tuple(_scaled(maps.face, grid) for grid in grids),
        lip=tuple(_scaled(maps.lip, grid) for grid in grids),
    )


def _expand(low: float, high: float, length: int, ratio: float) -> tuple[int, int]:
    middle = (high + low) // 2
    side = (high - low) * ratio
    low, high = middle - side // 2, middle + side // 2
    if low < 0:
        low, high = 0, high - low
    if high > length:
        low, high = low - (high - length), length
    return round(low), round(high)


def _clip(region: tuple[int, int, int, int], size: tuple[int, int]) -> Region:
    left, right, top, bottom = region
    return max(left, 0), min(right, size[0]), max(top, 0), min(bottom, size[1])


def _bounds(landmarks: Float, indices: Sequence[int]) -> tuple[float, float, float, float]:
    points = np.asarray(landmarks, np.float64)[list(indices)]
    (left, top), (right, bottom) = np.round(points.min(axis=0)), np.round(points.max(axis=0))
    return float(left), float(right), float(top), float(bottom)


def _blurred(mask: Bytes, kernel: int) -> Bytes:
    small = cv2.resize(mask, (MAP_SIZE, MAP_SIZE))
    soft = cv2.GaussianBlur(small, (kernel, kernel), 0)
    stretched = np.zeros_like(soft)
    cv2.normalize(soft, stretched, 0, 255, cv2.NORM_MINMAX)
    # A region that fills the picture has no contrast and would normalise to 0, but means everything.
    return np.asarray(np.full_like(stretched, 255) if mask.all() else stretched, np.uint8)


def _scaled(picture: Bytes, size: tuple[int, int]) -> Float:
    scaled = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32) / np.float32(255)
