"""Applies motion to a picture: warps its own pixels and adds generated ones, at the video's size.

The video may show more than the networks' square. Outside the square, the motion of its edge continues and
fades out, so that hair there moves with the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from hallo_cli.analysis.brows import Brows
from hallo_cli.analysis.easing import eased, passed
from hallo_cli.analysis.lids import Lids
from hallo_cli.analysis.lips import Lips
from hallo_cli.analysis.warping import Rectangle, origin_of, rectangle, sampled, size_of, to_part, whole
from hallo_cli.domain import LUMA, Bytes, CropBox, Float, FrameMotion, MotionShape

REACH = 0.3  # of the square's side: how far beyond its edge motion fades out
SLIGHT = (
    0.0014,
    0.0034,
)  # of the side: motion outside the face below the first is dropped, above the second kept in full
UNSURE = (0.35, 0.65)  # masks below the first show nothing, above the second paint alone
BESIDE = 0.03  # of the side: how far from a mask lips may part
# What interpolation half-way between pixels takes from the finest detail, and encoding from what moves: given
# back to the face
CRISP = 0.5
GREY = 4.0  # levels by which the channels of a colourless picture may differ on average


@dataclass(frozen=True)
class _Opening:
    """Where a frame is painted."""

    area: Rectangle  # of the picture
    matrix: Float  # [2, 3] from the paint's pixels to the area's
    flags: int  # how it is enlarged
    mask: Float  # [height, width] 0..1, crisp: a breath of paint would blur lips and skin
    shown: Float  # [height, width] 0..1: what of it is painted


@dataclass(frozen=True)
class FaceParts:
    """What a face's outlines let geometry do without networks; None: that part is left to them."""

    lids: Lids | None = None
    brows: Brows | None = None
    lips: Lips | None = None  # the portrait's before they were shut


