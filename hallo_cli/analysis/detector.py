"""Finds faces in a picture with the short-range detector network: anchors, decoding, suppression.

Knows nothing of landmarks. The network sees 128x128 pixels, so small or cut-off faces are searched for in
tiles and in a padded picture when the plain view shows none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import onnxruntime

from hallo_cli.domain import Bytes, Float

onnxruntime.disable_telemetry_events()  # some of its builds send usage data

INPUT_SIZE = 128
MIN_SCORE = 0.5
MAX_OVERLAP = 0.3
TILINGS = (2, 4, 8)  # roughly how many tiles cover the shorter side
FINEST_TILE = 256  # pixels: a face of 41 is surely found in it, and then refused as too small
FINER = 2.4  # times smaller than the tiles of the previous pass: they find what those miss
WIDEST_LEAN = 50.0  # degrees by which a detectable face may lean
MOST_TURNED_VIEWS = 60  # views of a pass that are also searched turned: more would take long
LEAST_CONTRAST = 6.0  # grey levels; views with less contrast are skipped


@dataclass(frozen=True)
class Detection:
    """One found face, in pixels of the picture."""

    box: Float  # [4] x0, y0, x1, y1
    keypoints: Float  # [6, 2] right eye, left eye, nose, mouth, right ear, left ear
    score: float  # 0..1


class FaceDetector:
    """Holds the detector network."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self._anchors = _anchors()

    def searches(self, rgb: Bytes, *, turns: Sequence[int] = (0,)) -> Iterator[list[Detection]]:
        """Search a [height, width, 3] picture in finer and finer passes; yield each pass's faces, best first.

        The first pass searches the whole picture and finds most faces; the later ones, in a padded picture
        and in tiles, find cut-off and small ones. `turns`: counter-clockwise quarter turns in which the
        picture is searched; results are in coordinates of the unturned picture.
        """
        height, width = rgb.shape[:2]
        for views in _search_order(width, height):
            looked_at = turns if len(views) <= MOST_TURNED_VIEWS else turns[:1]
            found: list[list[Detection]] = [[] for _ in looked_at]
            for square in views:
                if not _is_flat(rgb, *square):
                    view = _square_view(rgb, *square)
                    for turn, so_far in zip(looked_at, found, strict=True):
                        so_far.extend(self._detect_in(view, square, turn))
            yield sorted((d for turned in found for d in _suppress(turned)), key=lambda d: -d.score)

    def uprightness(self, rgb: Bytes, centre: Float, side: float) -> list[float]:
        """The network's logits for an upright face in a square, after 0, 1, 2 and 3 quarter turns.

        In its own scores an upright face stands out clearly; the landmarks of a face upside down do not.
        """
        left, top = (round(float(c) - side / 2) for c in centre)
        view = _square_view(rgb, left, top, max(1, round(side)))
        return [self._best_logit(np.rot90(view, turn)) for turn in range(4)]

    def _best_logit(self, view: Float) -> float:
        rows, logits = self._run(view)
        eyes = rows.reshape(-1, 8, 2)[:, 3] - rows.reshape(-1, 8, 2)[:, 2]
        leans = np.abs(np.degrees(np.arctan2(eyes[:, 1], eyes[:, 0])))
        return float(logits[leans < WIDEST_LEAN].max(initial=-80.0))

    def _run(self, view: Float) -> tuple[Float, Float]:
        """Boxes and key points [anchors, 16] in pixels, relative to their anchors; logits [anchors]."""
        rows, logits = self._session.run(None, {"x": view[None] / np.float32(127.5) - np.float32(1)})
        return rows[0], logits[0, :, 0]

    def _detect_in(self, view: Float, square: tuple[int, int, int], turn: int) -> list[Detection]:
        left, top, side = square
        rows, logits = self._run(np.ascontiguousarray(np.rot90(view, turn)))
        scores = 1 / (1 + np.exp(-np.clip(logits, -80, 80)))
        shift = np.array([left, top], np.float32)
        found = []
        for index in np.flatnonzero(scores > MIN_SCORE):
            points = (rows[index].reshape(8, 2) / INPUT_SIZE).astype(np.float32)
            size = points[1].copy()
            points = _turned_back(points + self._anchors[index], turn)
            half = size[:: -1 if turn % 2 else 1] / 2
            box = np.concatenate([points[0] - half, points[0] + half])
            found.append(
                Detection(box * side + np.tile(shift, 2), points[2:] * side + shift, float(scores[index]))
            )
        return found


