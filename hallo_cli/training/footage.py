"""Recordings of people who talk, and their usable parts: one face, large, sharp and frontal enough, no cut.

Watching reads every frame once and keeps a few numbers of each; choosing is a pure function of those.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hallo_cli.analysis.face import Face, FaceAnalyser
from hallo_cli.analysis.sight import sharpness
from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import InputError
from hallo_cli.media.image import read_image
from hallo_cli.media.video import read_frames

FPS = 25
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts")
PICTURES, SOUNDS, VOICES = "images", "audios", "vocals"  # folders of the published layout
LOOK_EVERY = 5  # frames between two searches of the whole picture; the face is tracked in between
OTHER_FACE = 0.4  # of the largest face's size: smaller ones beside it do not count
CUT_LEVEL = 22.0  # mean change of grey levels that a cut exceeds
JUMP = 0.35  # of the face's size: a centre that moves further in one frame is another face
# Eye opening over that person's usual one: lids count as open above, as shut below (measured on rendered
# heads: open eyes stay above 0.93, shut lids below 0.3).
OPEN_LIDS, SHUT_LIDS = 0.9, 0.25
LEAST_USUAL_OPENING = 0.15  # narrower than open eyes are: who never opens them has them shut


@dataclass(frozen=True)
class Source:
    """One recording of somebody who talks."""

    name: str  # names its takes: the path below the folder
    pictures: Path  # a video, or a folder of numbered pictures at 25 a second
    sound: Path

    def frames(self) -> Iterator[Bytes]:
        """The frames at 25 a second, uint8 RGB [height, width, 3]. Raises InputError."""
        if not self.pictures.is_dir():
            yield from read_frames(self.pictures, fps=FPS)
            return
        files = sorted(self.pictures.glob("*.png"))
        if not files:
            raise InputError(f"{self.pictures} contains no PNG pictures")
        size: tuple[int, ...] | None = None
        for file in files:
            frame = read_image(file)
            if frame.shape != (size or frame.shape):
                raise InputError(f"{file} has another size than the pictures before it")
            size = frame.shape
            yield frame


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
    """Consecutive frames [start, stop)."""

    start: int
    stop: int
    reason: str = ""  # why they cannot be used


def find_sources(folder: Path) -> list[Source]:
    """The videos below a folder, or the recordings of a published data set, in the order of their names.

    A published data set has `images/NAME/0001.png` and so on at 25 pictures a second, and `audios/NAME.wav`;
    `vocals/NAME.wav`, the separated voice, is preferred. Its masks and embeddings are not read: they are made
    again, and its .pt files could run code. Raises InputError if there is nothing.
    """
    if (folder / PICTURES).is_dir() and (folder / SOUNDS).is_dir():
        stems = sorted(path.name for path in (folder / PICTURES).iterdir() if path.is_dir())
        found = [Source(stem, folder / PICTURES / stem, _sound_of(folder, stem)) for stem in stems]
    else:
        files = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
        found = [Source(path.relative_to(folder).as_posix(), path, path) for path in sorted(files)]
    if not found:
        raise InputError(f"{folder} contains no videos ({', '.join(SUFFIXES)})")
    return found


def watch(frames: Iterable[Bytes], analyser: FaceAnalyser, standard: Standard) -> Iterator[Seen]:
    """Look at every frame; they come at 25 a second."""
    face: Face | None = None
    before: Float | None = None
    for index, frame in enumerate(frames):
        small = _thumbnail(frame)
        is_cut = before is not None and float(np.abs(small - before).mean()) > CUT_LEVEL
        before = small
        previous = None if is_cut else face
        is_searched = previous is None or index % LOOK_EVERY == 0
        if previous is None or is_searched:
            face, problem = _search(frame, analyser)
        else:
            face, problem = analyser.track(frame, previous), ""
        if face is not None and previous is not None and _jumps(previous, face):
            is_cut = True
        problem = problem or _problem(face, standard)
        if problem or face is None:
            yield Seen(None, problem, is_cut=is_cut)
        else:
            sharp = sharpness(frame, face) if is_searched else None
            yield Seen(face.landmarks, "", sharp, is_cut, face.eye_opening)


def choose(seen: Sequence[Seen], standard: Standard) -> tuple[list[Stretch], list[Stretch]]:
    """The stretches of a video that are long and sharp enough, cut into takes, and what was left out."""
    takes: list[Stretch] = []
    rejects: list[Stretch] = []
    for start, stop in _runs(seen):
        if reason := _objection(seen[start:stop], standard):
            rejects.append(Stretch(start, stop, reason))
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


def _sound_of(folder: Path, stem: str) -> Path:
    voice = folder / VOICES / f"{stem}.wav"
    return voice if voice.is_file() else folder / SOUNDS / f"{stem}.wav"


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


def _objection(seen: Sequence[Seen], standard: Standard) -> str:
    """Why a run of frames cannot be used; empty if it can."""
    if seen[0].landmarks is None:
        return seen[0].reason
    if len(seen) < standard.min_s * FPS:
        return f"shorter than {standard.min_s:g} s"
    values = [one.sharpness for one in seen if one.sharpness is not None]
    found = float(np.median(values)) if values else 0.0
    return f"sharpness {found:.0f} below {standard.min_sharpness:g}" if found < standard.min_sharpness else ""


def _search(frame: Bytes, analyser: FaceAnalyser) -> tuple[Face | None, str]:
    faces = analyser.detect(frame)
    if not faces:
        return None, "no face"
    if sum(face.size > OTHER_FACE * faces[0].size for face in faces) > 1:
        return None, "more than one face"
    return faces[0], ""


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
