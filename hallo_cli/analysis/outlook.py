"""Predicts the quality of a portrait's video, with the reasons: rules of thumb, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.analysis.face import MOUTH_CORNERS, SILHOUETTE, Face
from hallo_cli.analysis.warping import Rectangle, rectangle, whole
from hallo_cli.domain import Bytes

MIN_SHARPNESS, GOOD_SHARPNESS = 30.0, 60.0
MAX_COMFORTABLE_YAW, GOOD_YAW = 30.0, 20.0  # degrees
GOOD_ROLL, GOOD_PITCH = 15.0, 20.0
OPEN_MOUTH = (
    0.09  # gap between the lips over the height of the face; smiles that were measured had up to 0.08
)
FACE_SHARE = 1 / 1.32  # of the rendered square's side, taken by the face
DARK, DIM, BRIGHT = 40.0, 65.0, 225.0  # mean grey level of the face
UNEVEN = 2.2  # brighter half of the face over the darker one
FLAT = 0.5  # share of a face without shading: flat drawings have 0.66 and more, photographs and paintings 0.1
_FLAT_VIEW, _FLAT_LEVELS = 128, 2  # pixels that shading is looked for with; levels that are none
BARE_MOUTH = 2.6  # relief of a mouth below which something may hide it; seen mouths have 3.9 and more
_MOUTH_VIEW = (64, 48)  # pixels that a mouth's surroundings are looked at with
GRADES = ("good", "fair", "poor")


@dataclass(frozen=True)
class Reason:
    """A weakness of a portrait."""

    weight: int  # 1: shows a little; 2: shows
    text: str


@dataclass(frozen=True)
class Light:
    """How a face is lit."""

    level: float  # mean grey level, 0..255
    unevenness: float  # brighter half over the darker one
    flatness: float = 0.0  # share of it that is one colour with its surroundings, 0..1


def light_of(picture: Bytes, face: Face) -> Light:
    """The light on the face's skin, eyes, mouth and all."""
    outline = np.asarray(face.landmarks[list(SILHOUETTE)], np.float32)
    box = _box(picture, face)
    left, grey = box[1].start, cv2.cvtColor(picture[box], cv2.COLOR_RGB2GRAY)
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.asarray(outline - (left, box[0].start), np.int32)), 1)
    middle = round(float(outline[:, 0].mean())) - left
    everywhere, first, second = (
        float(grey[:, part][mask[:, part] > 0].mean()) if mask[:, part].any() else 0.0
        for part in (slice(None), slice(middle), slice(middle, None))
    )
    unevenness = max(first, second) / max(min(first, second), 1.0)
    return Light(everywhere, unevenness, _flatness(picture[box], mask))


def _flatness(face: Bytes, mask: Bytes) -> float:
    """Share of the masked pixels [h, w] of `face` [h, w, 3] that no shading touches."""
    view = min(face.shape[1], _FLAT_VIEW), min(face.shape[0], _FLAT_VIEW)
    small = cv2.resize(face, view, interpolation=cv2.INTER_AREA)
    around = np.ones((3, 3), np.uint8)
    spread = (cv2.dilate(small, around) - cv2.erode(small, around)).max(axis=2)
    inside = cv2.resize(mask, view, interpolation=cv2.INTER_NEAREST) > 0
    return float((spread[inside] <= _FLAT_LEVELS).mean()) if inside.any() else 0.0


