"""How a take looks: the shape warp, colours, style and grain, the same in all its frames.

Strong enough that photographs, paintings, drawings and old prints lie inside the spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.domain import LUMA, Bytes, Float
from hallo_cli.workshop.corpus.filters import (
    blurred,
    enlarged,
    levels,
    looked_up,
    noise,
    smoothed,
    transformed,
)

Filter = Callable[[Float], Float]


@dataclass(frozen=True)
class Warp:
    """A smooth 2-D displacement of a square picture: output pixel -> source pixel, in units of its side."""

    shift: Float  # [64, 64, 2] x, y

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Warp:
        """A random one; about one in five leaves the picture as it is."""
        if rng.random() < 0.2:
            return cls(np.zeros((64, 64, 2), np.float32))
        total = np.zeros((64, 64, 2), np.float32)
        for cells, strength in ((4, 0.013), (7, 0.006), (12, 0.0025)):
            grid = noise(rng, cells, cells, 2) * np.float32(strength * rng.uniform(0.2, 1))
            total += enlarged(grid, 64)
        return cls(total)

    def source_of(self, points: Float) -> Float:
        """Where the pixels at `points` [..., 2] (0..1) come from."""
        grid = np.clip(points * 64 - 0.5, 0, 63).astype(np.float32).reshape(len(points), -1, 2)
        return points + looked_up(self.shift, grid).reshape(points.shape)

    def target_of(self, points: Float) -> Float:
        """Where the source's `points` [..., 2] end up; the inverse of `source_of`."""
        found = points
        for _ in range(4):
            found = points - (self.source_of(found) - found)
        return found


