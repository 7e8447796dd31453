"""Exact motion between two pictures of one person: where each surface point of the one lies in the other.

The rasteriser knows which triangle every pixel shows, and where in it. Looked up in the reference picture,
this gives backward flow without estimation, as FlowNet's and Sintel's authors take theirs from the renderer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.head_model import EYE, HeadModel, load_head_model

BACKDROP = -1
NEAR = 0.06  # decimetres: surface points that lie closer in depth are the same one


@dataclass(frozen=True)
class Shown:
    """What a raw picture shows of a person, as the rasteriser noted it."""

    screen: Float  # [n, 3] where each vertex is seen: column and row in pixels, 1 / distance
    triangles: npt.NDArray[np.int32]  # [size, size] seen triangle, BACKDROP where there is none
    corners: Float  # [size, size, 2] weights of the triangle's first two corners
    gaze_shift: Float  # [2] pixels by which the iris lies off the eyes' middle


def materials_at(
    shown: Shown, model: HeadModel, at: tuple[npt.NDArray[np.int32], ...]
) -> npt.NDArray[np.int8]:
    """What is seen at rows and columns: head_model.SKIN, EYE, ..., BACKDROP."""
    triangles = shown.triangles[at]
    return np.where(triangles < 0, BACKDROP, model.materials[np.maximum(triangles, 0)]).astype(np.int8)


def reference_points(frame: Shown, reference: Shown, points: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Where what `frame` shows at `points` [h, w, 2] (pixels) lies in the reference picture.

    Gives points of the reference [h, w, 2] and whether each is seen there [h, w]. The backdrop stays where it
    is, and is seen where the reference shows backdrop, too.
    """
    model = load_head_model()
    at = _indices(points, frame)
    place = _located(reference.screen, model, frame.triangles[at], frame.corners[at])
    materials = materials_at(frame, model, at)
    place[..., :2][materials == EYE] += reference.gaze_shift - frame.gaze_shift
    there = _indices(place[..., :2], reference)
    front = _located(reference.screen, model, reference.triangles[there], reference.corners[there])
    distance = np.abs(1 / np.maximum(front[..., 2], 1e-6) - 1 / np.maximum(place[..., 2], 1e-6))
    seen = (distance < NEAR) & (materials_at(reference, model, there) == materials)
    backdrop = materials == BACKDROP
    place[..., :2][backdrop] = points[backdrop]
    seen[backdrop] = reference.triangles[at][backdrop] < 0
    return place[..., :2], seen


@cache
def eye_radius() -> float:
    """Of the template's eyeballs, decimetres."""
    model = load_head_model()
    height = model.vertices[model.vertices_of(EYE), 1]
    return float(np.ptp(height)) / 2


def _indices(points: Float, shown: Shown) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    pixels = np.clip(points.astype(np.int32), 0, len(shown.triangles) - 1)
    return pixels[..., 1], pixels[..., 0]


def _located(screen: Float, model: HeadModel, triangles: npt.NDArray[np.int32], corners: Float) -> Float:
    weights = np.concatenate([corners, 1 - corners.sum(-1, keepdims=True)], -1)
    ends = screen[model.triangles[np.maximum(triangles, 0)]]
    return np.asarray((ends * weights[..., None]).sum(-2), np.float32)
