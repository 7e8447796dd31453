"""Predicts from a portrait how well its video will do, with the reasons: rules of thumb, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from hallo_cli.analysis.face import SILHOUETTE, Face
from hallo_cli.domain import Bytes

MIN_SHARPNESS, GOOD_SHARPNESS = 30.0, 60.0
MAX_COMFORTABLE_YAW, GOOD_YAW = 30.0, 20.0  # degrees
GOOD_ROLL, GOOD_PITCH = 15.0, 20.0
OPEN_MOUTH = 0.04  # gap between the lips over the height of the face
FACE_SHARE = 1 / 1.32  # of the rendered square's side, taken by the face
DARK, DIM, BRIGHT = 40.0, 65.0, 225.0  # mean grey level of the face
UNEVEN = 2.2  # brighter half of the face over the darker one
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


def light_of(picture: Bytes, face: Face) -> Light:
    """The light on the face's skin, eyes, mouth and all."""
    outline = np.asarray(face.landmarks[list(SILHOUETTE)], np.float32)
    left, top = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 1
    grey = cv2.cvtColor(picture[top:bottom, left:right], cv2.COLOR_RGB2GRAY)
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.asarray(outline - (left, top), np.int32)), 1)
    middle = round(float(outline[:, 0].mean())) - left
    halves = [
        float(part[inside > 0].mean()) if (inside > 0).any() else 0.0
        for part, inside in (
            (grey[:, :middle], mask[:, :middle]),
            (grey[:, middle:], mask[:, middle:]),
        )
    ]
    level = float(grey[mask > 0].mean()) if (mask > 0).any() else 0.0
    return Light(level, max(halves) / max(min(halves), 1.0))


def reasons(face: Face, *, sharpness: float, light: Light, size: int) -> tuple[Reason, ...]:
    """The weaknesses of a portrait that is rendered as a square of `size` pixels."""
    return (*_of_pixels(face, sharpness, size), *_of_pose(face), *_of_light(light))


def grade(found: tuple[Reason, ...]) -> str:
    """good, fair or poor."""
    return GRADES[max((reason.weight for reason in found), default=0)]


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
        yield Reason(1, f"the head is nodded {pitch:.0f} degrees")
    if face.mouth_opening > OPEN_MOUTH:
        yield Reason(1, "the mouth is open: teeth of the picture show when it should be closed")


def _of_light(light: Light) -> Iterator[Reason]:
    if light.level < DIM:
        yield Reason(2 if light.level < DARK else 1, f"the face is dark (level {light.level:.0f} of 255)")
    if light.level > BRIGHT:
        yield Reason(1, f"the face is too bright (level {light.level:.0f} of 255)")
    if light.unevenness > UNEVEN:
        yield Reason(1, f"light comes from one side: it is {light.unevenness:.1f} times as bright there")
