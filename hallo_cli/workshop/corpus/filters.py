"""OpenCV's picture operations on float32 pictures, with exact types."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Bytes, Float


def blurred(picture: Float, sigma: float) -> Float:
    """Gaussian blur; a trailing axis of one channel is kept."""
    return _float(cv2.GaussianBlur(picture, (0, 0), sigma)).reshape(picture.shape)


def averaged(picture: Float, width: int) -> Float:
    """The means of all squares of `width` x `width` pixels [h - width + 1, w - width + 1, c]."""
    inner = slice(width - 1, None)
    return _float(cv2.blur(picture, (width, width), anchor=(width - 1, width - 1))[inner, inner])


def smoothed(picture: Float, *, diameter: int, spread: float, reach: float) -> Float:
    """Bilateral filter: flat areas smooth, edges kept."""
    return _float(cv2.bilateralFilter(np.clip(picture, 0, 1), diameter, spread, reach))


def enlarged(grid: Float, size: int) -> Float:
    """A coarse grid [h, w(, c)] drawn smoothly over `size` x `size` pixels."""
    return _float(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC))


def looked_up(picture: Float, at: Float) -> Float:
    """The picture's values at `at` [h, w, 2] (x, y in pixels), mirrored beyond the edges."""
    at = at.astype(np.float32)
    return _float(cv2.remap(picture, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def transformed(picture: Float, matrix: Float) -> Float:
    """Each pixel's three channels multiplied by `matrix` [3, 3] from the left."""
    return _float(cv2.transform(picture, matrix))


def noise(rng: np.random.Generator, *shape: int) -> Float:
    """Normal noise in float32."""
    return rng.standard_normal(shape, dtype=np.float32)


def smooth_through(knots: npt.NDArray[np.float64], n_values: int) -> npt.NDArray[np.float64]:
    """Values [n_values(, c)] that go smoothly from the first of the knots [k(, c)] to the last."""
    at = np.linspace(0, len(knots) - 1.001, n_values)
    low = at.astype(int)
    share = (at - low).reshape(-1, *(1 for _ in knots.shape[1:]))
    share = share * share * (3 - 2 * share)
    return knots[low] * (1 - share) + knots[low + 1] * share


def levels(picture: Float) -> Bytes:
    """Brightness 0..1 as whole numbers 0..255."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def _float(picture: object) -> Float:
    return np.asarray(picture, np.float32)
