"""What stands behind the head: walls, blurred rooms and gardens, studio gradients, long hair."""

from __future__ import annotations

import cv2
import numpy as np

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.filters import blurred, enlarged, noise


def draw_backdrop(rng: np.random.Generator, size: int) -> Float:
    """A random background [size, size, 3] in 0..1."""
    first, second = rng.uniform(0.03, 1, (2, 3)).astype(np.float32)
    if rng.random() < 0.5:
        second = first * np.float32(rng.uniform(0.6, 1.1))
    if rng.random() < 0.4:
        first, second = np.full_like(first, first.mean()), np.full_like(second, second.mean())
    image = _gradient(first, second, rng, size)
    kind = rng.random()
    if kind < 0.35:
        image = _shapes(image, rng)
        image = blurred(image, rng.uniform(0.5, 1) * size * rng.choice([0.004, 0.02, 0.05]))
    elif kind < 0.5:
        image = (
            image
            * (1 + rng.uniform(0.03, 0.25) * _clouds(rng, size, int(rng.choice([4, 12, 40]))))[..., None]
        )
    elif kind < 0.62:
        image *= 1 + 0.3 * _clouds(rng, size, 7)[..., None] * rng.uniform(-1, 1, 3).astype(np.float32)
    return np.ascontiguousarray(image.clip(0, 1), np.float32)


def draw_back_hair(
    image: Float, *, centre: tuple[float, float], height: float, colour: Float, rng: np.random.Generator
) -> None:
    """Paint long hair behind the head in place; the head's height and centre are in pixels."""
    size = len(image)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
    down = (rows - centre[1]) / height
    across = (columns - centre[0]) / height
    length, width = rng.uniform(0.5, 1.3), rng.uniform(0.42, 0.60)
    wave = 0.02 * np.sin(down * rng.uniform(5, 14) + rng.uniform(0, 6)) * (down > 0)
    crown = (across / width) ** 2 + (down / 0.62) ** 2 < 1
    falling = (
        (np.abs(across + wave) < width * (1 + rng.uniform(-0.1, 0.25) * down)) & (down > 0) & (down < length)
    )
    mask = blurred((crown | falling).astype(np.float32), size * 0.003)[..., None]
    fine = enlarged(noise(rng, 6, size // 3), size)
    strands = 0.7 + 0.22 * fine + 0.1 * np.sin(columns * rng.uniform(0.1, 0.35) + 6 * wave / 0.02)
    image[:] = image * (1 - mask) + np.clip(colour * strands[..., None], 0, 1) * mask


def _gradient(first: Float, second: Float, rng: np.random.Generator, size: int) -> Float:
    angle = rng.uniform(0, 2 * np.pi)
    ticks = np.arange(size, dtype=np.float32) / np.float32(size) - np.float32(0.5)
    rows, columns = ticks[:, None], ticks
    along = np.clip(0.5 + rows * float(np.sin(angle)) + columns * float(np.cos(angle)), 0, 1)
    if rng.random() < 0.3:
        along = np.clip(np.hypot(rows, columns) * 1.6, 0, 1)
    return first + (second - first) * along[..., None].astype(np.float32)


def _shapes(image: Float, rng: np.random.Generator) -> Float:
    size = len(image)
    for _ in range(int(rng.integers(3, 30))):
        colour = tuple(float(c) for c in rng.uniform(0, 1, 3) * rng.uniform(0.3, 1))
        x, y = (int(v) for v in rng.integers(0, size, 2))
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), int(rng.uniform(0.02, 0.15) * size), colour, -1)
        else:
            width, height = (int(v) for v in rng.uniform(0.03, 0.5, 2) * size)
            cv2.rectangle(image, (x, y), (x + width, y + height), colour, -1)
    return image


def _clouds(rng: np.random.Generator, size: int, cells: int) -> Float:
    return enlarged(noise(rng, cells, cells), size)
