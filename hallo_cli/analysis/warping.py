"""Places of pictures: rectangles of whole pixels, and what lies at a place."""

from __future__ import annotations

from math import ceil, floor
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Bytes, CropBox, Float

Rectangle = tuple[slice, slice]  # rows and columns of a picture, in whole pixels
Values = TypeVar("Values", Bytes, Float)
Corner = npt.NDArray[np.floating] | tuple[float, float]  # x, y


def rectangle(low: Corner, high: Corner, within: Rectangle) -> Rectangle | None:
    """The pixels between two corners of a picture that lie in a part of it; None: none do."""
    rows, columns = within
    left, top = max(columns.start, floor(low[0])), max(rows.start, floor(low[1]))
    right, bottom = min(columns.stop, ceil(high[0])), min(rows.stop, ceil(high[1]))
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def whole(picture: Bytes | Float) -> Rectangle:
    """All of a picture [height, width, ...]."""
    return slice(0, picture.shape[0]), slice(0, picture.shape[1])


def inside_of(part: Rectangle, other: Rectangle) -> Rectangle:
    """A part of a picture, counted from where another one begins that holds it."""
    rows, columns = (
        slice(span.start - first.start, span.stop - first.start)
        for span, first in zip(part, other, strict=True)
    )
    return rows, columns


def origin_of(part: Rectangle) -> Float:
    """The column and row [2] of its first pixel."""
    return np.array([part[1].start, part[0].start], np.float32)


def size_of(part: Rectangle) -> tuple[int, int]:
    """Width and height, as OpenCV has it."""
    return part[1].stop - part[1].start, part[0].stop - part[0].start


def showing(places: Float, low: Corner, high: Corner) -> Rectangle | None:
    """The rows and columns of places [h, w, 2] of a picture that show what is between two of its corners.

    Each place lies near where it would be without motion; the corners must leave room for that.
    """
    first = places[0, 0]
    scale = (places[-1, -1] - first) / np.maximum(np.array(places.shape[1::-1]) - 1, 1)
    return rectangle((low - first) / scale, (high - first) / scale, whole(places))


def sampled(
    values: Values, places: Float, how: int = cv2.INTER_LINEAR, *, border: int = cv2.BORDER_REPLICATE
) -> Values:
    """The values [h, w, ...] at places [n, m, 2]: columns and rows."""
    found = cv2.remap(values, places, None, how, borderMode=border)  # type: ignore[call-overload]
    return np.asarray(found, values.dtype)


def to_part(part: Rectangle, box: CropBox, side: int, margin: int = 0) -> npt.NDArray[np.float64]:
    """The matrix [2, 3] from the pixels of a map of a square to those of a part of the picture.

    The map has `side` pixels a side, and so many more around them as `margin` says.
    """
    scale = box.side / side
    # Pixel centres lie at halves; warpAffine counts them as whole numbers.
    x = box.left - part[1].start + (0.5 - margin) * scale - 0.5
    y = box.top - part[0].start + (0.5 - margin) * scale - 0.5
    return np.array([[scale, 0, x], [0, scale, y]])
