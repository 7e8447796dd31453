"""Finds the usable parts of a video: exactly one face, large, sharp and frontal enough, no cut.

Watching reads every frame once and keeps a few numbers of each; choosing is a pure function of those.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.analysis.sight import sharpness
from hallo_cli.domain import Bytes, Float

FPS = 25
LOOK_EVERY = 5  # frames between two searches of the whole picture; the face is tracked in between
OTHER_FACE = 0.4  # of the largest face's size: smaller ones beside it do not count
CUT_LEVEL = 22.0  # mean change of grey levels that a cut exceeds
JUMP = 0.35  # of the face's size: a centre that moves further in one frame is another face
# Eye opening over that person's usual one: lids count as open above, as shut below (measured on rendered
# heads: open eyes stay above 0.93, shut lids below 0.3).
OPEN_LIDS, SHUT_LIDS = 0.9, 0.25
LEAST_USUAL_OPENING = 0.15  # narrower than open eyes are: who never opens them has them shut


@dataclass(frozen=True)
class Standard:
    """The requirements for footage."""

    min_face: float = 160.0  # pixels, longer side of the face oval's box
    min_sharpness: float = 30.0  # variance of the Laplacian of the face at 256 pixels
    max_yaw: float = 60.0  # degrees
    min_s: float = 1.0
    max_s: float = 8.0  # longer stretches are cut into takes


@dataclass(frozen=True)
class Seen:
    """One frame: its face, or why it cannot be used."""

    landmarks: Float | None  # [478, 2] pixels
    reason: str = ""
    sharpness: float | None = None  # only where the whole picture was searched
    is_cut: bool = False  # another shot begins here
    eye_opening: float = 0.0  # gap between the lids over the eye's width, where there is a face


@dataclass(frozen=True)
class Stretch:
    """Consecutive usable frames: [start, stop)."""

    start: int
    stop: int


@dataclass(frozen=True)
class Reject:
    """Frames that cannot be used, and why."""

    start: int
    stop: int
    reason: str


def watch(frames: Iterable[Bytes], analyser: FaceAnalyser, standard: Standard) -> Iterator[Seen]:
    """Look at every frame; they come at 25 a second."""
    face: Face | None = None
    before: Float | None = None
    for index, frame in enumerate(frames):
        small = _thumbnail(frame)
        is_cut = before is not None and float(np.abs(small - before).mean()) > CUT_LEVEL
        before = small
        previous = None if is_cut else face
        searches = previous is None or index % LOOK_EVERY == 0
        face, reason = _search(frame, analyser) if searches else _track(frame, analyser, previous)
        if face is not None and previous is not None and _jumps(previous, face):
            is_cut = True
        problem = reason or _problem(face, standard)
        if problem or face is None:
            yield Seen(None, problem, is_cut=is_cut)
        else:
            sharp = sharpness(frame, face) if searches else None
            yield Seen(face.landmarks, "", sharp, is_cut, face.eye_opening)


def choose(seen: Sequence[Seen], standard: Standard) -> tuple[list[Stretch], list[Reject]]:
    """The stretches of a video that are long and sharp enough, cut into takes, and what was left out."""
    takes: list[Stretch] = []
    rejects: list[Reject] = []
    for start, stop in _runs(seen):
        if seen[start].landmarks is None:
            rejects.append(Reject(start, stop, seen[start].reason))
        elif stop - start < standard.min_s * FPS:
            rejects.append(Reject(start, stop, f"shorter than {standard.min_s:g} s"))
        elif (found := _sharpness(seen[start:stop])) < standard.min_sharpness:
            rejects.append(Reject(start, stop, f"sharpness {found:.0f} below {standard.min_sharpness:g}"))
        else:
            takes += _split(start, stop, standard)
    return takes, rejects


def shut_lids(seen: Sequence[Seen]) -> Float:
    """The closure of one person's eyes in every frame [n], 0 open to 1 shut.

    The upper quartile of the frames says how open this person's eyes usually are.
    """
    openings = np.array([one.eye_opening for one in seen], np.float32)
    usual = max(float(np.quantile(openings, 0.75)), LEAST_USUAL_OPENING)
    shut = (OPEN_LIDS - openings / usual) / (OPEN_LIDS - SHUT_LIDS)
    return np.asarray(shut.clip(0, 1), np.float32)


def _runs(seen: Sequence[Seen]) -> Iterator[tuple[int, int]]:
    """Consecutive frames that are all usable, or unusable for the same reason, without a cut."""
    start = 0
    for index in range(1, len(seen) + 1):
        is_end = index == len(seen)
        if is_end or seen[index].is_cut or seen[index].reason != seen[start].reason:
            yield start, index
            start = index


def _split(start: int, stop: int, standard: Standard) -> list[Stretch]:
    """Equal parts of at most max_s."""
    n_parts = -(-(stop - start) // max(1, int(standard.max_s * FPS)))
    edges = [start + (stop - start) * i // n_parts for i in range(n_parts + 1)]
    return [Stretch(a, b) for a, b in itertools.pairwise(edges)]


def _sharpness(seen: Sequence[Seen]) -> float:
    values = [one.sharpness for one in seen if one.sharpness is not None]
    return float(np.median(values)) if values else 0.0


def _search(frame: Bytes, analyser: FaceAnalyser) -> tuple[Face | None, str]:
    faces = analyser.detect(frame)
    if not faces:
        return None, "no face"
    if sum(face.size > OTHER_FACE * faces[0].size for face in faces) > 1:
        return None, "more than one face"
    return faces[0], ""


def _track(frame: Bytes, analyser: FaceAnalyser, previous: Face | None) -> tuple[Face | None, str]:
    face = None if previous is None else analyser.track(frame, previous)
    return (face, "") if face is not None else (None, "no face")


def _problem(face: Face | None, standard: Standard) -> str:
    if face is None:
        return "no face"
    if face.size < standard.min_face:
        return f"face smaller than {standard.min_face:g} pixels"
    return f"turned more than {standard.max_yaw:g} degrees" if abs(face.yaw) > standard.max_yaw else ""


def _jumps(previous: Face, face: Face) -> bool:
    moved = face.landmarks.mean(axis=0) - previous.landmarks.mean(axis=0)
    return float(np.hypot(moved[0], moved[1])) > JUMP * previous.size


def _thumbnail(frame: Bytes) -> Float:
    small = Image.fromarray(frame).resize((48, 27), Image.Resampling.BOX).convert("L")
    return np.asarray(small, np.float32)
