"""The geometry of a portrait's mouth: its edges, where its lips meet, how its pixels lie along them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, floor

import cv2
import numpy as np
import numpy.typing as npt

from hallo_cli.analysis.warping import Rectangle, sampled
from hallo_cli.domain import CELLS, LUMA, WHOLE, Bytes, Float, Window

# Landmarks from corner to corner: the inner edges of the upper and the lower lip, the lower lip's outer edge
_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_UNDER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
_CORNERS = (61, 291)
_BELOW_NOSE, _CHIN = 2, 152
_MIDDLE = slice(3, 8)  # of the lips' landmarks

# All in widths of the mouth, but where it says otherwise
_LEAST_WIDTH = 4  # pixels
_STEP_BACK = 0.01  # by which a line may run back, as on the far side of a turned face
_PARTED = 0.02  # lips that are less apart are left as they are
_MEET = (0.2, 0.5)  # of the gap, from the upper lip down: where the lips of a smile and of an open jaw meet
_SMILE, _JAW = 0.15, 0.35  # their gaps
_REDDER = np.array([1.0, 0.75, 0.75], np.float32)  # flesh, against lips and skin
_GREY = 0.05  # of its light: colours that differ less between channels are a grey picture's
_SKIN = (50, 280, 205, 425, 151, 9, 117, 346)  # landmarks on cheeks and forehead
_SKIN_REACH = 0.03  # of the face's width: around them
_WINDOW = 0.4  # how far from lips, nose and chin the mouth may move


@dataclass(frozen=True)
class Mouth:
    """A mouth upright: x along the line between its corners, y down from there, in the picture's pixels."""

    centre: Float  # [2]
    along: Float  # [2] unit vector
    width: float
    upper: Float  # [11, 2] the upper lip's inner edge, x rising
    lower: Float  # [11, 2]
    under: Float  # [11, 2] the lower lip's outer edge
    top: float  # where the nose ends
    bottom: float  # where the chin ends

    @property
    def gap(self) -> float:
        """Between the lips' middles, in widths of the mouth."""
        return float((self.lower - self.upper)[_MIDDLE, 1].mean()) / self.width

    @property
    def is_parted(self) -> bool:
        """Whether the lips are apart."""
        return self.gap >= _PARTED

    @property
    def meet(self) -> float:
        """Where the lips meet, as a share of the gap from the upper lip down."""
        return float(np.interp(self.gap, (_SMILE, _JAW), _MEET))

    @property
    def down(self) -> Float:
        """Unit vector [2] down the face."""
        return np.array([-self.along[1], self.along[0]], np.float32)

    def upright(self, points: Float) -> tuple[Float, Float]:
        """Points [..., 2] of the picture -> x, y."""
        turn = np.stack([self.along, self.down])
        matrix = np.concatenate([turn, -(turn @ self.centre)[:, None]], 1).astype(np.float32)
        flat = np.ascontiguousarray(points, np.float32).reshape(-1, 1, 2)
        x, y = np.moveaxis(cv2.transform(flat, matrix).reshape(points.shape), -1, 0)
        return np.asarray(x, np.float32), np.asarray(y, np.float32)

    def placed(self, x: Float, y: Float) -> Float:
        """The inverse: places [..., 2] of the picture."""
        places = [self.centre[axis] + x * self.along[axis] + y * self.down[axis] for axis in (0, 1)]
        return np.stack(places, -1).astype(np.float32)

    def edges(self, x: Float) -> tuple[Float, Float]:
        """The upper lip's inner edge at each x, and the gap below it (0 beyond the corners)."""
        upper = np.interp(x, *self.upper.T)
        gap = np.interp(x, *self.lower.T) - upper
        inside = (x > self.upper[0, 0]) & (x < self.upper[-1, 0])
        return np.asarray(upper, np.float32), np.asarray(np.where(inside, np.maximum(gap, 0), 0), np.float32)

    def line(self, x: Float) -> Float:
        """Where the lips meet at each x."""
        upper, gap = self.edges(x)
        return np.asarray(upper + self.meet * gap, np.float32)

    def seen(self, picture: Bytes, x: Float, y: npt.NDArray[np.floating]) -> Float:
        """The picture's colours [n, len(x), 3] at places: x [len(x)], y [n, len(x)]."""
        return sampled(picture, self.placed(x, np.asarray(y, np.float32))).astype(np.float32)

    def corners(self, across: Float, down: tuple[float, float]) -> tuple[Float, Float]:
        """The least and the greatest column and row [2] of what lies between two x and two y."""
        places = self.placed(np.repeat(across, 2), np.array(down * 2, np.float32))
        return places.min(0), places.max(0)

    def grid(self, part: Rectangle) -> tuple[Float, Float]:
        """x and y of the pixels of a part of the picture, [h, w] each."""
        rows, columns = (np.arange(span.start, span.stop, dtype=np.float32) for span in part)
        away = columns[None] - self.centre[0], rows[:, None] - self.centre[1]
        x, y = (away[0] * axis[0] + away[1] * axis[1] for axis in (self.along, self.down))
        return np.asarray(x, np.float32), np.asarray(y, np.float32)


