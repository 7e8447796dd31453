"""Parts the lips: the mouth's inside is seen from where they meet down to the lower lip, which stays whole.

Networks of the embedded model's size stretch the portrait's lower lip over the opening and paint over most
of it: a thin edge would stay. Only how far down they paint is believed, for each column of the mouth; the lip
and the skin below it are moved until the lip begins there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.easing import soft
from hallo_cli.analysis.lip_edges import smoothed
from hallo_cli.analysis.mouth import Mouth
from hallo_cli.analysis.warping import sampled
from hallo_cli.domain import Float

_COLUMNS, _SMOOTH = 65, 7  # across the mouth; those that are averaged
# Networks open wider than real talk does: how much of the depth is believed, at widths of the mouth
_BELIEVED, _WIDE = (0.95, 0.75), (0.1, 0.45)
_THICKNESS = 0.9  # of the lip's own: opening mouths stretch their lips
_MOST_SQUEEZED = 0.45  # of the skin below the lip
# In widths of the mouth
_BESIDE = 0.15  # how far beside the mouth its columns lie; nothing moves beyond
_NEAR = 0.12  # how far below the line between the lips it begins at the latest
_BELOW_LIP = 0.15  # how far below the lower lip it ends at the latest
_OPEN = 0.04  # mouths that are open so far are treated in full
_INSET = 0.02  # below the line between the lips, where its dark ends
# Of the deepest column: how deep the others are at least, and the power of an ellipse that they do not exceed
_FULL, _ROUND = 0.95, 0.85
_MIDDLE = 0.12  # columns that are so deep are filled up


class Course(NamedTuple):
    """What a frame shows along the columns of its mouth, downwards [rows, columns]."""

    x: Float  # where in the shut picture it comes from, upright
    y: Float
    paint: npt.NDArray[np.bool_]  # where networks paint


@dataclass(frozen=True)
class Opening:
    """How one frame's mouth is open: at columns x [n], how far down the frame.

    Both are those of the upright mouth in the portrait, in pixels.
    """

    mouth: Mouth
    columns: Float
    top: Float  # where the mouth's inside begins
    bottom: Float  # and ends
    lip: Float  # where the lower lip ends
    too_far: Float  # how far below the lip's edge those pixels came from before
    chin: Float  # nothing moves from here on

    @property
    def ends(self) -> tuple[float, float]:
        """y between which the frame is changed."""
        return float(self.top.min()), float(self.chin.max())

    def shown(self, x: Float, y: Float) -> Float:
        """Where the mouth's inside is seen, 0..1, of pixels at x, y [h, w]."""
        top, bottom = self._at(x, self.top, self.bottom)
        seen = np.clip(y - top + 0.5, 0, 1) * np.clip(bottom - y + 0.5, 0, 1) * np.clip(bottom - top, 0, 1)
        return np.asarray(cv2.GaussianBlur(seen.astype(np.float32), (3, 3), 0), np.float32)

    def lowering(self, x: Float, y: Float, from_x: Float, from_y: Float) -> Float:
        """What makes the lip whole when it is added to `from_y`.

        x, y [h, w]: pixels of the frame; from_x, from_y: the places of the shut picture that they come from.
        """
        top, bottom, lip = self._at(x, self.top, self.bottom, self.lip)
        too_far, chin = self._at(x, self.too_far, self.chin)
        line, under = self._at(from_x, self.mouth.line(self.columns), self._under)
        opened = bottom - top
        start = line + np.minimum(_INSET * self.mouth.width, opened)
        on_lip = start + (y - bottom) * (under - start) / np.maximum(lip - bottom, 1e-3)
        below = from_y - too_far * soft((chin - y) / np.maximum(chin - lip, 1))
        whole = np.where(y < lip, on_lip, below)
        share = np.clip(opened / (_OPEN * self.mouth.width), 0, 1) * ((y > top) & (y < chin))
        return np.asarray(share * (whole - from_y), np.float32)

    @property
    def _under(self) -> Float:
        return np.asarray(np.interp(self.columns, *self.mouth.under.T), np.float32)

    def _at(self, x: Float, *lines: Float) -> list[Float]:
        """The lines at each x [h, w]."""
        step = float(self.columns[1] - self.columns[0])
        known = np.stack(lines, -1)[None].astype(np.float32)
        columns = np.asarray((x - self.columns[0]) / step, np.float32)
        return list(np.moveaxis(sampled(known, np.stack([columns, np.zeros_like(columns)], -1)), -1, 0))


