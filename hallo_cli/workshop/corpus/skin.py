"""Paints a person's skin, lips, brows, beard, scalp and collar into the head's texture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.filters import blurred, enlarged, noise
from hallo_cli.workshop.corpus.head_model import SKIN, HeadModel, load_head_model
from hallo_cli.workshop.corpus.person import Identity
from hallo_cli.workshop.corpus.raster import bake

Hair = Literal["bald", "short", "long"]
_SIZE = 512


@dataclass(frozen=True)
class Skin:
    """The painted texture."""

    texture: Float  # [512, 512, 4] RGB and shininess
    scalp: Float  # [512, 512] 0..1: where hair grows


@cache
def places() -> Float:
    """Template x, y and z of each texel [3, 512, 512]; -99 outside the skin."""
    model = load_head_model()
    skin = model.materials == SKIN
    baked = bake(model.uv, model.uv_triangles[skin], model.triangles[skin], model.vertices, _SIZE)
    return np.ascontiguousarray(baked.transpose(2, 0, 1))


def paint(model: HeadModel, identity: Identity, hair: Hair, rng: np.random.Generator) -> Skin:
    """A random skin for this person."""
    brush = _Brush(identity, rng)
    brush.mottle()
    brush.blush_and_lines()
    brush.lips(model)
    brush.brows()
    if rng.random() < 0.55 * identity.masculine + 0.03:
        brush.beard(model)
    scalp = brush.scalp() if hair != "bald" else np.zeros((_SIZE, _SIZE), np.float32)
    brush.collar()
    texture = np.concatenate([brush.colour, brush.shine[..., None]], axis=-1)
    return Skin(np.ascontiguousarray(texture.clip(0.01, 4), np.float32), scalp)


class _Brush:
    def __init__(self, identity: Identity, rng: np.random.Generator) -> None:
        self.identity, self.rng = identity, rng
        self.x, self.y, self.z = places()
        self.side = np.abs(self.x)
        self.colour = np.broadcast_to(identity.colours.skin, (_SIZE, _SIZE, 3)).astype(np.float32).copy()
        self.shine = np.ones((_SIZE, _SIZE), np.float32)
        self.fine = self._noise(_SIZE)
        self.medium = self._noise(96)

    def mottle(self) -> None:
        """Uneven pigment, pores, freckles, spots."""
        rng = self.rng
        spread = rng.uniform(0.005, 0.03) * self._noise(24) + rng.uniform(0, 0.02) * self.medium
        spread += rng.uniform(0.01, 0.045) * self.fine
        self.colour *= (1 + spread)[..., None]
        if rng.random() < 0.25:  # freckles
            spots = np.clip(self._noise(200) - rng.uniform(1.2, 2), 0, 1) * (self.z > 1.0)
            self.blend(spots * rng.uniform(0.2, 0.7), self.identity.colours.skin * (0.72, 0.58, 0.5))
        for _ in range(int(rng.integers(0, 4))):  # moles
            at = rng.uniform((-0.5, 6.3, 1.2), (0.5, 7.7, 1.6))
            spot = np.exp(-(((self.x - at[0]) ** 2 + (self.y - at[1]) ** 2) / 3e-4)) * (self.z > 1)
            self.blend(spot * 0.7, self.identity.colours.skin * 0.4)

    def blush_and_lines(self) -> None:
        """Red cheeks and nose, shadows under eyes and chin, nasolabial and forehead lines."""
        rng, age = self.rng, self.identity.age
        cheek = np.exp(-(((self.side - 0.42) ** 2 + (self.y - 6.98) ** 2) / 0.035))
        nose = np.exp(-((self.side**2 + (self.y - 7.0) ** 2) / 0.02)) * (self.z > 1.4)
        self.colour[..., 1:] *= (1 - rng.uniform(0, 0.22) * (cheek + nose))[..., None]
        fold = np.exp(-((self.side - 0.17 - 0.42 * (7.0 - self.y)) ** 2) / 0.0007)
        fold *= _band(self.y, 6.62, 7.0, 0.06) * (self.z > 1.2)
        self.darken(fold * rng.uniform(0, 0.18 + 0.15 * age))
        pouch = np.exp(-((self.side - 0.3) ** 2 / 0.02 + (self.y - 7.12) ** 2 / 0.003)) * (self.z > 1.1)
        self.darken(pouch * rng.uniform(0, 0.3))
        socket = np.exp(-((self.side - 0.28) ** 2 / 0.03 + (self.y - 7.36) ** 2 / 0.006)) * (self.z > 1.1)
        self.darken(socket * rng.uniform(0, 0.3))
        under_lip = np.exp(-(self.side**2 / 0.02 + (self.y - 6.43) ** 2 / 0.0012)) * (self.z > 1.2)
        self.darken(under_lip * rng.uniform(0.05, 0.3))
        neck = _step(6.22 - self.y + 0.25 * np.clip(self.z - 0.6, 0, 1), 0.06) * (self.z < 1.15)
        self.darken(neck * rng.uniform(0.15, 0.5))
        if age > 0.4:
            lines = (
                np.sin(self.y * 55 + self._noise(12)) ** 8
                * _band(self.y, 7.62, 7.95, 0.05)
                * (self.side < 0.5)
            )
            self.darken(np.clip(lines, 0, 1) * rng.uniform(0, 0.18) * age)

    def lips(self, model: HeadModel) -> None:
        """Lips with fine vertical creases, eyelids, the inside of the mouth."""
        rng, colours = self.rng, self.identity.colours
        mask = model.masks["lips"]
        creases = 1 + rng.uniform(0.02, 0.1) * np.sin(self.x * rng.uniform(150, 260) + 2 * self.medium)
        shading = creases * (1 + 0.06 * self.medium)
        self.blend(mask * rng.uniform(0.45, 1), colours.lips, shading)
        self.shine = np.where(mask > 0.5, rng.uniform(0.8, 2.6), self.shine)
        self.blend(model.masks["lids"] * rng.uniform(0, 0.5), colours.skin * rng.uniform(0.5, 1, 3))
        self.blend(model.masks["cavity"] * (1 - mask), colours.cavity)
        self.shine = np.where(model.masks["cavity"] > 0.5, 0.6, self.shine)

    def brows(self) -> None:
        """Eyebrows of random height, arch and thickness."""
        rng = self.rng
        along = np.clip((self.side - 0.1) / 0.5, 0, 1)
        middle = 7.47 + rng.uniform(-0.03, 0.04) + 0.10 * np.sin(along * 3.1) * rng.uniform(0.4, 1.1)
        middle -= 0.05 * np.clip((self.side - 0.4) / 0.2, 0, 1)
        thick = rng.uniform(0.022, 0.055) * (1.15 - 0.6 * along)
        brow = np.exp(-(((self.y - middle) / thick) ** 2)) * _band(
            self.side, 0.09, rng.uniform(0.48, 0.6), 0.02
        )
        hairs = 0.75 + 0.35 * np.sin(self.x * 190 + self.y * 120 + 2 * self.medium)
        self.blend(brow * (self.z > 0.9) * hairs * rng.uniform(0.35, 1), self.identity.colours.hair * 0.7)

    def beard(self, model: HeadModel) -> None:
        """Stubble to a full beard, with or without moustache."""
        rng = self.rng
        cheek_line = rng.uniform(6.56, 6.66) + rng.uniform(0.4, 0.9) * np.clip(self.side - 0.35, 0, 1)
        area = (self.y < cheek_line) | ((self.y < 6.84) & (self.side < 0.25))
        area &= (self.y > rng.uniform(5.95, 6.2)) & (self.z > 0.3) & (self.side < 0.8)
        kind = rng.random()
        if kind < 0.25:  # moustache
            area &= (self.y > 6.62) & (self.side < 0.3)
        elif kind < 0.45:  # goatee
            area &= self.side < 0.28
        mask = blurred(area.astype(np.float32), rng.uniform(2, 6))
        mask *= (1 - model.masks["lips"]) * (1 - model.masks["cavity"])
        strength = rng.uniform(0.1, 0.95)
        hairs = (
            0.7 + 0.3 * np.clip(self.fine, -1, 1) + 0.12 * np.sin(self.x * 260 + self.y * 90 + self.medium)
        )
        self.blend(mask * strength * hairs, self.identity.colours.hair * 0.8)
        self.shine *= 1 - 0.7 * mask * strength

    def scalp(self) -> Float:
        """Hair on the head, never lower than the brows and never over the ears."""
        rng, colours = self.rng, self.identity.colours
        line = 7.93 + rng.uniform(-0.14, 0.14)
        parting = rng.uniform(-0.3, 0.3)
        height = self.y - line + 0.55 * np.clip(0.95 - self.z, 0, 1) + 0.35 * np.clip(self.side - 0.45, 0, 1)
        height += (
            rng.uniform(-0.12, 0.12) * np.cos((self.x - parting) * rng.uniform(2, 9)) + 0.02 * self.medium
        )
        mask = _step(height, 0.033)
        mask = np.where((self.z < 0.75) & (self.y > 6.9), 1, mask) * (self.y > rng.uniform(6.6, 6.85))
        ear = (self.side > 0.68) & (self.y > 6.9) & (self.y < 7.45) & (self.z < 0.75) & (self.z > 0.25)
        mask = np.where(ear, 0, mask).astype(np.float32)
        waves = np.sin(
            self.x * rng.uniform(50, 150) + rng.uniform(1, 6) * np.sin(self.y * rng.uniform(3, 14))
        )
        strands = (0.85 + 0.25 * waves) * (1 + 0.15 * self.fine + 0.12 * self.medium)
        self.blend(mask, colours.hair, strands)
        self.shine *= 1 - 0.6 * mask
        return mask

    def collar(self) -> None:
        """Clothes: a plain or patterned fabric below a round, V-shaped or high neckline."""
        rng = self.rng
        line = rng.uniform(5.5, 6.05) - 0.25 * (self.z > 1.0) * np.exp(-(self.x**2) / 0.1) * rng.uniform(
            0, 1.5
        )
        line -= rng.choice([0, 0.8]) * np.clip(0.35 - self.side, 0, 1) * (self.z > 0.6)
        cloth = (self.y < line).astype(np.float32)
        self.blend(cloth, self.identity.colours.clothes, 1 + 0.05 * self.medium + 0.03 * self.fine)
        if rng.random() < 0.3:
            stripes = np.sin((self.y if rng.random() < 0.5 else self.x) * rng.uniform(20, 60)) > rng.uniform(
                -0.5, 0.8
            )
            self.blend(cloth * stripes, rng.uniform(0.05, 0.95, 3))
        self.darken(_band(self.y, 0, 0, 0.02, at=line) * 0.4)
        self.shine = np.where(cloth > 0.5, 0.1, self.shine)

    def blend(self, mask: Float, colour: npt.ArrayLike, shading: Float | None = None) -> None:
        """Cover with a colour, times `shading` [512, 512] where given, as far as `mask` says."""
        shades = np.ones_like(self.shine) if shading is None else shading.astype(np.float32)
        _blend(self.colour, mask.astype(np.float32), np.asarray(colour, np.float32), shades)

    def darken(self, amount: Float) -> None:
        """Take light away, more of green and blue than of red."""
        _darken(self.colour, amount.astype(np.float32))

    def _noise(self, cells: int) -> Float:
        grid = noise(self.rng, cells, cells)
        return grid if cells == _SIZE else enlarged(grid, _SIZE)


@njit(cache=True, fastmath=True)
def _blend(picture: Float, mask: Float, colour: Float, shading: Float) -> None:
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            cover = min(max(mask[y, x], np.float32(0)), np.float32(1))
            if cover > 0:
                for k in range(3):
                    picture[y, x, k] += (colour[k] * shading[y, x] - picture[y, x, k]) * cover


@njit(cache=True, fastmath=True)
def _darken(picture: Float, amount: Float) -> None:
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            dark = min(max(amount[y, x], np.float32(0)), np.float32(1))
            if dark > 0:
                picture[y, x, 0] *= 1 - 0.85 * dark
                picture[y, x, 1] *= 1 - dark
                picture[y, x, 2] *= 1 - dark


def _step(value: Float, width: float) -> Float:
    return (1 / (1 + np.exp(-np.clip(value / width, -30, 30)))).astype(np.float32)


def _band(value: Float, start: float, stop: float, width: float, *, at: Float | float = 0.0) -> Float:
    """1 between start and stop (added to `at`), falling off smoothly over `width`."""
    low, high = at + start, at + stop
    outside = np.maximum(np.maximum(low - value, value - high), 0)
    return np.exp(-((outside / width) ** 2)).astype(np.float32)
