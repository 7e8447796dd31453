"""One person, ready to be drawn again and again with different expressions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus import eyes, glasses, raster
from hallo_cli.workshop.corpus.backdrop import draw_back_hair, draw_backdrop
from hallo_cli.workshop.corpus.expression import Moment, Mouth, unit_weights
from hallo_cli.workshop.corpus.head_model import (
    EYE,
    GLASSES,
    LOWER_TEETH,
    SKIN,
    UPPER_TEETH,
    load_head_model,
)
from hallo_cli.workshop.corpus.motion import Shown, eye_radius
from hallo_cli.workshop.corpus.person import (
    Camera,
    Identity,
    Lights,
    draw_camera,
    draw_identity,
    draw_lights,
)
from hallo_cli.workshop.corpus.phones import VISEMES
from hallo_cli.workshop.corpus.skin import Hair, Skin, paint

SIZE = 512  # of the raw pictures: the face is nearly twice as large as the networks see it
_FACE_SHARE = 0.60  # of the raw picture's height, taken by the face from chin to hairline
_COVERED = 0.4  # where lashes cover more than this, what moves is the lashes
_SHUT = (0.6, 0.66, 0.72, 0.78, 0.84, 0.9, 0.96)
_SLIT = 4  # pixels of the eyeballs that shut lids may show
_NECK = (5.35, 6.05)  # template heights: below the first the body rests, above the second the head turns
_PIVOT = np.array([0, 6.6, 0.6], np.float32)  # the head turns about the top of the neck


@dataclass(frozen=True)
class Picture:
    """A raw render and what is true of it."""

    pixels: Float  # [512, 512, 3], display RGB, not clipped
    opening: float  # inner lips' distance / face height
    mouth_width: float  # corners' distance / face height
    lips: Float  # [n, 2] the lips' vertices in pixels
    shown: Shown


class Actor:
    """A random person in a random place, drawn by `draw`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.model = load_head_model()
        self.mouth = _mouth()
        self.identity: Identity = draw_identity(self.model, rng)
        self.camera: Camera = draw_camera(rng)
        self.lights = draw_lights(rng)
        hair: Hair = rng.choice(["bald", "short", "long"], p=[0.1, 0.55, 0.35])
        self.skin: Skin = paint(self.model, self.identity, hair, rng)
        self._rest = self._rest_shape(hair, rng)
        self._teeth = _tooth_coordinates()
        self._window = self._aim()
        self._shut = 1.0
        self._shut = self._find_shut()
        self.backdrop = draw_backdrop(rng, SIZE)
        if hair == "long":
            self._add_back_hair(rng)

    def expose(self, *, brightness: float) -> None:
        """Set the lights so that the front of the face has about this mean brightness (0..1)."""
        lamps, above, below = self.lights.lamps, self.lights.above, self.lights.below
        front = np.clip(lamps[:, 2:3], 0, 1) * lamps[:, 3:]
        skin = float(((above + below) / 2 + front.sum(axis=0)).mean() * self.identity.colours.skin.mean())
        gain = np.float32(np.clip(brightness / max(skin, 0.01), 0.5, 3.5))
        brighter = np.array([1, 1, 1, gain, gain, gain], np.float32)
        self.lights = Lights(lamps * brighter, above * gain, below * gain)

    @property
    def face_height(self) -> float:
        """Chin to brow of the resting face, decimetres."""
        face = self._rest[_face_vertices()]
        return float(np.ptp(face[:, 1]))

    def draw(self, moment: Moment) -> Picture:
        """The raw picture of one moment."""
        vertices, openness = self.pose(moment)
        opening = self.mouth.opening(vertices) / self.face_height
        width = self.mouth.width(vertices) / self.face_height
        turned, rotation = self._turned(vertices, moment.turn)
        normals = raster.vertex_normals(turned, self.model.triangles)
        index, outwards = _tooth_normals()
        normals[index] = outwards @ rotation.T
        screen = self._project(turned)
        looks = self.identity.looks.copy()
        looks[2:5] = rotation @ _direction(moment.gaze)
        image = self.backdrop.copy()
        model = self.model
        visible = raster.find_visible(screen, eyes.bare_triangles(), model.materials, SIZE)
        lashed = raster.find_visible(screen, model.triangles, model.materials, SIZE)
        raster.shade(
            image,
            visible,
            (model.triangles, model.uv_triangles, model.materials, model.uv),
            (normals, openness, self._teeth),
            (self.skin.texture, looks),
            (self.lights.lamps, self.lights.above, self.lights.below),
            self._window,
        )
        cover = eyes.lash_cover(*lashed, self.identity.lashes)
        eyes.blend_lashes(image, cover, self.identity.colours.hair)
        covered = cover > _COVERED
        visible = (
            np.where(covered, lashed[0], visible[0]),
            np.where(covered[..., None], lashed[1], visible[1]),
        )
        lips = screen[self.mouth.lips, :2].copy()
        shown = Shown(screen, *visible, self._gaze_shift(moment.gaze, rotation))
        return Picture(image, opening, width, lips, shown)

    def pose(self, moment: Moment) -> tuple[Float, Float]:
        """The vertices of an expression and how open to light each is."""
        vertices = self._rest.copy()
        shutting = replace(moment, blink=moment.blink * self._shut)
        for name, weight in unit_weights(shutting, self.identity.articulation).items():
            if abs(weight) > 1e-3:
                self.model.units[name].add_to(vertices, weight)
        closed = float(np.clip((moment.visemes[3] - 0.35) / 0.45, 0, 1))
        if closed > 0:
            self.mouth.close(vertices, closed)
        return vertices, self.mouth.light_inside(vertices, moment.visemes)

    def _rest_shape(self, hair: Hair, rng: np.random.Generator) -> Float:
        vertices = self.identity.vertices.copy()
        self.mouth.close(vertices, 1.0)
        self.mouth.set_teeth(vertices, self.identity.articulation)
        if hair != "bald":
            thickness = np.zeros(len(vertices), np.float32)
            scalp, hairiness = self.model.under(self.skin.scalp)
            thickness[scalp] = hairiness
            thickness *= rng.uniform(0.0, 0.22)
            vertices += raster.vertex_normals(vertices, self.model.triangles) * thickness[:, None]
        if rng.random() < glasses.SHARE:
            skin, eyeballs = self.model.vertices_of(SKIN), self.model.vertices_of(EYE)
            worn = glasses.shape(rng, vertices[eyeballs], vertices[skin])
            vertices[self.model.vertices_of(GLASSES)] = worn
        return vertices

    def _aim(self) -> Float:
        """Left, top and side of the picture's square on the plane at unit distance [3]."""
        turned, _ = self._turned(self._rest, (0.0, 0.0, 0.0))
        points = turned[_face_vertices()] - (0, 0, self.camera.distance)
        x, y = points[:, 0] / -points[:, 2], points[:, 1] / points[:, 2]
        side = float(np.ptp(y)) / _FACE_SHARE
        centre = (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2 + 0.02 * side)
        return np.array([centre[0] - side / 2, centre[1] - side / 2, side], np.float32)

    def _find_shut(self) -> float:
        """The weight of the blinking units at which the lids meet: beyond it they would cross."""
        model, rest = self.model, Moment(np.zeros(len(VISEMES), np.float32))
        for weight in _SHUT:
            vertices, _ = self.pose(replace(rest, blink=weight))
            screen = self._project(self._turned(vertices, (0.0, 0.0, 0.0))[0])
            visible = raster.find_visible(screen, eyes.bare_triangles(), model.materials, SIZE)
            if eyes.n_eye_pixels(visible[0]) <= _SLIT:
                return weight
        return _SHUT[-1]

    def _turned(self, vertices: Float, turn: tuple[float, float, float]) -> tuple[Float, Float]:
        """The vertices as the camera sees them turned; the neck follows the head, the body does not."""
        camera = self.camera
        rotation = _rotation(camera.yaw + turn[0], camera.pitch + turn[1], camera.roll + turn[2])
        head = (vertices - _PIVOT) @ rotation.T
        if any(turn):
            body = (vertices - _PIVOT) @ _rotation(camera.yaw, camera.pitch, camera.roll).T
            head = body + _follows_head()[:, None] * (head - body)
        return np.ascontiguousarray(head, np.float32), rotation

    def _project(self, turned: Float) -> Float:
        """Where vertices are seen [n, 3]: column and row in pixels, 1 / distance."""
        left, top, side = (float(value) for value in self._window)
        nearness = -1 / (turned[:, 2] - np.float32(self.camera.distance))
        columns = (turned[:, 0] * nearness - left) * (SIZE / side)
        rows = (-turned[:, 1] * nearness - top) * (SIZE / side)
        return np.ascontiguousarray(np.stack([columns, rows, nearness], axis=1), np.float32)

    def _gaze_shift(self, gaze: tuple[float, float], rotation: Float) -> Float:
        """How far the irises lie off the middle of the eyes, in pixels [2]."""
        moved = rotation @ (_direction(gaze) - (0, 0, 1)) * eye_radius()
        scale = SIZE / (float(self._window[2]) * self.camera.distance)
        return np.array([moved[0], -moved[1]], np.float32) * np.float32(scale)

    def _add_back_hair(self, rng: np.random.Generator) -> None:
        turned, _ = self._turned(self._rest, (0.0, 0.0, 0.0))
        screen = self._project(turned)
        head = screen[self.model.vertices[:, 1] > 6.4, :2]
        centre = (float(head[:, 0].mean()), float(head[:, 1].min() * 0.5 + head[:, 1].max() * 0.5))
        draw_back_hair(
            self.backdrop,
            centre=centre,
            height=float(np.ptp(head[:, 1])),
            colour=self.identity.colours.hair,
            rng=rng,
        )