class Look:
    """The filters of one take, applied to float pictures [h, w, 3] in 0..1."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self._rng, self._size = rng, size
        style = rng.choice(["photo", "painting", "drawing", "cartoon"], p=[0.80, 0.10, 0.06, 0.04])
        self._filters: list[Filter] = []
        if style == "painting":
            self._filters.append(self._draw_painting())
        elif style == "drawing":
            self._filters.append(self._draw_outlines(weight=rng.uniform(0.5, 1), paper=rng.uniform(0.2, 0.9)))
        elif style == "cartoon":
            self._filters += [
                self._draw_posterise(),
                self._draw_outlines(weight=rng.uniform(0.3, 1), paper=0.0),
            ]
        self._filters.append(self._draw_tone())
        if rng.random() < 0.35:
            self._filters.append(self._draw_blur())
        if rng.random() < 0.25:
            self._filters.append(self._draw_vignette())
        if rng.random() < 0.5:
            self._filters.append(self._draw_grain())
        self._jpeg_quality = int(rng.integers(45, 90)) if rng.random() < 0.15 else None

    def __call__(self, picture: Float) -> Bytes:
        """The picture as the take shows it."""
        for apply in self._filters:
            picture = apply(picture)
        pixels = levels(picture)
        if self._jpeg_quality is not None:
            _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self._jpeg_quality])
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
        return pixels

    def _draw_tone(self) -> Filter:
        rng = self._rng
        mix = np.eye(3) + rng.normal(size=(3, 3)) * 0.03
        saturation = rng.uniform(0.45, 1.3)
        if rng.random() < 0.12:
            saturation = 0.0
        mix = saturation * mix + (1 - saturation) * LUMA
        if rng.random() < 0.06:  # sepia and other single inks
            mix = np.outer(rng.uniform(0.7, 1.1, 3), LUMA)
        gain, lift = rng.uniform(0.85, 1.15), rng.uniform(-0.04, 0.10)
        gamma = np.exp(rng.normal(size=3) * 0.05 + rng.normal() * 0.12)
        contrast = rng.uniform(-0.15, 0.35)
        matrix = mix.astype(np.float32).T

        def tone(picture: Float) -> Float:
            mixed = transformed(picture, matrix.T * np.float32(gain))
            np.clip(mixed, 0, 1, out=mixed)
            curved = np.power(mixed, gamma.astype(np.float32), out=mixed)
            curved *= np.float32(1 - lift)
            curved += np.float32(max(lift, 0.0))
            smooth = np.float32(3) - 2 * curved
            smooth *= curved
            smooth -= 1
            smooth *= curved * np.float32(contrast)
            return curved + smooth

        return tone

    def _draw_painting(self) -> Filter:
        rng = self._rng
        rounds, spread, reach = int(rng.integers(1, 4)), rng.uniform(0.08, 0.25), rng.uniform(2, 4)
        size = self._size
        strokes = blurred(noise(rng, size, size), 2.5)
        strokes *= np.float32(rng.uniform(0.5, 2.5) / strokes.std())
        rows, columns = np.mgrid[0:size, 0:size].astype(np.float32)
        moved = np.stack([columns + strokes, rows + np.roll(strokes, 37, axis=0)], axis=-1)
        canvas = 1 + rng.uniform(0, 0.1) * blurred(noise(rng, size, size), 0.8)[..., None]

        def painting(picture: Float) -> Float:
            picture = looked_up(picture, moved)
            for _ in range(rounds):
                picture = smoothed(picture, diameter=7, spread=spread, reach=reach)
            return (picture * canvas).astype(np.float32)

        return painting

    def _draw_outlines(self, *, weight: float, paper: float) -> Filter:
        rng = self._rng
        narrow = rng.uniform(0.6, 1.2)
        sharp = rng.uniform(8, 30)
        tint = rng.uniform(0.75, 1, 3).astype(np.float32)
        ink = rng.uniform(0, 0.3, 3).astype(np.float32)

        def outlines(picture: Float) -> Float:
            grey = np.clip(picture, 0, 1) @ LUMA
            edges = blurred(grey, narrow) - blurred(grey, narrow * 1.8)
            line = weight * np.clip(-edges * sharp, 0, 1)[..., None]
            shaded = picture * (1 - paper) + paper * (0.45 + 0.55 * grey[..., None]) * tint
            return (shaded * (1 - line) + ink * line).astype(np.float32)

        return outlines

    def _draw_posterise(self) -> Filter:
        levels = float(self._rng.integers(4, 9))
        smooth = self._rng.uniform(0.05, 0.15)

        def posterise(picture: Float) -> Float:
            flat = smoothed(picture, diameter=9, spread=smooth, reach=4)
            value = flat.max(axis=-1, keepdims=True) + 1e-4
            steps = value * levels
            low = np.floor(steps)
            soft = (low + np.clip((steps - low - 0.4) * 5, 0, 1)) / levels
            return (flat * (0.25 + 0.75 * soft / value)).astype(np.float32)

        return posterise

    def _draw_blur(self) -> Filter:
        rng = self._rng
        sigma = rng.uniform(0.4, 1.5)
        amount = rng.uniform(0.3, 1.2) if rng.random() < 0.5 else -1.0  # sharpen or blur

        def blur(picture: Float) -> Float:
            soft = blurred(picture, sigma)
            return soft if amount < 0 else np.clip(picture + amount * (picture - soft), 0, 1)

        return blur

    def _draw_vignette(self) -> Filter:
        rows, columns = np.mgrid[-1 : 1 : self._size * 1j, -1 : 1 : self._size * 1j]
        fall = 1 - self._rng.uniform(0.1, 0.5) * np.clip((rows**2 + columns**2) / 2, 0, 1)
        shade = fall[..., None].astype(np.float32)
        return lambda picture: picture * shade

    def _draw_grain(self) -> Filter:
        rng, size = self._rng, self._size
        channels = 3 if rng.random() < 0.4 else 1
        grain = noise(rng, size, size, channels)
        if rng.random() < 0.5:
            grain = blurred(grain, rng.uniform(0.5, 1.2))
        grain *= rng.uniform(0.004, 0.03) / grain.std()
        return lambda picture: picture + grain
