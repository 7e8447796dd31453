"""Cuts the square that is rendered out of the source picture and puts rendered frames back into it.

Every framing renders the same square, framed as the networks were trained; they differ in what is shown
around it. Knows no networks and no files.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from PIL import Image

from hallo_cli.analysis.brows import Brows
from hallo_cli.analysis.easing import eased
from hallo_cli.analysis.face import SILHOUETTE
from hallo_cli.analysis.lids import Lids
from hallo_cli.analysis.lips import Lips
from hallo_cli.analysis.motion_canvas import FaceParts, MotionCanvas
from hallo_cli.analysis.warping import rectangle, size_of, to_part, whole
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Bytes, CropBox, Float, MotionShape, Portrait

SHOULDERS_SCALE = 2.6  # side of the head-and-shoulders square / longer side of the face oval's box
SHOULDERS_SHIFT = 0.14  # its centre below the face's, as a share of its side
MAX_VIDEO_SIDE = 4096  # common players' limit for H.264
EDGE_FADE = 0.06  # width of the blend at the square's edges, as a share of its side
LOST_DETAIL = 10.0  # grey levels of change at which the photograph's own detail no longer fits


def face_square(landmarks: Float, geometry: Geometry) -> CropBox:
    """The square around a face, framed as the networks were trained."""
    return _square(landmarks, geometry.crop_scale, geometry.crop_shift)


def cut(picture: Bytes, box: CropBox, size: int) -> Bytes:
    """The square of a picture scaled to [size, size, 3]; edge pixels are repeated outside the picture."""
    height, width = picture.shape[:2]
    pad = ceil(max(0.0, -box.left, -box.top, box.left + box.side - width, box.top + box.side - height))
    first_x, first_y = max(0, floor(box.left)), max(0, floor(box.top))
    near = picture[first_y : ceil(box.top + box.side), first_x : ceil(box.left + box.side)]
    if pad:
        near = np.pad(near, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    left, top = box.left - first_x + pad, box.top - first_y + pad
    region = (left, top, left + box.side, top + box.side)
    return np.array(Image.fromarray(near).resize((size, size), Image.Resampling.BICUBIC, box=region))


def to_square(points: Float, box: CropBox, size: int) -> Float:
    """Points [n, 2] of the picture in pixels of the square scaled to `size`."""
    return np.asarray((points - np.array([box.left, box.top])) * (size / box.side), np.float32)


@dataclass(frozen=True)
class View:
    """What is shown around the square that the networks see."""

    framing: str  # crop, head-and-shoulders or full
    size: int  # height and width of a square
    geometry: Geometry
    is_alpha: bool = False  # the picture says how opaque another is: no line is drawn between its lips


class Canvas:
    """The picture into which rendered frames are composited.

    The change against the portrait is added, so unchanged parts of the photograph keep their full resolution;
    its fine detail is removed only where the face has moved.
    """

    def __init__(
        self,
        picture: Bytes,
        portrait: Portrait,
        crop: CropBox,
        *,
        shown: CropBox | None = None,
        ends_softly: bool = True,
    ) -> None:
        """Put frames into `picture` [height, width, 3], in which the portrait's square lies at `crop`.

        shown: the square of the source picture that `picture` is, if it is one. ends_softly: fade the
        portrait's square out at its edges, which must not show in a larger picture.
        """
        self.shown, self.frame_shape, self.at_rest = shown, portrait.pixels.shape, portrait.pixels[None]
        blend = _fade(len(portrait.pixels)) if ends_softly else np.ones(portrait.pixels.shape[:2], np.float32)
        self._picture, self._portrait = picture, portrait.pixels.astype(np.float32)
        corner = np.array([crop.left, crop.top])
        part = rectangle(corner, corner + crop.side, whole(picture))
        assert part is not None
        matrix = to_part(part, crop, len(portrait.pixels))
        softly = cv2.warpAffine(blend, matrix, size_of(part), flags=cv2.INTER_LINEAR)
        shown_there = cv2.warpAffine(self._portrait, matrix, size_of(part), flags=cv2.INTER_CUBIC)
        self._part, self._to_part = part, matrix.astype(np.float32)
        self._weight = np.asarray(softly, np.float32)[:, :, None]  # how much of the change shows
        # What the photograph has beyond the square's resolution
        self._detail = picture[part].astype(np.float32) - shown_there

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the composed frames."""
        return self._picture.shape[1], self._picture.shape[0]

    def compose(self, frames: Bytes) -> Bytes:
        """Put frames [n, size, size, 3] of the square into the picture: [n, height, width, 3]."""
        composed = np.repeat(self._picture[None], len(frames), axis=0)
        for target, frame in zip(composed, frames, strict=True):
            self._paste(target, frame)
        return composed

    def _paste(self, target: Bytes, frame: Bytes) -> None:
        change, size = frame.astype(np.float32) - self._portrait, size_of(self._part)
        patch = cv2.warpAffine(change, self._to_part, size, flags=cv2.INTER_CUBIC)
        moved = cv2.GaussianBlur(np.abs(change).max(axis=2), (0, 0), 1.5)
        lost = cv2.warpAffine(np.minimum(moved / LOST_DETAIL, 1), self._to_part, size)[:, :, None]
        before = self._picture[self._part].astype(np.float32)
        after = before + self._weight * (patch - lost**2 * self._detail)
        target[self._part] = np.clip(after + 0.5, 0, 255).astype(np.uint8)


