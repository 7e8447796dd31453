"""One random person: the shape of the head, the way of speaking, colours, lights, camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus import glasses
from hallo_cli.workshop.corpus.expression import Articulation
from hallo_cli.workshop.corpus.head_model import HeadModel

_SKIN_TONES = np.array(
    [[250, 222, 200], [238, 196, 165], [224, 176, 140], [205, 150, 112],
     [176, 120, 84], [132, 84, 56], [92, 56, 38]], np.float32
) / 255  # fmt: skip
_HAIR_COLOURS = np.array(
    [[0.05, 0.04, 0.035], [0.12, 0.075, 0.05], [0.25, 0.15, 0.09], [0.42, 0.28, 0.15],
     [0.65, 0.50, 0.30], [0.45, 0.18, 0.08], [0.55, 0.54, 0.53], [0.80, 0.79, 0.78]], np.float32
)  # fmt: skip
_HAIR_SHARES = [0.22, 0.24, 0.16, 0.09, 0.08, 0.05, 0.10, 0.06]
_IRISES = np.array(
    [[0.30, 0.18, 0.08], [0.20, 0.30, 0.40], [0.25, 0.33, 0.20], [0.13, 0.08, 0.05]], np.float32
)
_N_SHAPES = 40


@dataclass(frozen=True)
class Colours:
    """Linear RGB."""

    skin: Float
    lips: Float
    hair: Float
    clothes: Float
    cavity: Float


@dataclass(frozen=True)
class Camera:
    """Where the head is seen from, in radians and decimetres."""

    yaw: float
    pitch: float
    roll: float
    distance: float


@dataclass(frozen=True)
class Lights:
    """Directional lamps [l, 6] (direction, colour) and ambient light from above and below [3]."""

    lamps: Float
    above: Float
    below: Float


@dataclass(frozen=True)
class Identity:
    """Everything about a person that stays the same within a take."""

    vertices: Float  # [n, 3] at rest
    colours: Colours
    articulation: Articulation
    masculine: float  # 0..1
    age: float  # 0 young .. 1 old
    looks: Float  # shading constants, read by raster.shade
    lashes: Float  # strength of the upper lashes, the lower ones, the line at their roots, 0..1


def draw_identity(model: HeadModel, rng: np.random.Generator) -> Identity:
    """A random person."""
    masculine, age = float(rng.beta(0.5, 0.5)), float(rng.beta(0.6, 1.2))
    vertices = _draw_shape(model, rng, masculine=masculine, age=age)
    colours = _draw_colours(rng)
    articulation, looks = _draw_articulation(rng), _draw_looks(colours, rng)
    return Identity(vertices, colours, articulation, masculine, age, looks, _draw_lashes(rng, masculine))


def draw_camera(rng: np.random.Generator) -> Camera:
    """A view from the front or a little from the side."""
    angles = rng.normal(size=3) * (0.18, 0.08, 0.05)
    yaw, pitch, roll = np.clip(angles, (-0.5, -0.2, -0.15), (0.5, 0.2, 0.15))
    return Camera(float(yaw), float(pitch), float(roll), rng.uniform(6.5, 16))


def draw_lights(rng: np.random.Generator) -> Lights:
    """One to three lamps and a coloured ambient light."""
    lamps = []
    for order in range(int(rng.integers(1, 4))):
        direction = np.array([rng.normal() * 0.8, rng.normal() * 0.5 + 0.45, abs(rng.normal()) * 0.7 + 0.35])
        direction /= np.linalg.norm(direction)
        colour = rng.uniform(0.25, 0.85) / (1 + 0.5 * order) * (1 + rng.normal(size=3) * 0.08)
        lamps.append([*direction, *colour])
    ambient = rng.uniform(0.22, 0.6)
    above, below = (
        ambient * share * (1 + rng.normal(size=3) * 0.07) for share in (1.0, rng.uniform(0.4, 0.9))
    )
    return Lights(np.array(lamps, np.float32), above.astype(np.float32), below.astype(np.float32))


def _draw_shape(model: HeadModel, rng: np.random.Generator, *, masculine: float, age: float) -> Float:
    vertices = model.vertices.copy()
    peoples = dict(zip(("african", "asian", "caucasian"), rng.dirichlet([0.5] * 3), strict=True))
    heaviness = float(np.clip(rng.normal() * 0.5, -1, 1))
    weights = {"minweight": max(0.0, -heaviness), "maxweight": max(0.0, heaviness)}
    weights["averageweight"] = 1 - abs(heaviness)
    for sex, sex_share in (("male", masculine), ("female", 1 - masculine)):
        for stage, stage_share in (("old", age), ("young", 1 - age)):
            shares = {f"{name}-{sex}-{stage}": share for name, share in peoples.items()}
            shares |= {f"{sex}-{stage}-{name}": share for name, share in weights.items()}
            for name, share in shares.items():
                if name in model.macros:
                    model.macros[name].add_to(vertices, share * sex_share * stage_share)
    names = sorted(model.shapes)
    for name in rng.choice(names, _N_SHAPES, replace=False):
        strength = 0.4 if name.startswith("asym") else 0.65
        model.shapes[str(name)].add_to(vertices, rng.uniform(0, strength))
        if name.startswith(("l-", "r-")):  # both sides alike, nearly
            twin = ("r" if name.startswith("l-") else "l") + str(name)[1:]
            model.shapes[twin].add_to(vertices, rng.uniform(0, strength))
    return vertices


def _draw_colours(rng: np.random.Generator) -> Colours:
    tone = np.clip(rng.uniform(-0.6, 6), 0, 5.99)
    low = int(tone)
    skin = _SKIN_TONES[low] * (1 - tone + low) + _SKIN_TONES[low + 1] * (tone - low)
    skin = np.clip(skin * rng.uniform(0.85, 1.1) * (1 + rng.normal(size=3) * 0.05), 0.05, 1)
    if rng.random() < 0.75:
        lips = skin * np.array([rng.uniform(0.8, 1.02), rng.uniform(0.5, 0.85), rng.uniform(0.5, 0.85)])
    else:  # lipstick
        lips = np.array([rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.35), rng.uniform(0.15, 0.4)])
    hair = _HAIR_COLOURS[rng.choice(len(_HAIR_COLOURS), p=_HAIR_SHARES)] * rng.uniform(0.7, 1.2)
    clothes = rng.uniform(0.03, 0.9, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(0.03, 0.95))
    cavity = skin * 0.10 + np.array([0.36, 0.10, 0.085]) * rng.uniform(0.85, 1.1)
    linear = [np.asarray(colour, np.float32) for colour in (skin, lips, hair, clothes, cavity)]
    return Colours(*linear)


def _draw_articulation(rng: np.random.Generator) -> Articulation:
    return Articulation(
        jaw=rng.uniform(0.95, 1.2),
        stretch=rng.uniform(0.95, 1.2),
        pucker=rng.uniform(0.95, 1.15),
        upper_lip=rng.uniform(0.8, 1.3),
        lower_lip=rng.uniform(0.8, 1.3),
        lopsided=float(np.clip(rng.normal() * 0.04, -0.1, 0.1)),
        teeth_shown=rng.uniform(0.02, 0.07),
        teeth_down=rng.uniform(0.01, 0.05),
    )


def _draw_lashes(rng: np.random.Generator, masculine: float) -> Float:
    upper = rng.uniform(0.05, 1.0) * (1 - 0.4 * masculine)
    return np.array([upper, upper * rng.uniform(0, 0.6), rng.uniform(0.1, 0.95)], np.float32)


def _draw_looks(colours: Colours, rng: np.random.Generator) -> Float:
    looks = np.zeros(32, np.float32)
    looks[0:2] = rng.uniform(0.02, 0.26), rng.uniform(8, 30)  # skin: shine, gloss
    looks[2:5] = 0, 0, 1  # gaze, set per frame
    looks[5] = rng.uniform(0.42, 0.54)  # iris radius, radians
    looks[6:9] = _IRISES[rng.integers(len(_IRISES))] * rng.uniform(0.6, 1.4)
    looks[9:12] = np.array([0.92, 0.87, 0.78]) * rng.uniform(0.88, 1.02) * (1 + rng.normal(size=3) * 0.02)
    looks[12:15] = colours.hair
    looks[[15, 17, 30]] = glasses.colour(rng)
    looks[16] = rng.uniform(0, 0.35)  # darkening at grazing angles
    looks[18:21] = np.array([0.82, 0.78, 0.76]) * rng.uniform(0.85, 1.1)  # white of the eye
    looks[21] = rng.uniform(0.12, 0.25)  # grooves between teeth
    looks[22] = rng.uniform(0.08, 0.092)  # width of a central incisor, decimetres
    looks[23] = rng.uniform(0.7, 0.85)  # where gums begin
    looks[24:27] = np.array([0.62, 0.30, 0.29]) * rng.uniform(0.7, 1.15)  # gums
    looks[27:30] = np.array([0.60, 0.28, 0.27]) * rng.uniform(0.75, 1.2)  # tongue
    return looks