def columns_of(mouth: Mouth) -> Float:
    """x of the mouth's columns."""
    beyond = (0.5 + _BESIDE) * mouth.width
    return np.linspace(-beyond, beyond, _COLUMNS, dtype=np.float32)


def find_opening(mouth: Mouth, down: Float, course: Course) -> Opening | None:
    """How a frame's mouth is open; None: it is shut.

    down [rows]: y in the frame of the course's rows, a pixel apart.
    """
    line, under = mouth.line(course.x), np.interp(course.x, *mouth.under.T)
    top = _even(_crossed(course.y - line, down))
    inside = (course.x > mouth.upper[0, 0]) & (course.x < mouth.upper[-1, 0])
    inside &= course.y < float(mouth.under[:, 1].max()) + _BELOW_LIP * mouth.width
    depth = _rounded(_painted(course.paint & inside, down, top, _NEAR * mouth.width))
    if not depth.any():
        return None
    bottom = top + depth * np.float32(np.interp(depth.max() / mouth.width, _WIDE, _BELIEVED))
    edge, chin = _crossed(course.y - under, down), _crossed(course.y - mouth.bottom, down)
    chin = np.maximum(_even(chin), bottom + 1)
    edge = np.minimum(_even(edge), chin)
    share = np.clip(depth / (_OPEN * mouth.width), 0, 1)
    thickness = np.interp(columns_of(mouth), *mouth.under.T) - mouth.line(columns_of(mouth))
    lip = edge + share * (bottom + _THICKNESS * np.maximum(thickness, 0) - edge)
    lip = np.asarray(np.minimum(lip, edge + _MOST_SQUEEZED * (chin - edge)), np.float32)
    index = np.clip(np.rint(lip - down[0]), 0, len(down) - 1).astype(int)
    too_far = np.take_along_axis(course.y - under, index[None], 0)[0]
    return Opening(mouth, columns_of(mouth), top, bottom, lip, _even(too_far), chin)


def _crossed(above: npt.NDArray[np.floating], down: Float) -> Float:
    """Where in `down` [rows] the values [rows, columns] begin not to be negative, between pixels."""
    after = np.argmax(above >= 0, 0)
    after = np.where((above < 0).all(0), len(down) - 1, after)
    before = np.maximum(after - 1, 0)
    high, low = (np.take_along_axis(above, at[None], 0)[0] for at in (after, before))
    share = np.clip(np.where(high > low, -low / np.maximum(high - low, 1e-6), 1), 0, 1)
    return np.asarray(down[before] + share * (after - before), np.float32)


def _painted(paint: npt.NDArray[np.bool_], down: Float, top: Float, near: float) -> Float:
    """How far below `top` [columns] the paint that begins near it goes."""
    below = down[:, None] - top
    starts = paint & (below >= 0) & (below < near)
    first = np.argmax(starts, 0)
    rows = np.arange(len(down))[:, None]
    is_over = (rows >= first) & ~paint
    end = np.where(is_over.any(0), np.argmax(is_over, 0), len(down) - 1)
    depth = np.where(starts.any(0), down[end] - 0.5 - top, 0)
    return np.asarray(np.maximum(depth, 0), np.float32)


def _rounded(painted: Float) -> Float:
    """The depth of the columns [n], even, without points in the middle and blunt ends at the sides."""
    is_open = painted > 0.5
    depth = _even(painted)
    deepest = float(depth.max())
    if not is_open.any() or deepest <= 0.5:
        return np.zeros_like(depth)
    most = deepest * (1 - _across(is_open) ** 2) ** _ROUND
    least = _FULL * deepest * (1 - _across(is_open & (depth > _MIDDLE * deepest)) ** 2.5)
    return np.asarray(np.clip(depth, np.minimum(least, most), most), np.float32)


def _across(is_open: npt.NDArray[np.bool_]) -> npt.NDArray[np.floating]:
    """0 in the middle of the open columns to 1 at the outermost ones and beyond."""
    found = np.flatnonzero(is_open)
    if not len(found):
        return np.ones(len(is_open))
    first, last = found[0] - 0.5, found[-1] + 0.5
    across = (np.arange(len(is_open)) - first) / (last - first) * 2 - 1
    return np.asarray(np.minimum(np.abs(across), 1), np.float64)


def _even(line: npt.NDArray[np.floating]) -> Float:
    return np.asarray(smoothed(line, _SMOOTH), np.float32)