class MotionCanvas:
    """Composes the video's frames from a picture and the motion of the square at `crop`."""

    def __init__(
        self,
        picture: Bytes,
        crop: CropBox,
        shape: MotionShape,
        *,
        shown: CropBox | None = None,
        face: Float | None = None,
        parts: FaceParts | None = None,
    ) -> None:
        """`picture` [height, width, 3]; `crop` in its pixels; `shown` as in `framing.Canvas`.

        `face` [flow side, flow side] is 1 where every motion counts, 0 where slight ones do not; None: 1.
        `parts`: of the face, moved and limited by geometry.
        """
        self.shown, self._face, self._parts = shown, face, parts or FaceParts()
        self.frame_shape = (shape.n_bytes,)
        self.at_rest = np.zeros((1, shape.n_bytes), np.uint8)
        self._picture, self._crop, self._shape = np.ascontiguousarray(picture), crop, shape

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the composed frames."""
        return self._picture.shape[1], self._picture.shape[0]

    def compose(self, frames: Bytes, *, is_painted: bool = True) -> Bytes:
        """Packed motions [n, bytes] -> frames [n, height, width, 3].

        is_painted: with generated pixels, not only the picture's own, moved.
        """
        composed = np.repeat(self._picture[None], len(frames), axis=0)
        for target, motion in zip(composed, self._shape.unpack(frames), strict=True):
            places = self._places(motion)
            opening = self._opening(motion, places) if is_painted else None
            self._warp(target, motion, places)
            if opening is not None:
                self._paint(target, motion, opening)
        return composed

    def _places(self, motion: FrameMotion) -> Float:
        """Where the moved area's pixels come from [height, width, 2], with raised brows."""
        reach = self._reach
        flow = np.pad(self._calmed(motion.flow), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
        matrix = self._to_area(self._moved, self._shape.flow, reach)
        moved = cv2.warpAffine(flow * self._fade, matrix, size_of(self._moved), flags=cv2.INTER_LINEAR)
        places = np.asarray(self._grid + moved * np.float32(self._crop.side), np.float32)
        if self._parts.brows is not None:
            self._parts.brows.lift(places, motion.brows)
        return places

    def _warp(self, target: Bytes, motion: FrameMotion, places: Float) -> None:
        """Warp the picture's pixels into the moved area, and shut the lids."""
        moved = target[self._moved]
        moved[:] = sampled(self._picture, places, cv2.INTER_CUBIC)
        self._sharpen(moved, places)
        if self._parts.lids is not None:
            self._parts.lids.shut(moved, self._picture, places, motion.lids)

    def _sharpen(self, moved: Bytes, places: Float) -> None:
        """Sharpen the face in place, most where pixels lie half-way between the picture's."""
        if self._face_area is None:
            return
        rows, columns, weight = self._face_area
        part, at = moved[rows, columns], places[rows, columns]
        whole = np.rint(at)
        between = cv2.transform(
            cv2.absdiff(at, whole), np.ones((1, 2), np.float32)
        )  # 0 on a pixel, 1 between
        strength = np.asarray(weight * between, np.float32)
        sharp = cv2.addWeighted(part, 1 + CRISP, cv2.GaussianBlur(part, (3, 3), 0), -CRISP, 0)
        part[:] = cv2.blendLinear(sharp, np.ascontiguousarray(part), strength, 1 - strength)

    @cached_property
    def _face_area(self) -> tuple[slice, slice, Float] | None:
        """Rows and columns of the moved area that show the face, and how much they are sharpened."""
        if self._face is None:
            return None
        matrix = self._to_area(self._moved, len(self._face))
        weight = cv2.warpAffine(self._face, matrix, size_of(self._moved), flags=cv2.INTER_LINEAR)
        rows, columns = (np.flatnonzero((weight > 0.01).any(axis)) for axis in (1, 0))
        if not len(rows):
            return None
        spans = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        return *spans, np.asarray(weight[spans], np.float32)

    def _opening(self, motion: FrameMotion, places: Float) -> _Opening | None:
        """Where the frame is painted; None: nowhere. Lips that part move in `places`."""
        rows, columns = np.nonzero(motion.mask > 255 * UNSURE[0])
        if not len(rows):
            return None
        side = self._shape.paint
        first = origin_of(self._shape.window.within(side))
        margin = 1 if self._parts.lips is None else max(1, round(BESIDE * side))
        low = np.array([columns.min(), rows.min()]) + first - margin
        high = np.array([columns.max(), rows.max()]) + first + 1 + margin
        square, scale = np.array([self._crop.left, self._crop.top]), self._crop.side
        area = rectangle(square + scale * low / side, square + scale * high / side, whole(self._picture))
        if area is None:
            return None
        matrix = self._to_area(area, side)
        matrix[:, 2] += matrix[:, :2] @ first
        flags = cv2.INTER_CUBIC if self._crop.side >= side else cv2.INTER_AREA
        mask = cv2.warpAffine(motion.mask, matrix, size_of(area), flags=flags) / np.float32(255)
        decided = shown = passed(mask, UNSURE)
        if self._parts.lips is not None:
            shown = self._parts.lips.part(places, self._moved, decided, area)
        return _Opening(area, matrix, flags, decided, shown)

    def _paint(self, target: Bytes, motion: FrameMotion, opening: _Opening) -> None:
        """Blend the paint over the frame by the mask."""
        area, shown = opening.area, opening.shown
        paint = cv2.warpAffine(
            self._coloured(motion.paint),
            opening.matrix,
            size_of(area),
            flags=opening.flags,
            borderMode=cv2.BORDER_REPLICATE,
        ).astype(np.float32)
        if self._parts.lips is not None:
            paint = _continued(paint, opening.mask)
            moved = self._moved_points(self._parts.lips.steady, motion.flow)
            self._parts.lips.finish(paint, shown, area, moved)
        under = target[area].astype(np.float32)
        painted = under + shown[:, :, None] * (paint - under)
        target[area] = np.clip(painted + 0.5, 0, 255).astype(np.uint8)

    def _moved_points(self, points: Float, flow: Float) -> Float:
        """Where the picture shows what the frame has at `points` [n, 2]; both in the picture's pixels."""
        scale = self._crop.side / len(flow)
        at = ((points - (self._crop.left, self._crop.top)) / scale - 0.5).astype(np.float32)
        return np.asarray(points + sampled(flow, at[None])[0] * self._crop.side, np.float32)

    def _calmed(self, flow: Float) -> Float:
        """The flow without slight jitter outside the face, such as in the background."""
        if self._face is None:
            return flow
        counts = np.maximum(self._face, passed(np.linalg.norm(flow, axis=2), SLIGHT))
        return np.asarray(flow * counts[:, :, None], np.float32)

    def _coloured(self, paint: Bytes) -> Bytes:
        """The paint in grey if the picture is grey."""
        if not self._is_grey:
            return np.ascontiguousarray(paint)
        return np.asarray(np.repeat((paint @ LUMA)[..., None] + 0.5, 3, axis=2), np.uint8)

    @cached_property
    def _is_grey(self) -> bool:
        spread = np.ptp(self._picture[::4, ::4].astype(np.float32), axis=2)
        return float(spread.mean()) < GREY

    @cached_property
    def _fade(self) -> Float:
        """How much of the square's flow and of what continues it counts [side, side, 1]."""
        ramp = (np.arange(self._reach) + 0.5) / self._reach
        line = eased(np.concatenate([ramp, np.ones(self._shape.flow), ramp[::-1]]).astype(np.float32))
        return np.asarray(np.minimum(line[:, None], line)[..., None], np.float32)

    @property
    def _reach(self) -> int:
        return max(1, round(REACH * self._shape.flow))

    def _to_area(self, area: Rectangle, side: int, margin: int = 0) -> Float:
        """From the pixels of a map of the square, with a margin around it, to those of an area."""
        return to_part(area, self._crop, side, margin).astype(np.float32)

    @cached_property
    def _moved(self) -> Rectangle:
        """The part of the picture that moves: the square and its surroundings."""
        margin = REACH * self._crop.side
        low = np.array([self._crop.left, self._crop.top]) - margin
        area = rectangle(low, low + self._crop.side + 2 * margin, whole(self._picture))
        assert area is not None
        return area

    @cached_property
    def _grid(self) -> Float:
        """The picture's coordinates of the moved area's pixels [height, width, 2]."""
        rows, columns = (np.arange(span.start, span.stop, dtype=np.float32) for span in self._moved)
        return np.stack(np.meshgrid(columns, rows), axis=-1)


def _continued(paint: Float, mask: Float) -> Float:
    """Paint [h, w, 3] that goes on above the mask as it begins there: teeth end behind the upper lip."""
    painted = mask > 0.5
    first = np.where(painted.any(0), np.argmax(painted, 0) + 1, 0)
    first = cv2.blur(first[None].astype(np.float32), (5, 1))[0]
    rows = np.maximum(np.arange(len(paint), dtype=np.float32)[:, None], first)
    columns = np.arange(paint.shape[1], dtype=np.float32)
    places = np.stack(np.broadcast_arrays(columns, rows), -1)
    return sampled(paint, places, border=cv2.BORDER_CONSTANT)
