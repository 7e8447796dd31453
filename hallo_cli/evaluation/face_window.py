"""The part and size of a video's frames that is measured: bounded, whatever the video's own size.

Frames up to the official size are measured whole. In larger ones, a window around the face is measured, so
that a small face in a large picture stays large enough to be found.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.domain import Bytes

MAX_SIDE = 512  # pixels
WINDOW = 4.0  # side of the window / size of the face


@dataclass(frozen=True)
class View:
    """A window of a frame; it is measured with no side longer than MAX_SIDE."""

    frame: tuple[int, int]  # (width, height) of the whole
    left: int
    top: int
    width: int
    height: int

    def of(self, frame: Bytes) -> Bytes:
        """The measured part of a frame [height, width, 3]; frames of another size are resized first."""
        if max(self.frame) <= MAX_SIDE:
            return frame
        if frame.shape[1::-1] != self.frame:
            frame = _resized(frame, self.frame)
        window = frame[self.top : self.top + self.height, self.left : self.left + self.width]
        scale = MAX_SIDE / max(self.width, self.height)
        if scale >= 1:
            return np.ascontiguousarray(window)
        return _resized(window, (max(1, round(self.width * scale)), max(1, round(self.height * scale))))


def view_on(first: Bytes, analyser: FaceAnalyser) -> View:
    """The measured part of a video with this first frame; the whole frame if it shows no face."""
    height, width = first.shape[:2]
    face = next(iter(analyser.detect(first)), None) if max(height, width) > MAX_SIDE else None
    if face is None:
        return View((width, height), 0, 0, width, height)
    return _around(face, width, height)


def _around(face: Face, width: int, height: int) -> View:
    side = round(max(MAX_SIDE, WINDOW * face.size))
    left, top, right, bottom = (float(edge) for edge in face.box)
    across, down = min(width, side), min(height, side)
    return View(
        frame=(width, height),
        left=min(max(0, round((left + right - across) / 2)), width - across),
        top=min(max(0, round((top + bottom - down) / 2)), height - down),
        width=across,
        height=down,
    )


def _resized(picture: Bytes, size: tuple[int, int]) -> Bytes:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
