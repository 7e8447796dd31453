"""Puts finished frames onto a canvas of another size and shape; nothing is stretched.

Knows arrays only; the caller gives the position of the eyes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.domain import Bytes

EYE_LINE = 1 / 3  # height of the eyes, as a share of the canvas from its top, if the frame allows it
BLUR_SIDE = 64  # pixels of the shorter side that the blurred background is made at
BLUR_SIGMA = 2.5  # pixels of that


@dataclass(frozen=True)
class Layout:
    """Where a frame goes."""

    size: tuple[int, int]  # (width, height) of the canvas
    scaled: tuple[int, int]  # (width, height) of the frame there
    left: int  # of the scaled frame in the canvas; negative where it is cut
    top: int

    @property
    def target(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas that the frame covers."""
        return _span(self.top, self.scaled[1], self.size[1]), _span(self.left, self.scaled[0], self.size[0])

    @property
    def source(self) -> tuple[slice, slice]:
        """Rows and columns of the scaled frame that are visible."""
        rows, columns = self.target
        return (
            slice(rows.start - self.top, rows.stop - self.top),
            slice(columns.start - self.left, columns.stop - self.left),
        )


def lay_out(
    frame: tuple[int, int], size: tuple[int, int], eyes: tuple[float, float], *, is_cropped: bool
) -> Layout:
    """Scale a frame (width, height) to cover the canvas, or to fit into it, and place it.

    eyes: their position in the frame, as shares of its width and height.
    """
    ratios = size[0] / frame[0], size[1] / frame[1]
    ratio = max(ratios) if is_cropped else min(ratios)
    width, height = (_scaled(side, ratio, limit, is_cropped) for side, limit in zip(frame, size, strict=True))
    left = _placed(size[0] / 2 - eyes[0] * width, size[0] - width)
    top = _placed(EYE_LINE * size[1] - eyes[1] * height, size[1] - height)
    return Layout(size, (width, height), left, top)


class CanvasStage:
    """Turns frames of one size into frames of the canvas."""

    def __init__(self, layout: Layout, background: Bytes | None) -> None:
        """`background`: [height, width, channels] of the canvas; None: the frame itself, blurred."""
        self.layout = layout
        self._background = background

    def place(self, frames: Bytes) -> Bytes:
        """Frames [n, height, width, channels] on canvases [n, height, width, channels]."""
        width, height = self.layout.size
        placed = np.empty((len(frames), height, width, frames.shape[-1]), np.uint8)
        for canvas, frame in zip(placed, frames, strict=True):
            if self.layout.scaled[0] < width or self.layout.scaled[1] < height:
                canvas[:] = self._blurred(frame) if self._background is None else self._background
            canvas[self.layout.target] = resized(frame, self.layout.scaled)[self.layout.source]
        return placed

    def _blurred(self, frame: Bytes) -> Bytes:
        """The frame scaled to cover the canvas, blurred."""
        width, height = self.layout.size
        ratio = BLUR_SIDE / min(width, height)
        small = cover(frame, (max(1, round(width * ratio)), max(1, round(height * ratio))))
        soft = cv2.GaussianBlur(small, (0, 0), BLUR_SIGMA)
        return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def cover(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """A picture scaled to cover (width, height) and cut to its middle."""
    layout = lay_out((picture.shape[1], picture.shape[0]), size, (0.5, EYE_LINE), is_cropped=True)
    return resized(picture, layout.scaled)[layout.source]


def resized(picture: Bytes, size: tuple[int, int]) -> Bytes:
    """A resized picture, without moiré and jagged edges."""
    if (picture.shape[1], picture.shape[0]) == size:
        return picture
    shrinks = size[0] < picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=method), np.uint8)


def _scaled(side: int, ratio: float, limit: int, is_cropped: bool) -> int:
    scaled = max(1, round(side * ratio))
    return max(scaled, limit) if is_cropped else min(scaled, limit)


def _placed(wanted: float, room: int) -> int:
    """The start of a side: as wanted, but inside the canvas, or covering it if it is larger."""
    return round(min(max(wanted, min(0, room)), max(0, room)))


def _span(start: int, length: int, limit: int) -> slice:
    return slice(max(0, start), min(limit, start + length))