def _anchors() -> Float:
    """Return the centres [896, 2] of the anchors in units of the view."""
    levels = []
    for cells, per_cell in ((16, 2), (8, 6)):
        y, x = np.divmod(np.arange(cells * cells), cells)
        centres = (np.stack([x, y], axis=1) + 0.5) / cells
        levels.append(np.repeat(centres, per_cell, axis=0))
    return np.concatenate(levels).astype(np.float32)


def _search_order(width: int, height: int) -> Iterator[list[tuple[int, int, int]]]:
    """Yield lists of square views (left, top, side): whole, padded, then ever smaller tiles."""
    side = max(width, height)
    yield [((width - side) // 2, (height - side) // 2, side)]
    padded = side * 3 // 2
    yield [((width - padded) // 2, (height - padded) // 2, padded)]
    for tile in _tiles(min(width, height)):
        yield [(x, y, tile) for y in _starts(height, tile) for x in _starts(width, tile)]


def _tiles(shorter: int) -> Iterator[int]:
    """Yield the sides of tiles, ever smaller; neighbouring ones share half their side."""
    tile = shorter
    for parts in TILINGS:
        tile = -(-2 * shorter // (parts + 1))
        if tile >= INPUT_SIZE:
            yield tile
    while tile > FINEST_TILE:
        tile = max(FINEST_TILE, round(tile / FINER))
        yield tile


def _turned_back(points: Float, turn: int) -> Float:
    """Points [n, 2] of a view (0..1) that was turned against the clock, in the view as it was."""
    for _ in range(turn):
        points = np.stack([1 - points[:, 1], points[:, 0]], axis=1)
    return points


def _starts(length: int, tile: int) -> list[int]:
    steps = max(1, -(-2 * (length - tile) // tile))
    return sorted({round(i * (length - tile) / steps) for i in range(steps + 1)})


def _square_view(rgb: Bytes, left: int, top: int, side: int) -> Float:
    """Return the square of the picture (black where it reaches outside) at the network's size."""
    height, width = rgb.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    scale = INPUT_SIZE / side
    size = (max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale)))
    inner = cv2.resize(
        rgb[y0:y1, x0:x1], size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    view = np.zeros((INPUT_SIZE, INPUT_SIZE, 3), np.float32)
    x, y = round((x0 - left) * scale), round((y0 - top) * scale)
    view[y : y + size[1], x : x + size[0]] = inner[: INPUT_SIZE - y, : INPUT_SIZE - x]
    return view


def _is_flat(rgb: Bytes, left: int, top: int, side: int) -> bool:
    """Whether a square has too little contrast for a face; samples some of its pixels."""
    step = max(1, side // 64)
    some = rgb[max(top, 0) : top + side : step, max(left, 0) : left + side : step]
    return some.size == 0 or max(float(np.ptp(some[..., c])) for c in range(3)) < LEAST_CONTRAST


def _suppress(found: list[Detection]) -> list[Detection]:
    """Merge overlapping detections into their mean, weighted by score (weighted suppression)."""
    rest = sorted(found, key=lambda d: -d.score)
    kept = []
    while rest:
        same = [d for d in rest if _overlap(rest[0].box, d.box) > MAX_OVERLAP] or rest[:1]
        rest = [d for d in rest if not any(d is s for s in same)]
        weights = np.array([d.score for d in same], np.float32)
        weights /= weights.sum()
        kept.append(
            Detection(
                box=np.tensordot(weights, np.stack([d.box for d in same]), 1),
                keypoints=np.tensordot(weights, np.stack([d.keypoints for d in same]), 1),
                score=same[0].score,
            )
        )
    return kept


def _overlap(a: Float, b: Float) -> float:
    """Return intersection over union."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return float(shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared))