@cache
def _mouth() -> Mouth:
    return Mouth(load_head_model())


@cache
def _face_vertices() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The front of the face from chin to hairline."""
    model = load_head_model()
    x, y, z = model.vertices.T
    front = (z > 0.85) & (y > 6.15) & (y < 7.98) & (np.abs(x) < 0.80)
    skin = model.vertices_of(SKIN)
    return skin[front[skin]]


@cache
def _follows_head() -> Float:
    """How far each vertex turns with the head, 0..1 [n]."""
    model = load_head_model()
    height = model.vertices[:, 1]
    share = np.clip((height - _NECK[0]) / (_NECK[1] - _NECK[0]), 0, 1)
    share[model.vertices_of(GLASSES)] = 1
    return np.asarray(share * share * (3 - 2 * share), np.float32)


@cache
def _tooth_normals() -> tuple[npt.NDArray[np.int64], Float]:
    """The teeth's vertices and unit vectors out of their arch: the mesh's own bend at the biting edges."""
    model = load_head_model()
    index = np.concatenate([model.vertices_of(material) for material in (UPPER_TEETH, LOWER_TEETH)])
    x, _, z = model.vertices[index].T
    outwards = np.stack([x / 0.31**2, np.zeros_like(x), np.maximum(z - 0.97, 0.01) / 0.54**2], axis=1)
    return index, outwards / np.linalg.norm(outwards, axis=1, keepdims=True)


@cache
def _tooth_coordinates() -> Float:
    """Per vertex [n, 2]: decimetres along the teeth from their middle, height from edge to root 0..1."""
    model = load_head_model()
    coordinates = np.zeros((len(model.vertices), 2), np.float32)
    for material in (UPPER_TEETH, LOWER_TEETH):
        index = model.vertices_of(material)
        x, y, z = model.vertices[index].T
        angle = np.arctan2(x / 0.31, np.maximum(z - 0.97, 0.001) / 0.54)
        height = (y - y.min()) / np.ptp(y)
        coordinates[index, 0] = 0.68 * angle / (np.pi / 2)
        coordinates[index, 1] = height if material == UPPER_TEETH else 1 - height
    return coordinates


def _rotation(yaw: float, pitch: float, roll: float) -> Float:
    cy, sy, cp, sp, cr, sr = (
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
        np.cos(roll),
        np.sin(roll),
    )
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (tilt @ nod @ turn).astype(np.float32)


def _direction(gaze: tuple[float, float]) -> Float:
    vector = np.array([np.sin(gaze[0]), np.sin(gaze[1]), 1.0], np.float32)
    return vector / np.linalg.norm(vector)
