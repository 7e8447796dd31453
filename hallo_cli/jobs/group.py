"""Renders several faces of one picture, each with its own recording, as one job.

`GroupEngine` is an engine whose clips hold the clips of all faces; everything around it (segments, resuming,
fallbacks) is that of a single face.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hallo_cli.domain import Bytes, Clip, Float, MotionFrames, Portrait, Speech, StepDone
from hallo_cli.errors import MissingFaceError, PortraitError, SettingsError
from hallo_cli.jobs.compositor import Compositor
from hallo_cli.media.audio import Recording

if TYPE_CHECKING:
    from hallo_cli.analysis.head_motion import Delay
    from hallo_cli.jobs.engine import Engine, SpeechTrack
    from hallo_cli.jobs.plan import Voice
    from hallo_cli.settings.schema import RenderSettings

BLEND = 0.15  # width of the border between two faces' regions, in faces


@dataclass(frozen=True)
class _Head:
    """One animated face."""

    number: int  # counted from the left, from 1
    portrait: Portrait
    settings: RenderSettings

    @cached_property
    def box(self) -> tuple[Float, Float]:
        """The face's upper left and lower right corners [2] in the source picture."""
        crop = self.portrait.crop
        scale = crop.side / self.portrait.pixels.shape[0]
        points = self.portrait.landmarks * scale + np.array([crop.left, crop.top], np.float32)
        return points.min(axis=0), points.max(axis=0)


class GroupEngine:
    """Implements `engine.Engine` for a job with voices, with an engine for single faces."""

    def __init__(self, inner: Engine, voices: Sequence[Voice]) -> None:
        self._inner, self._voices = inner, voices
        self._heads: list[_Head] = []

    @property
    def weights_id(self) -> str:
        """See Engine."""
        return self._inner.weights_id

    @property
    def leaves_processor_free(self) -> bool:
        """See Engine."""
        return self._inner.leaves_processor_free

    def resolve_settings(self, settings: RenderSettings) -> RenderSettings:
        """See Engine. Raises SettingsError if the settings show anything but the whole picture."""
        if settings.canvas is not None:
            raise SettingsError("--face shows the whole picture: leave --canvas out.")
        return self._inner.resolve_settings(dataclasses.replace(settings, framing="full"))

    def describe(self) -> dict[str, str]:
        """See Engine."""
        return self._inner.describe()

    def portrait(self, path: Path, settings: RenderSettings) -> Portrait:
        """The first face, with the warnings about all. Raises PortraitError."""
        self._heads = [self._head(path, voice.face, settings) for voice in self._voices]
        for one, other in combinations(self._heads, 2):
            if _overlap(one, other):
                raise PortraitError(
                    f"faces {one.number} and {other.number} overlap. Choose faces with space between them."
                )
        notes = (f"face {head.number}: {note}" for head in self._heads for note in head.portrait.notes)
        return dataclasses.replace(self._heads[0].portrait, notes=tuple(notes))

    def compositor(self, path: Path, portrait: Portrait, settings: RenderSettings) -> Compositor:
        """See Engine."""
        inner = [self._inner.compositor(path, head.portrait, head.settings) for head in self._heads]
        return joint_compositor(inner, _shares(self._heads, inner[0].size))

    def decode(self, source: Path, target: Path, settings: RenderSettings) -> Recording:
        """The mixed sound; the voices lie beside it."""
        voices = [
            self._inner.decode(voice.audio, _voice_file(target, voice.face), settings)
            for voice in self._voices
        ]
        mixed = self._inner.decode(source, target, settings)
        return dataclasses.replace(mixed, notes=tuple(note for voice in voices for note in voice.notes))

    def track(self, recording: Recording, n_frames: int, settings: RenderSettings) -> SpeechTrack:
        """See Engine."""
        files = [_voice_file(recording.file, voice.face) for voice in self._voices]
        heard = [Recording.kept(file) for file in files]
        return GroupTrack(
            self._inner.track(recording, n_frames, settings),
            [
                self._inner.track(one, n_frames, dataclasses.replace(settings, seed=settings.seed + number))
                for number, one in enumerate(heard)
            ],
        )

    def load_networks(self, settings: RenderSettings) -> None:
        """See Engine."""
        self._inner.load_networks(settings)

    def clips(
        self, portrait: Portrait, settings: RenderSettings, speech: Speech, motion: MotionFrames | None
    ) -> Generator[StepDone | Clip]:
        """See Engine."""
        n = len(self._heads)
        heard = np.split(speech.features, n, axis=1)
        states = [None] * n if motion is None else np.split(motion.values, n)
        with ExitStack() as stack:
            faces = [
                stack.enter_context(
                    closing(
                        self._inner.clips(
                            head.portrait,
                            head.settings,
                            dataclasses.replace(speech, features=features),
                            None if state is None else MotionFrames(state),
                        )
                    )
                )
                for head, features, state in zip(self._heads, heard, states, strict=True)
            ]
            while (together := (yield from self._next(faces))) is not None:
                yield together

    def fall_back(self) -> str | None:
        """See Engine."""
        return self._inner.fall_back()

    def note_speed(self, settings: RenderSettings, seconds_per_frame: float) -> None:
        """A group's speed says nothing about a single face's."""

    def _head(self, path: Path, number: int, settings: RenderSettings) -> _Head:
        own = dataclasses.replace(settings, face_index=number - 1)
        try:
            return _Head(number, self._inner.portrait(path, own), own)
        except MissingFaceError as error:
            raise PortraitError(f"--face {number}: {error.counted_from_1}") from error
        except PortraitError as error:
            raise PortraitError(f"--face {number}: {error}") from error

    def _next(self, faces: Sequence[Generator[StepDone | Clip]]) -> Generator[StepDone, None, Clip | None]:
        """The next clip of all faces, None at the end; yields the steps on the way."""
        clips: list[Clip] = []
        for number, face in enumerate(faces):
            for item in face:
                if isinstance(item, Clip):
                    clips.append(item)
                    break
                n_steps = item.n_steps
                yield StepDone(item.clip, number * n_steps + item.step, len(faces) * n_steps)
            else:
                return None
        frames = np.concatenate([clip.frames.reshape(len(clip.frames), -1) for clip in clips], axis=1)
        motion = MotionFrames(np.concatenate([clip.motion.values for clip in clips]))
        return Clip(clips[0].index, frames, motion)


