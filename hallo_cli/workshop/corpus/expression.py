"""From visemes to the face: the units a mouth shape uses, the place of teeth and tongue, the lips' gap."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.head_model import LOWER_TEETH, SKIN, TONGUE, UPPER_TEETH, HeadModel
from hallo_cli.workshop.corpus.raster import vertex_normals

_MOUTH_LINE_Y = 6.605  # where the template's lips meet
_SEAL = 0.006  # how far closed lips press into each other, decimetres
_COLUMNS = np.linspace(-0.20, 0.20, 9)  # template x at which the gap is measured
_MID = slice(3, 6)
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Articulation:
    """How one person moves the mouth: factors around 1."""

    jaw: float = 1.0
    stretch: float = 1.0
    pucker: float = 1.0
    upper_lip: float = 1.0
    lower_lip: float = 1.0
    lopsided: float = 0.0  # -0.2..0.2: more to one side
    teeth_shown: float = 0.03  # upper teeth below the line where closed lips meet, decimetres
    teeth_down: float = 0.03  # lower teeth below the edge of the upper ones, decimetres


@dataclass(frozen=True)
class Moment:
    """A face at one moment: expression, where it looks, how the head has moved."""

    visemes: Float  # [6]
    blink: float = 0.0
    mood: Mapping[str, float] = field(default_factory=dict)  # face units held besides the visemes
    brow: float = 0.0  # raised, or lowered where negative; about -1..1
    gaze: tuple[float, float] = (0.0, 0.0)  # right, up; radians relative to the head
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)  # yaw, pitch, roll added to the camera's, radians


def unit_weights(moment: Moment, articulation: Articulation) -> dict[str, float]:
    """The weight of each face unit."""
    opened, wide, rounded, closed, tucked, _ = (float(value) for value in moment.visemes)
    art = articulation
    free = 1 - closed
    narrow = 1 - 0.8 * rounded
    weights = {
        "jawOpen": 0.58 * opened * art.jaw * free + 0.05 * rounded * free,
        "mouthPucker": 0.85 * rounded * art.pucker,
        "mouthFunnel": 0.65 * rounded * art.pucker * (0.4 + opened) * free,
        "mouthRollLower": 0.30 * closed + 0.75 * tucked,
        "mouthRollUpper": 0.30 * closed,
    }
    sides = {"Left": 1 + art.lopsided, "Right": 1 - art.lopsided}
    for side, more in sides.items():
        weights |= {
            f"mouthStretch{side}": 0.75 * wide * art.stretch * more * narrow,
            f"mouthSmile{side}": 0.45 * wide * art.stretch * more * narrow,
            f"mouthPress{side}": 0.45 * closed,
            f"mouthUpperUp{side}": (0.28 * tucked + (0.14 * opened + 0.16 * wide) * art.upper_lip * narrow)
            * more
            * free,
            f"mouthLowerDown{side}": (0.27 * opened + 0.22 * wide)
            * narrow
            * art.lower_lip
            * more
            * free
            * (1 - tucked),
            f"eyeBlink{side}": moment.blink,
            f"cheekSquint{side}": 0.12 * wide,
        }
    up, down = max(moment.brow, 0.0), max(-moment.brow, 0.0)
    brows = {"browInnerUp": 0.8 * up, **{f"browOuterUp{side}": 0.7 * up for side in sides}}
    brows |= {f"browDown{side}": 0.6 * down for side in sides}
    for name, weight in (*moment.mood.items(), *brows.items()):
        parting = name.startswith(("jawOpen", "mouthUpperUp", "mouthLowerDown"))
        weights[name] = weights.get(name, 0.0) + weight * (free if parting else 1.0)
    return weights


@dataclass(frozen=True)
class Mouth:
    """Where the parts of the template's mouth are."""

    model: HeadModel

    @cached_property
    def lips(self) -> Indices:
        """The visible lips' vertices."""
        lips = self.model.vertices_under("lips")
        return lips[self.model.vertices[lips, 2] > 1.44]

    @cached_property
    def cavity(self) -> Indices:
        """The vertices of the mouth's inside."""
        return self.model.vertices_under("cavity")

    @cached_property
    def inner(self) -> tuple[Indices, Indices, Indices]:
        """The vertices of upper teeth, lower teeth and tongue."""
        upper, lower, tongue = (self.model.vertices_of(part) for part in (UPPER_TEETH, LOWER_TEETH, TONGUE))
        return upper, lower, tongue

    @cached_property
    def lining(self) -> Indices:
        """The lips' inner side: near the mouth and not facing outwards."""
        x, y, _ = self.model.vertices.T
        normals = vertex_normals(self.model.vertices, self.model.triangles)
        near = (np.abs(x) < 0.26) & (y > 6.35) & (y < 6.85) & (normals[:, 2] < 0.15)
        skin = self.model.vertices_of(SKIN)
        return np.setdiff1d(skin[near[skin]], self.cavity)

    @cached_property
    def follows_jaw(self) -> Float:
        """How far each vertex follows the jaw, 0..1 [n]."""
        moved = np.zeros_like(self.model.vertices)
        self.model.units["jawOpen"].add_to(moved, 1.0)
        return np.clip(-moved[:, 1] / 0.33, 0, 1)

    @cached_property
    def rims(self) -> tuple[list[Indices], list[Indices]]:
        """The upper and the lower lip's vertices near each of _COLUMNS."""
        x = self.model.vertices[self.lips, 0]
        lower = self.follows_jaw[self.lips] > 0.5
        upper_rims, lower_rims = [], []
        for column in _COLUMNS:
            near = np.abs(x - column) < 0.035
            upper_rims.append(self.lips[near & ~lower])
            lower_rims.append(self.lips[near & lower])
        return upper_rims, lower_rims

    @cached_property
    def closing(self) -> Float:
        """The direction and amount in which each vertex moves to close the lips, -0.5..0.5 [n]."""
        x, y, z = self.model.vertices.T
        near = np.exp(-(((y - _MOUTH_LINE_Y) / 0.15) ** 2)) * np.clip((0.30 - np.abs(x)) / 0.08, 0, 1)
        near *= np.clip((z - 1.0) / 0.3, 0, 1)
        amount = near * np.where(self.follows_jaw > 0.5, 0.5, -0.5)
        for material in (UPPER_TEETH, LOWER_TEETH, TONGUE):
            amount[self.model.vertices_of(material)] = 0
        return amount.astype(np.float32)

    @cached_property
    def corners(self) -> tuple[int, int]:
        """The lips' outermost vertices."""
        x = self.model.vertices[self.lips, 0]
        return int(self.lips[np.argmin(x)]), int(self.lips[np.argmax(x)])

    def gaps(self, vertices: Float) -> Float:
        """Distance between the lips' rims at _COLUMNS [9]; negative where they overlap."""
        pairs = zip(*self.rims, strict=True)
        return np.array([vertices[up, 1].min() - vertices[low, 1].max() for up, low in pairs], np.float32)

    def opening(self, vertices: Float) -> float:
        """The inner lips' distance at the middle of the mouth, decimetres, never negative."""
        return max(0.0, float(self.gaps(vertices)[_MID].mean()))

    def width(self, vertices: Float) -> float:
        """The distance between the corners of the mouth, decimetres."""
        left, right = self.corners
        return float(np.linalg.norm(vertices[left] - vertices[right]))

    def close(self, vertices: Float, amount: float) -> None:
        """Bring the lips together in place; 1 seals them whatever the face's shape."""
        for _ in range(2):
            gaps = np.maximum(self.gaps(vertices) + _SEAL, 0) * amount
            if gaps.max() < 1e-3:
                return
            along = np.interp(self.model.vertices[:, 0], _COLUMNS, gaps).astype(np.float32)
            vertices[:, 1] += along * self.closing

    def set_teeth(self, vertices: Float, articulation: Articulation) -> None:
        """Hang the teeth of a resting face behind its lips, in place, whatever the face's shape."""
        upper, lower, tongue = self.inner
        rims = np.concatenate([*self.rims[0][3:6], *self.rims[1][3:6]])
        line_y, front_z = float(vertices[rims, 1].mean()), float(vertices[rims, 2].max())
        edge_y = line_y - articulation.teeth_shown
        vertices[upper, 1] += edge_y - vertices[upper, 1].min()
        vertices[lower, 1] += edge_y + 0.005 - articulation.teeth_down - vertices[lower, 1].max()
        vertices[tongue, 1] += edge_y - 0.06 - vertices[tongue, 1].max()
        for part, back in ((upper, 0.10), (lower, 0.16), (tongue, 0.23)):
            vertices[part, 2] += front_z - back - vertices[part, 2].max()
            vertices[part, 0] *= 0.93
        depth = vertices[lower, 1].max() - vertices[lower, 1]  # roots must not show through the chin
        vertices[lower, 1] += 0.5 * depth
        vertices[lower, 2] -= 0.45 * depth

    def light_inside(self, vertices: Float, visemes: Float) -> Float:
        """Keep teeth behind the lips, lift the tongue; gives how open to light each vertex is, 0..1 [n]."""
        closed, tip = float(visemes[3]), float(visemes[5])
        upper, lower, tongue = self.inner
        vertices[tongue, 1] += 0.07 * tip
        vertices[tongue, 2] += 0.05 * tip
        for part, rims in ((upper, self.rims[0]), (lower, self.rims[1])):
            inner_z = min(float(vertices[rim, 2].max()) for rim in rims[2:7])
            excess = float(vertices[part, 2].max()) - (inner_z - 0.07 - 0.05 * closed)
            vertices[part, 2] -= max(0.0, excess)
        lips_z = float(vertices[self.lips, 2].max())
        opening = self.opening(vertices)  # no light comes through closed lips
        lit = min(0.6, 0.1 + 25 * opening) + 0.4 * min(1.0, 6 * opening)
        openness = np.ones(len(vertices), np.float32)
        for part, slope, low in ((upper, 0.9, 0.5), (lower, 1.1, 0.4), (tongue, 1.0, 0.25)):
            depth = lips_z - vertices[part, 2]
            openness[part] = np.clip(1.08 - (depth - 0.12) * slope, low, 1) * lit
        depth = lips_z - vertices[self.lining, 2]
        openness[self.lining] = np.clip(1.1 - depth * 3.5, 0.25, 1) * (0.6 + 0.4 * lit)
        depth = lips_z - vertices[self.cavity, 2]
        openness[self.cavity] = np.clip(1 - depth * 2.2, 0.20, 1) * (0.75 + 0.25 * lit)
        return openness
