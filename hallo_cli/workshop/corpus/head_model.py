"""The parametric head: a mesh and the displacements ("targets") that shape it and move its face."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.workshop.corpus import glasses

ASSET = Path(__file__).parents[2] / "assets" / "synth" / "head.npz"
SKIN, EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES, GLASSES = range(7)
_STEP = 5e-4  # decimetres per unit of the stored 16-bit displacements
Int = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Target:
    """Displacements of some vertices."""

    index: npt.NDArray[np.int64]  # [k]
    delta: Float  # [k, 3] decimetres

    def add_to(self, vertices: Float, weight: float) -> None:
        """Move `vertices` [n, 3] in place."""
        vertices[self.index] += self.delta * np.float32(weight)


@dataclass(frozen=True)
class HeadModel:
    """x to the person's left, y up, z out of the face; decimetres, standing on y = -8."""

    vertices: Float  # [n, 3] the neutral template
    uv: Float  # [m, 2] v upwards
    triangles: Int  # [t, 3]
    uv_triangles: Int  # [t, 3]
    materials: npt.NDArray[np.uint8]  # [t] SKIN, EYE, ...
    units: dict[str, Target]  # face units, named as the 52 blendshapes
    macros: dict[str, Target]
    shapes: dict[str, Target]
    masks: dict[str, Float]  # lips, cavity, lids: [512, 512] in 0..1, rows downwards

    def vertices_of(self, material: int) -> npt.NDArray[np.int64]:
        """Indices of the vertices used by a material."""
        return np.unique(self.triangles[self.materials == material]).astype(np.int64)

    def vertices_under(self, mask: str) -> npt.NDArray[np.int64]:
        """Indices of the skin's vertices where a mask is above a half."""
        vertices, values = self.under(self.masks[mask])
        return np.unique(vertices[values > 0.5]).astype(np.int64)

    def under(self, texture: Float) -> tuple[Int, Float]:
        """The skin's vertices, once a triangle, and the value of a texture [size, size] at each."""
        size = len(texture)
        skin = self.materials == SKIN
        uv = self.uv[self.uv_triangles[skin]].reshape(-1, 2)
        columns = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
        rows = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
        return self.triangles[skin].reshape(-1), texture[rows, columns]


@cache
def load_head_model(path: Path = ASSET) -> HeadModel:
    """The head model shipped with the package."""
    if not path.exists():
        raise InputError(f"The head model {path} is missing; reinstall hallo-cli.")
    with np.load(path, allow_pickle=False) as stored:
        data = {name: stored[name] for name in stored.files}
    n_vertices, frame = len(data["vertices"]), glasses.triangles()
    nowhere = np.zeros((glasses.N_VERTICES, 3), np.float32)
    return HeadModel(
        vertices=np.concatenate([data["vertices"], nowhere]),
        uv=data["uv"],
        triangles=np.concatenate([data["triangles"].astype(np.int32), frame + n_vertices]),
        uv_triangles=np.concatenate([data["uv_triangles"].astype(np.int32), np.zeros_like(frame)]),
        materials=np.concatenate([data["materials"], np.full(len(frame), GLASSES, np.uint8)]),
        units=_targets(data, "unit."),
        macros=_targets(data, "macro."),
        shapes=_targets(data, "shape."),
        masks={n[5:]: v.astype(np.float32) / 255 for n, v in data.items() if n.startswith("mask.")},
    )


def _targets(data: dict[str, npt.NDArray[np.generic]], prefix: str) -> dict[str, Target]:
    names = [
        name.removesuffix(".index") for name in data if name.startswith(prefix) and name.endswith(".index")
    ]
    return {
        name.removeprefix(prefix): Target(
            data[f"{name}.index"].astype(np.int64), data[f"{name}.delta"].astype(np.float32) * _STEP
        )
        for name in names
    }
