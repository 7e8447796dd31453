"""Glasses: two rims, a bridge and temples that move with the skull and not with the skin.

The head's mesh always has them; on most people they have no extent and so are never drawn.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float

_STEPS = 28  # corners of a rim
_FAR = 0.35  # depth at which the temples end, before the middle of the head, decimetres
_RIM_VERTICES = 2 * _STEPS
N_VERTICES = 2 * _RIM_VERTICES + 4 + 2 * 4
SHARE = 0.15  # of people


@cache
def triangles() -> npt.NDArray[np.int32]:
    """The mesh [t, 3], counted from its first vertex."""
    found: list[tuple[int, int, int]] = []
    for rim in range(2):
        first = rim * _RIM_VERTICES
        for step in range(_STEPS):
            inner, outer = first + step, first + _STEPS + step
            next_inner, next_outer = first + (step + 1) % _STEPS, first + _STEPS + (step + 1) % _STEPS
            found += [(inner, outer, next_outer), (inner, next_outer, next_inner)]
    for strip in range(3):  # the bridge, two temples
        first = 2 * _RIM_VERTICES + 4 * strip
        found += [(first, first + 1, first + 2), (first + 1, first + 3, first + 2)]
    return np.array(found, np.int32)


def shape(rng: np.random.Generator, eyes: Float, skin: Float) -> Float:
    """A random pair for these eyeballs [n, 3] and this skin [m, 3]: vertices [N_VERTICES, 3]."""
    half_width, half_height = rng.uniform(0.19, 0.27), rng.uniform(0.13, 0.22)
    thickness, power = rng.uniform(0.008, 0.035), rng.uniform(2.0, 4.5)
    centre = np.abs(eyes).mean(axis=0)
    x, y = float(centre[0]) + rng.uniform(-0.01, 0.02), float(centre[1]) - rng.uniform(0, 0.05)
    depth = _depth_before(skin, x, y, half_width, half_height)
    angle = np.arange(_STEPS) * (2 * np.pi / _STEPS)
    cosine, sine = np.cos(angle), np.sin(angle)
    outline = np.stack([np.sign(part) * np.abs(part) ** (2 / power) for part in (cosine, sine)], 1)
    parts = []
    for side in (1, -1):
        for extra in (0.0, thickness):
            rim = outline * (half_width + extra, half_height + extra) + (x, y)
            parts.append(
                np.column_stack([side * rim[:, 0], rim[:, 1], depth - 0.25 * (rim[:, 0] - 0.1) ** 2])
            )
    top = y + half_height * rng.uniform(0.1, 0.7)
    inside, outside = x - half_width * 0.97, x + half_width * 0.97 + thickness
    nose = float(
        skin[(np.abs(skin[:, 0]) < 0.08) & (np.abs(skin[:, 1] - top) < 0.08)][:, 2].max(initial=depth)
    )
    bridge = [
        (side * inside, top + up, max(depth, nose + 0.02))
        for side in (1, -1)
        for up in (0.0, max(thickness, 0.015))
    ]
    parts.append(np.array(bridge))
    for side in (1, -1):
        near = [(side * outside, top + up, depth - 0.25 * (outside - 0.1) ** 2) for up in (0.0, 0.03)]
        ends = [(side * max(outside, 0.74), top + up, _FAR) for up in (0.02, 0.05)]
        parts.append(np.array(near + ends))
    return np.concatenate(parts).astype(np.float32)


def colour(rng: np.random.Generator) -> Float:
    """Linear RGB of the frame: mostly dark, some metal or bright."""
    if rng.random() < 0.6:
        return (rng.uniform(0.01, 0.08) * rng.uniform(0.8, 1.2, 3)).astype(np.float32)
    return rng.uniform(0.1, 0.7, 3).astype(np.float32)


def _depth_before(skin: Float, x: float, y: float, half_width: float, half_height: float) -> float:
    side = np.abs(skin[:, 0])
    behind = (np.abs(side - x) < half_width) & (np.abs(skin[:, 1] - y) < half_height) & (side > 0.14)
    return float(skin[behind, 2].max(initial=1.4)) + 0.03
