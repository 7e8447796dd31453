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
from hallo_cli.workshop.corpus.head_model import EYE, load_head_model

BACKDROP = -1
NEAR = 0.06  # decimetres: surface points that lie closer in depth are the same one


@dataclass(frozen=True)
class Shown:
    """What a raw picture shows of a person, as the rasteriser noted it."""

    screen: Float  # [n, 3] where each vertex is seen: column and row in pixels, 1 / distance
    triangles: npt.NDArray[np.int32]  # [size, size] seen triangle, BACKDROP where there is none
    corners: Float  # [size, size, 2] weights of the triangle's first two corners
    gaze_shift: Float  # [2] pixels by which the iris lies off the eyes' middle

    def materials_at(self, points: Float) -> npt.NDArray[np.int8]:
        """What is seen at points [..., 2] in pixels: head_model.SKIN, EYE, ..., BACKDROP."""
        triangles = self.triangles[self.pixels_at(points)]
        seen = load_head_model().materials[np.maximum(triangles, 0)]
        return np.where(triangles < 0, BACKDROP, seen).astype(np.int8)

    def pixels_at(self, points: Float) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Rows and columns of the pixels that hold points [..., 2], or are next to them."""
        pixels = np.clip(points.astype(np.int32), 0, len(self.triangles) - 1)
        return pixels[..., 1], pixels[..., 0]


def reference_points(frame: Shown, reference: Shown, points: Float) -> tuple[Float, npt.NDArray[np.bool_]]:
    """Where what `frame` shows at `points` [h, w, 2] (pixels) lies in the reference picture.

    Gives points of the reference [h, w, 2] and whether each is seen there [h, w]. The backdrop stays where it
    is, and is seen where the reference shows backdrop, too.
    """
    place = _located(frame, points, reference)
    materials = frame.materials_at(points)
    place[..., :2][materials == EYE] += reference.gaze_shift - frame.gaze_shift
    there = place[..., :2]
    front = _located(reference, there, reference)
    distance = np.abs(1 / np.maximum(front[..., 2], 1e-6) - 1 / np.maximum(place[..., 2], 1e-6))
    seen = (distance < NEAR) & (reference.materials_at(there) == materials)
    backdrop = materials == BACKDROP
    seen[backdrop] = reference.materials_at(points)[backdrop] == BACKDROP
    there[backdrop] = points[backdrop]
    return there, seen


@cache
def eye_radius() -> float:
    """Of the template's eyeballs, decimetres."""
    model = load_head_model()
    height = model.vertices[model.vertices_of(EYE), 1]
    return float(np.ptp(height)) / 2


def _located(shown: Shown, points: Float, there: Shown) -> Float:
    """Where on the screen of `there` the surface lies that is seen at points [h, w, 2]: [h, w, 3]."""
    at = shown.pixels_at(points)
    triangles, corners = shown.triangles[at], shown.corners[at]
    weights = np.concatenate([corners, 1 - corners.sum(-1, keepdims=True)], -1)
    ends = there.screen[load_head_model().triangles[np.maximum(triangles, 0)]]
    return np.asarray((ends * weights[..., None]).sum(-2), np.float32)