def find_mouth(landmarks: Float) -> Mouth | None:
    """None where a mouth is hardly seen, as in a profile."""
    left, right = landmarks[list(_CORNERS)]
    width = float(np.linalg.norm(right - left))
    if width < _LEAST_WIDTH:
        return None
    nothing = landmarks[:1]
    bare = Mouth((left + right) / 2, (right - left) / width, width, nothing, nothing, nothing, 0, 0)
    lines = (np.stack(bare.upright(landmarks[list(line)]), 1) for line in (_UPPER, _LOWER, _UNDER))
    upper, lower, under = lines
    if min(np.diff(line[:, 0]).min() for line in (upper, lower, under)) <= -_STEP_BACK * width:
        return None
    upper, lower, under = (_rising(line) for line in (upper, lower, under))
    top, bottom = (float(bare.upright(landmarks[at])[1]) for at in (_BELOW_NOSE, _CHIN))
    if not top < upper[:, 1].min() or not lower[:, 1].max() < bottom:
        return None
    return replace(bare, upper=upper, lower=lower, under=under, top=top, bottom=bottom)


def mouth_window(landmarks: Float, side: int) -> Window:
    """The part of a square with that many pixels a side in which the mouth opens, wherever the head turns.

    `landmarks` [478, 2] in its pixels.
    """
    across = landmarks[list(_CORNERS)]
    reach = _WINDOW * float(np.linalg.norm(across[1] - across[0]))
    points = np.concatenate([across, landmarks[[_BELOW_NOSE, _CHIN]]])
    low, high = (edge * (CELLS / side) for edge in (points.min(0) - reach, points.max(0) + reach))
    left, top = (max(0, floor(edge)) for edge in low)
    right, bottom = (min(CELLS, ceil(edge)) for edge in high)
    return Window(left, top, right, bottom) if left < right and top < bottom else WHOLE


def _rising(line: Float) -> Float:
    """A lip's line without steps back."""
    return np.asarray(np.stack([np.maximum.accumulate(line[:, 0]), line[:, 1]], 1), np.float32)


def flesh_of(mouth: Mouth, picture: Bytes) -> Float | None:
    """The colour [3] of the mouth's inside in full light: between the lower lip's and the skin's, but redder.

    None where both are black.
    """
    x = np.linspace(mouth.upper[0, 0], mouth.upper[-1, 0], 41)[10:-10]
    low, high = np.interp(x, *mouth.lower.T), np.interp(x, *mouth.under.T)
    shares = np.concatenate([np.linspace(0.3, 0.8, 9), np.linspace(1.3, 1.8, 9)])[:, None]
    colour = mouth.seen(picture, x, low + shares * (high - low)).reshape(-1, 3).mean(0)
    light = float(colour @ LUMA)
    if light < 1:
        return None
    if np.ptp(colour) > _GREY * light:
        colour *= _REDDER
    return np.asarray(colour, np.float32)


def skin_of(landmarks: Float, picture: Bytes) -> Float:
    """The colour [3] of a face's skin, on cheeks and forehead."""
    at = landmarks[list(_SKIN)]
    reach = _SKIN_REACH * float(np.ptp(landmarks[:, 0]))
    around = np.stack(np.meshgrid(*[np.linspace(-reach, reach, 7)] * 2), -1).reshape(-1, 2)
    seen = sampled(picture, (at[:, None] + around).astype(np.float32)).astype(np.float32)
    return np.asarray(np.median(seen.mean(1), 0), np.float32)