def square_canvas(portrait: Portrait, *, is_squeezed: bool = False) -> Canvas:
    """The rendered square alone.

    is_squeezed: it is the whole picture squeezed into a square, not a square of the picture.
    """
    size = portrait.pixels.shape[0]
    shown = None if is_squeezed else portrait.crop
    return Canvas(portrait.pixels, portrait, CropBox(0, 0, size), shown=shown, ends_softly=False)


def full_canvas(picture: Bytes, portrait: Portrait) -> Canvas:
    """The whole source picture, at its own size (at most 4096 pixels a side)."""
    picture, ratio = _within_limit(picture)
    return Canvas(picture, portrait, _moved(portrait.crop, (0, 0), ratio))


def shoulders_canvas(picture: Bytes, portrait: Portrait) -> Canvas:
    """A wider square with head and shoulders, as large as picture and rendering are sharp."""
    size, crop = portrait.pixels.shape[0], portrait.crop
    wide = _inside(_square(_in_picture(portrait), SHOULDERS_SCALE, SHOULDERS_SHIFT), picture)
    side = min(max(round(wide.side), size), round(size * wide.side / crop.side), MAX_VIDEO_SIDE)
    side += side % 2
    ratio = side / wide.side
    moved = _moved(crop, (wide.left, wide.top), ratio)
    return Canvas(cut(picture, wide, side), portrait, moved, shown=wide)


def motion_canvas(picture: Bytes, portrait: Portrait, shape: MotionShape, view: View) -> MotionCanvas:
    """What the framing shows of the picture, whose own pixels are moved."""
    face = _face_map(portrait.landmarks * (shape.flow / len(portrait.pixels)), shape.flow)
    landmarks = _in_picture(portrait)
    if view.framing == "full":
        origin, shown, (picture, ratio) = (0.0, 0.0), None, _within_limit(picture)
    else:
        scale, shift = view.geometry.shown_scale, view.geometry.shown_shift
        if view.framing == "head-and-shoulders":
            scale, shift = SHOULDERS_SCALE, SHOULDERS_SHIFT
        shown = _inside(_square(landmarks, scale, shift), picture)
        ratio, origin = view.size / shown.side, (shown.left, shown.top)
        picture = cut(picture, shown, view.size)
    landmarks = ((landmarks - origin) * ratio).astype(np.float32)
    lips = None if view.is_alpha else Lips(landmarks, picture)
    return MotionCanvas(
        lips.shut() if lips else picture,
        _moved(portrait.crop, origin, ratio),
        shape,
        shown=shown,
        face=face,
        parts=FaceParts(Lids(landmarks), Brows(landmarks), lips),
    )


def _face_map(landmarks: Float, side: int) -> Float:
    """The face's mask [side, side], 0..1, with soft edges."""
    oval = np.zeros((side, side), np.float32)
    cv2.fillPoly(oval, [landmarks[list(SILHOUETTE)].round().astype(np.int32)], 1.0)
    return np.asarray(cv2.GaussianBlur(oval, (0, 0), side / 32), np.float32)


def _moved(box: CropBox, origin: tuple[float, float], ratio: float) -> CropBox:
    return CropBox((box.left - origin[0]) * ratio, (box.top - origin[1]) * ratio, box.side * ratio)


def _in_picture(portrait: Portrait) -> Float:
    """The landmarks in pixels of the source picture."""
    crop = portrait.crop
    scale = crop.side / len(portrait.pixels)
    return np.asarray(portrait.landmarks * scale + np.array([crop.left, crop.top], np.float32), np.float32)


def _within_limit(picture: Bytes) -> tuple[Bytes, float]:
    """The picture within common players' limit, and how much smaller it became."""
    ratio = min(1.0, MAX_VIDEO_SIDE / max(picture.shape[:2]))
    height, width = (round(length * ratio) for length in picture.shape[:2])
    if ratio < 1:
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return picture, ratio


def _square(landmarks: Float, scale: float, shift: float) -> CropBox:
    outline = landmarks[list(SILHOUETTE)]
    low, high = outline.min(axis=0), outline.max(axis=0)
    side = scale * float((high - low).max())
    centre = (low + high) / 2
    return CropBox(float(centre[0]) - side / 2, float(centre[1]) + shift * side - side / 2, side)


def _inside(box: CropBox, picture: Bytes) -> CropBox:
    """Shift the square into the picture, and make it no larger than that."""
    height, width = picture.shape[:2]
    side = min(box.side, float(width), float(height))
    left = box.left + (box.side - side) / 2
    top = box.top + (box.side - side) / 2
    return CropBox(min(max(left, 0.0), width - side), min(max(top, 0.0), height - side), side)


def _fade(size: int) -> Float:
    """How much of a square shows [size, size]: it is faded out at its edges."""
    steps = (np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5) / (EDGE_FADE * size)
    fade = eased(steps)
    return np.asarray(fade[:, None] * fade[None], np.float32)