def mouth_relief(picture: Bytes, face: Face) -> float:
    """How much brightness changes from the nose down to the chin, over the spread of the face's brightness.

    Lips, the line between them and teeth change it several times; a mask, a hand or a microphone does not.
    """
    right, left = (face.landmarks[corner] for corner in MOUTH_CORNERS)
    across = (left - right) / 2
    middle, down = (left + right) / 2, np.array([-across[1], across[0]])
    corner = middle - 1.2 * across - 0.9 * down
    square = np.array([corner, corner + 2.4 * across, corner + 1.8 * down], np.float32)
    width, height = _MOUTH_VIEW
    view = cv2.getAffineTransform(square, np.array([[0, 0], [width, 0], [0, height]], np.float32))
    scale = width / max(2.4 * float(np.linalg.norm(across)), 1.0)
    smooth = cv2.GaussianBlur(picture, (0, 0), 0.5 / scale) if scale < 1 else picture
    mouth = cv2.cvtColor(cv2.warpAffine(smooth, view, _MOUTH_VIEW), cv2.COLOR_RGB2GRAY).astype(np.float32)
    rows = cv2.GaussianBlur(mouth, (0, 0), 1.0)[:, width // 4 : -width // 4].mean(axis=1)
    return float(np.abs(np.diff(rows)).sum()) / max(_spread(picture, face), 1.0)


def _spread(picture: Bytes, face: Face) -> float:
    """Standard deviation of the grey levels in the face's box."""
    return float(cv2.cvtColor(picture[_box(picture, face)], cv2.COLOR_RGB2GRAY).std())


def _box(picture: Bytes, face: Face) -> Rectangle:
    outline = face.landmarks[list(SILHOUETTE)]
    box = rectangle(outline.min(0), np.ceil(outline.max(0)) + 1, whole(picture))
    assert box is not None, "faces are found in their pictures"
    return box


def reasons(
    face: Face, *, sharpness: float, light: Light, mouth_relief: float, size: int
) -> tuple[Reason, ...]:
    """The weaknesses of a portrait that is rendered as a square of `size` pixels."""
    return (
        *_of_mouth(face, mouth_relief),
        *_of_pixels(face, sharpness, size),
        *_of_pose(face),
        *_of_light(light),
    )


def grade(found: tuple[Reason, ...]) -> str:
    """good, fair or poor."""
    return GRADES[max((reason.weight for reason in found), default=0)]


def _of_mouth(face: Face, relief: float) -> Iterator[Reason]:
    if relief < BARE_MOUTH:
        yield Reason(2, "something seems to cover the mouth: use a picture that shows it")
    elif face.mouth_opening > OPEN_MOUTH:
        yield Reason(1, "the mouth is wide open: the chin looks stretched where it closes")


def _of_pixels(face: Face, sharpness: float, size: int) -> Iterator[Reason]:
    wanted = size * FACE_SHARE
    if face.size < wanted:
        weight = 2 if face.size < wanted / 2 else 1
        yield Reason(
            weight,
            f"the face is small: {face.size:.0f} pixels where {wanted:.0f} are rendered",
        )
    if sharpness < MIN_SHARPNESS:
        yield Reason(2, f"the face is blurred (sharpness {sharpness:.1f}, good from {GOOD_SHARPNESS:g})")
    elif sharpness < GOOD_SHARPNESS:
        yield Reason(1, f"the face is rather soft (sharpness {sharpness:.1f}, good from {GOOD_SHARPNESS:g})")


def _of_pose(face: Face) -> Iterator[Reason]:
    yaw, roll, pitch = abs(face.yaw), abs(face.roll), abs(face.pitch)
    if yaw > GOOD_YAW:
        weight = 2 if yaw > MAX_COMFORTABLE_YAW else 1
        yield Reason(weight, f"the head is turned {yaw:.0f} degrees; the lips may look odd")
    if roll > GOOD_ROLL:
        yield Reason(1, f"the head is tilted {roll:.0f} degrees")
    if pitch > GOOD_PITCH:
        yield Reason(1, f"the head leans forward or back by {pitch:.0f} degrees")


def _of_light(light: Light) -> Iterator[Reason]:
    if light.level < DIM:
        yield Reason(2 if light.level < DARK else 1, f"the face is dark (level {light.level:.0f} of 255)")
    if light.level > BRIGHT:
        yield Reason(1, f"the face is too bright (level {light.level:.0f} of 255)")
    if light.flatness > FLAT:
        yield Reason(2, "the face is drawn in flat colours: its mouth may tear; use a shaded picture")
    if light.unevenness > UNEVEN:
        yield Reason(1, f"light comes from one side: it is {light.unevenness:.1f} times as bright there")