@dataclass(frozen=True)
class GroupTrack:
    """All voices, ready to be analysed together; the blocks of a feature are those of all faces."""

    mixed: SpeechTrack
    voices: Sequence[SpeechTrack]

    def pauses(self) -> Sequence[tuple[int, int]]:
        """See SpeechTrack: where nobody speaks."""
        return self.mixed.pauses()

    def delayed(self, delay: Delay) -> GroupTrack:
        """See SpeechTrack."""
        return GroupTrack(self.mixed, [voice.delayed(delay) for voice in self.voices])

    def speech(self, start: int, stop: int) -> Speech:
        """See SpeechTrack."""
        heard = [voice.speech(start, stop) for voice in self.voices]
        features = np.concatenate([speech.features for speech in heard], axis=1)
        return dataclasses.replace(heard[0], features=features)


def joint_compositor(inner: Sequence[Compositor], shares: Float) -> Compositor:
    """Puts all faces into the picture, each into the region that is nearest to it.

    shares: [faces, height, width] how much of each face's change shows.
    """
    lengths = [prod(one.frame_shape) for one in inner]  # what is generated of a face has its own length

    def compose_one(frame: Bytes) -> Bytes:
        parts = np.split(frame, np.cumsum(lengths)[:-1])
        pictures = [
            one.compose(own.reshape(1, *one.frame_shape))[0] for one, own in zip(inner, parts, strict=True)
        ]
        mixed = sum(share[..., None] * picture for share, picture in zip(shares, pictures, strict=True))
        return np.asarray(mixed + 0.5).astype(np.uint8)

    return Compositor(
        inner[0].size,
        (sum(lengths),),
        np.concatenate([one.at_rest.reshape(1, -1) for one in inner], axis=1),
        None,
        lambda frames: np.stack([compose_one(frame) for frame in frames]),
    )


def speaking(engine: Engine, voices: Sequence[Voice]) -> Engine:
    """The engine for a job with these voices; the given one if it has none."""
    return GroupEngine(engine, voices) if voices else engine


def _overlap(one: _Head, other: _Head) -> bool:
    (low, high), (other_low, other_high) = one.box, other.box
    return bool((low < other_high).all() and (other_low < high).all())


def _shares(heads: Sequence[_Head], size: tuple[int, int]) -> Float:
    """How near every pixel is to each face, in faces: [faces, height, width], sums of 1."""
    width, height = size
    ratio = width / heads[0].portrait.source_size[0]
    distances = []
    for head in heads:
        low, high = (corner * ratio for corner in head.box)
        (x, y), side = (low + high) / 2, float((high - low).max())
        rows = (np.arange(height, dtype=np.float32)[:, None] - y) / side
        columns = (np.arange(width, dtype=np.float32) - x) / side
        distances.append(np.hypot(rows, columns))
    nearness = np.exp(-(np.stack(distances) - np.min(distances, axis=0)) / (BLEND / 4))
    return np.asarray(nearness / nearness.sum(axis=0), np.float32)


def _voice_file(recording: Path, face: int) -> Path:
    return recording.with_name(f"voice-{face}.f32")
