"""Analyses a picture: its orientation, the face to animate, warnings.

Pictures that lie on their side or stand on their head are turned upright here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2

from hallo_cli.analysis.face import Face
from hallo_cli.analysis.framing import cut, face_square
from hallo_cli.analysis.outlook import Light, Reason, light_of, mouth_relief, reasons
from hallo_cli.bundles.bundle_file import Geometry
from hallo_cli.domain import Bytes
from hallo_cli.errors import MissingFaceError, PortraitError
from hallo_cli.media.files import shown

MIN_FACE = 32  # pixels, longer side of the face oval's box; the notes warn of faces that are rather small
MAX_YAW = 50.0  # degrees
COMFORTABLE_ROLL = 22.5  # degrees; further, and the lips of the upright faces in training do not fit
TURNED = {1: "lies on its side", 2: "stands on its head", 3: "lies on its side"}


@dataclass(frozen=True)
class Sight:
    """An upright picture and its faces."""

    picture: Bytes  # [height, width, 3]
    quarter_turns: int  # against the clock, which set it upright
    faces: tuple[Face, ...]  # from left to right, as --face-index counts them
    face: Face  # the one that is animated

    @cached_property
    def sharpness(self) -> float:
        """See `sharpness`."""
        return sharpness(self.picture, self.face)

    @cached_property
    def light(self) -> Light:
        """How the face is lit."""
        return light_of(self.picture, self.face)

    @cached_property
    def mouth_relief(self) -> float:
        """See `outlook.mouth_relief`."""
        return mouth_relief(self.picture, self.face)

    def reasons(self, size: int) -> tuple[Reason, ...]:
        """The weaknesses of the portrait for a rendered square of `size` pixels."""
        return reasons(
            self.face,
            sharpness=self.sharpness,
            light=self.light,
            mouth_relief=self.mouth_relief,
            size=size,
        )

    def notes(self, size: int) -> tuple[str, ...]:
        """Warnings for a rendered square of `size` pixels."""
        found = []
        if self.quarter_turns:
            found.append(f"the portrait {TURNED[self.quarter_turns]}: it is turned upright")
        if abs(self.face.roll) > COMFORTABLE_ROLL:
            found.append(
                f"the head leans by {abs(self.face.roll):.0f} degrees: turn the picture until it is upright, "
                "or the lips may look odd"
            )
        return (*found, *(reason.text for reason in self.reasons(size) if reason.weight > 1))


def from_left(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Faces in the order in which --face-index counts them."""
    return tuple(sorted(faces, key=lambda face: float(face.box[0] + face.box[2])))


def choose_face(faces: Sequence[Face], index: int | None, file: Path) -> Face:
    """Return the face with that index, or the largest. Raises PortraitError that lists what there is."""
    if not faces:
        raise PortraitError(
            f"No face was found in {shown(file)}. Use a picture of a person who looks towards the camera, "
            "with the whole face visible."
        )
    if index is None:
        return max(faces, key=lambda f: f.size)
    if index >= len(faces):
        raise missing_face(index, file, faces)
    return faces[index]


def require_usable(face: Face, file: Path) -> None:
    """Raise PortraitError if a face is too small or turned too far away."""
    for unfit in unfitness(face, file):
        raise PortraitError(unfit)


def unfitness(face: Face, file: Path) -> list[str]:
    """The reason why a face is hard to animate, and a remedy."""
    found = []
    if face.size < MIN_FACE:
        found.append(
            f"The face in {shown(file)} is {face.size:.0f} pixels high; at least {MIN_FACE} are needed. "
            "Use a larger picture or crop it closer from the original."
        )
    if abs(face.yaw) > MAX_YAW:
        found.append(
            f"The face in {shown(file)} is turned {abs(face.yaw):.0f} degrees to the side; at most "
            f"{MAX_YAW:.0f} can be animated. Use a picture that looks more towards the camera."
        )
    return found


def sharpness(picture: Bytes, face: Face) -> float:
    """How sharp a face is at 256 pixels: variance of its Laplacian; below 30 is blurred."""
    box = face_square(face.landmarks, Geometry(crop_scale=1.0))
    grey = cv2.cvtColor(cut(picture, box, 256), cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def listed(faces: Sequence[Face], *, first: int = 0) -> str:
    """Where each face is, for a message; `first` is the number of the leftmost."""
    places = (
        f"{i} at {f.box[0]:.0f},{f.box[1]:.0f} ({f.size:.0f} pixels)" for i, f in enumerate(faces[:8], first)
    )
    many = "1 face" if len(faces) == 1 else f"{len(faces)} faces, from the left"
    return f"{many}: " + "; ".join(places)


def missing_face(index: int, file: Path, faces: Sequence[Face]) -> MissingFaceError:
    """The error for a face that is not there, counted from 0."""
    error = MissingFaceError(f"There is no face {index} in {shown(file)}: {listed(faces)}. Set --face-index.")
    error.counted_from_1 = f"there is no face {index + 1} in {shown(file)}: {listed(faces, first=1)}."
    return error
