"""Lids and lashes: how lashes look, how far a person's lids must move to shut, and where lid skin comes from.

A portrait with open eyes hides most of the upper lids in their folds. Such skin is not painted: it is the
portrait's own, stretched from the fold down to the lid's edge.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.workshop.corpus.head_model import EYE, LASHES, SKIN, Int, load_head_model
from hallo_cli.workshop.corpus.motion import Shown

_ROOT = 0.008  # lashes nearer to the skin than this (decimetres) are at the lid's edge
_LENGTH = 0.045  # of the lashes, decimetres
_LASH = np.float32(0.35)  # of the hair's brightness
_SEAM = 6.0  # pixels by which what meets along a shut lid's edge lies apart in the portrait
_REACH = 70.0  # pixels above a lid's edge within which its skin may hide


@cache
def bare_triangles() -> Int:
    """The head's triangles with the lashes shrunk to nothing."""
    model = load_head_model()
    triangles = model.triangles.copy()
    triangles[model.materials == LASHES] = 0
    return triangles


def lash_cover(seen: npt.NDArray[np.int32], weights: Float, looks: Float) -> Float:
    """How far lashes cover each pixel [size, size], 0..1.

    seen: the triangle in each pixel, weights: of its first two corners. looks: strength of the upper lashes,
    of the lower ones and of the line at their roots.
    """
    model = load_head_model()
    cover = np.zeros(seen.shape, np.float32)
    at = np.nonzero(model.materials[np.maximum(seen, 0)] == LASHES)
    triangles, shares = model.triangles[seen[at]], weights[at]
    corners = np.concatenate([shares, 1 - shares.sum(-1, keepdims=True)], -1)
    tips, vertices = (_tips()[triangles] * corners).sum(-1), model.vertices[triangles]
    x, is_upper = (vertices[..., 0] * corners).sum(-1), vertices[..., 1].mean(-1) > _middle()
    strands = 0.6 + 0.4 * np.sin(np.abs(x) * 420 + 3 * np.sin(x * 90))
    hairs = np.where(is_upper, looks[0], looks[1]) * strands * (1 - tips) ** 0.7
    line = looks[2] * np.where(is_upper, 1, 0.35) * np.exp(-((tips / 0.22) ** 2))
    cover[at] = np.clip(np.maximum(hairs, line), 0, 1)
    return cover


def blend_lashes(image: Float, cover: Float, hair: Float) -> None:
    """Draw lashes over the picture [size, size, 3]."""
    at = np.nonzero(cover)
    share = cover[at][:, None]
    image[at] = image[at] * (1 - share) + hair.astype(np.float32) * _LASH * share


def n_eye_pixels(seen: npt.NDArray[np.int32]) -> int:
    """How many pixels show an eyeball."""
    return int((load_head_model().materials[seen[seen >= 0]] == EYE).sum())


def stretch_lids(
    frame: Shown, reference: Shown, points: Float, places: Float, seen: npt.NDArray[np.bool_]
) -> None:
    """Let the upper lids' skin in `frame` come from what `reference` shows of them, in place.

    points, places: pixels of frame and reference [h, w, 2] that belong together; seen [h, w]: whether the
    reference shows them.
    """
    columns, rows = points[..., 0], points[..., 1]
    is_skin = frame.materials_at(points) == SKIN
    shift = places - points
    for edge in _edges():
        ends, begins = frame.screen[edge, :2], reference.screen[edge, :2]
        order = np.argsort(ends[:, 0])
        ends, begins = ends[order], begins[order]
        bottom = np.interp(columns, ends[:, 0], ends[:, 1])
        moved = np.stack([np.interp(columns, ends[:, 0], begins[:, i] - ends[:, i]) for i in (0, 1)], -1)
        near = (columns > ends[0, 0]) & (columns < ends[-1, 0])
        near &= (rows < bottom + 12) & (rows > bottom - _REACH)
        lid = near & (rows < bottom + 3) & is_skin & ~(seen & _rises(places[..., 1], begins, columns, shift))
        if not lid.any():
            continue
        above = np.where(seen & is_skin & ~lid, np.arange(len(points))[:, None], 0)
        last = np.maximum.accumulate(above, axis=0)
        top_row = np.take_along_axis(rows, last, 0)
        top_shift = np.take_along_axis(shift, last[..., None], 0)
        share = np.clip((rows - top_row) / np.maximum(bottom - top_row, 1), 0, 1)[..., None]
        filled = points + top_shift * (1 - share) + moved * share
        places[lid] = filled[lid]
        seen[lid] = True
        seen[near & _seam(places[..., 1] - rows)] = False


def _seam(shift: Float) -> npt.NDArray[np.bool_]:
    """Where neighbours above one another come from different sides of the eye: a thin line to paint."""
    jump = np.abs(np.diff(shift, axis=0)) > _SEAM
    return np.pad(jump, ((0, 1), (0, 0))) | np.pad(jump, ((1, 0), (0, 0)))


def _rises(place_rows: Float, begins: Float, columns: Float, shift: Float) -> npt.NDArray[np.bool_]:
    """Whether a place lies above the reference's lid edge and outside its fold."""
    edge = np.interp(columns + shift[..., 0], begins[:, 0], begins[:, 1])
    downwards = np.diff(place_rows, axis=0, prepend=place_rows[:1] - 1) > 0.3
    return (place_rows < edge) & np.logical_and.accumulate(
        downwards | (place_rows < edge - _REACH / 2), axis=0
    )


@cache
def _middle() -> float:
    """The height between upper and lower lashes in the template."""
    model = load_head_model()
    return float(model.vertices[model.vertices_of(LASHES), 1].mean())


@cache
def _distances() -> Float:
    """Of the lashes' vertices from the skin [n], decimetres; 0 for all others."""
    model = load_head_model()
    lashes, skin = model.vertices_of(LASHES), model.vertices[model.vertices_of(SKIN)]
    found = np.zeros(len(model.vertices), np.float32)
    found[lashes] = [np.linalg.norm(skin - place, axis=1).min() for place in model.vertices[lashes]]
    return found


@cache
def _tips() -> Float:
    """Per vertex [n]: 0 at the lashes' roots, 1 at their tips."""
    return np.clip((_distances() - _ROOT / 2) / _LENGTH, 0, 1).astype(np.float32)


@cache
def _edges() -> tuple[npt.NDArray[np.int64], ...]:
    """The vertices along the edge of the left and of the right upper lid."""
    model = load_head_model()
    lashes = model.vertices_of(LASHES)
    x, y, _ = model.vertices[lashes].T
    # the upper lid's outer corner hangs lower than its middle
    upper = y > 7.276
    root = upper & (_distances()[lashes] < _ROOT)
    return lashes[root & (x > 0)], lashes[root & (x < 0)]
