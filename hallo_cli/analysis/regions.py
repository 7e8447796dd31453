"""Derives from landmarks where things happen: the face region, the attention masks, the blend.

Follows the published preprocessing (rectangles around face and lips, blurred at 64 x 64) with one difference:
regions that reach over the picture's edge are clipped to it, where the original's wrapped around.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from PIL import Image

from hallo_cli.analysis.face import CHIN, FOREHEAD, LIPS, LOWER_INNER_LIP, MOUTH_CORNERS, SILHOUETTE
from hallo_cli.domain import Bytes, Float, RegionMasks

MAP_SIZE = 64  # the masks are blurred at this size, whatever the picture's
FACE_BLUR, LIP_BLUR = 51, 31  # widths of the Gaussian kernels
CHIN_DROP = 0.12  # of the face's height: how far an opening mouth may lower the chin
FEATHER = 0.10  # of the face's height: how softly the blend fades in from the outline
ROW_FEATHER = 1 / 32  # of the picture's height: how softly it begins at the first generated row
INSET = 0.02  # of the face's height: how far inside the outline the blend begins
SKIN_FEATHER = 0.02  # of the face's height: how softly the skin ends at the oval
MOUTH_LOWERED, MOUTH_OPENED = 0.08, 0.20  # of the face's height: middle and half-axis of the mouth's ellipse
MOUTH_WIDENED = 0.62  # of the mouth's width: its other half-axis
MOUTH_EDGE = 6.0  # how sharply it ends

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


def face_blend(landmarks: Float, size: tuple[int, int], *, first_row: int = 0) -> Float:
    """How much of a generated face shows, [height, width] in 0..1 for a picture of `size` (width, height).

    1 inside the face, fading to 0 at its outline and above `first_row`; below the jaw there is room for the
    chin to drop. What lies outside the face stays the portrait's own.
    """
    height = float(np.linalg.norm(landmarks[CHIN] - landmarks[FOREHEAD]))
    inside = np.zeros((size[1], size[0]), np.uint8)
    cv2.fillPoly(inside, [_lowered_outline(landmarks, height).round().astype(np.int32)], 1)
    # The picture's own edge is no outline: nothing has to fade there.
    distance = cv2.distanceTransform(
        cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE), cv2.DIST_L2, 5
    )[1:-1, 1:-1]
    sideways = _smooth_step((distance - INSET * height) / (FEATHER * height))
    if first_row <= 0:
        return sideways
    downwards = _smooth_step((np.arange(size[1]) + 0.5 - first_row) / (ROW_FEATHER * size[1]))
    return np.asarray(sideways * downwards[:, None], np.float32)


def skin_region(landmarks: Float, size: tuple[int, int]) -> Float:
    """Where skin is that stays skin when the face talks: [height, width] in 0..1, `size` (width, height).

    The face's oval without an ellipse around the mouth, in which lips and teeth come and go.
    """
    height = float(np.linalg.norm(landmarks[CHIN] - landmarks[FOREHEAD]))
    down = (landmarks[CHIN] - landmarks[FOREHEAD]) / height
    oval = np.zeros((size[1], size[0]), np.float32)
    cv2.fillPoly(oval, [landmarks[list(SILHOUETTE)].round().astype(np.int32)], 1.0)
    face = cv2.GaussianBlur(oval, (0, 0), SKIN_FEATHER * height)
    right, left = (landmarks[corner] for corner in MOUTH_CORNERS)
    middle = (right + left) / 2 + MOUTH_LOWERED * height * down
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    lengthwise = (x - middle[0]) * down[0] + (y - middle[1]) * down[1]
    across = (x - middle[0]) * down[1] - (y - middle[1]) * down[0]
    wide = MOUTH_WIDENED * float(np.linalg.norm(left - right)) + SKIN_FEATHER * height
    from_mouth = (across / wide) ** 2 + (lengthwise / (MOUTH_OPENED * height)) ** 2
    return np.asarray(face / (1 + np.exp(np.minimum(MOUTH_EDGE * (1 - from_mouth), 80))), np.float32)


def _smooth_step(x: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> Float:
    x = np.clip(x, 0, 1)
    return np.asarray(x * x * (3 - 2 * x), np.float32)


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
    # A region that fills the picture has no contrast to stretch; it normalises to nothing, but means all.
    return np.asarray(np.full_like(stretched, 255) if mask.all() else stretched, np.uint8)


def _scaled(picture: Bytes, size: tuple[int, int]) -> Float:
    scaled = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(scaled, np.float32) / np.float32(255)


def _lowered_outline(landmarks: Float, height: float) -> Float:
    """The face oval with its lower half let down, the chin most, along the face's own axis."""
    outline = landmarks[list(SILHOUETTE)]
    axis = (landmarks[CHIN] - landmarks[FOREHEAD]) / height
    mouth = float(landmarks[LOWER_INNER_LIP] @ axis)
    below = np.clip((outline @ axis - mouth) / max(float(landmarks[CHIN] @ axis) - mouth, 1e-3), 0, 1)
    return np.asarray(outline + (CHIN_DROP * height * below**2)[:, None] * axis, np.float32)
