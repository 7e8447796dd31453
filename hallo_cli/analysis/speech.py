"""Turns a recording into `Speech`, piece by piece, behind one interface for every speech encoder.

A recording is measured once, as a whole; then any range of its frames can be analysed with some context.
Memory does not grow with the recording, except for a few numbers a frame.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol

import numpy as np

from hallo_cli.analysis.head_motion import Delay
from hallo_cli.analysis.loudness import Hushed, Sound, Waveform, measure, pauses
from hallo_cli.bundles.bundle import Bundle
from hallo_cli.domain import SAMPLE_RATE, Float, Speech
from hallo_cli.errors import WeightsError

CONTEXT = 2  # frames of features on either side that the audio window looks at


class Hearing(Protocol):
    """One recording, measured as a whole."""

    def features(self, start: int, stop: int, *, margin: int) -> Float:
        """Return features [stop - start, blocks, width] with `margin` frames of context on either side."""

    def delayed(self, delay: Delay) -> Hearing:
        """The same with the motion of head and eyes delayed, if the features contain it."""


class SpeechEncoder(Protocol):
    """A network that turns sound into features."""

    @property
    def width(self) -> int:
        """Channels of a feature."""

    @property
    def knows_silence(self) -> bool:
        """Whether the features themselves contain speech activity, as in training."""

    def hear(
        self, sound: Sound, *, n_frames: int, fps: float, seed: int = 0, to_train: bool = False
    ) -> Hearing:
        """Measure a recording that is rendered as `n_frames` frames, silence behind its end.

        `to_train`: networks learn from the features, whose opening then does not follow the loudness.
        """


@dataclass(frozen=True)
class TrackOptions:
    """How a recording is rendered."""

    n_frames: int
    clip_frames: int
    fps: float = 25.0
    overlap_s: float = 2.0  # context on either side of a range
    seed: int = 0
    guards_silence: bool = False  # silence pauses for encoders without speech activity
    piece_s: float | None = None  # length of pieces that are measured and analysed alone; None: the whole


class RecordingTrack:
    """One recording, ready to be analysed range by range with the statistics of the whole."""

    def __init__(self, sound: Sound, encoder: SpeechEncoder, options: TrackOptions) -> None:
        """Measure the recording. Frames up to the end of the last whole clip can be asked for."""
        clip = options.clip_frames
        self._sound = sound
        self._options = options
        self._n_frames = ceil(options.n_frames / clip) * clip
        heard = Hushed(sound) if options.guards_silence and not encoder.knows_silence else sound
        self._hearing: Hearing
        if options.piece_s is None:
            self._hearing = encoder.hear(heard, n_frames=self._n_frames, fps=options.fps, seed=options.seed)
        else:
            self._hearing = Pieces(heard, encoder, options, self._n_frames)

    def speech(self, start: int, stop: int) -> Speech:
        """Features of frames [start, stop), with the overlap on either side.

        Before the first and behind the last frame, that frame's features are repeated.
        """
        first, last = max(0, start - CONTEXT), min(self._n_frames, stop + CONTEXT)
        margin = round(self._options.overlap_s * self._options.fps)
        features = self._hearing.features(first, last, margin=margin)
        missing = (first - (start - CONTEXT), stop + CONTEXT - last)
        features = np.pad(features, (missing, (0, 0), (0, 0)), mode="edge")
        return Speech(features, start, stop - start, self._options.fps, CONTEXT)

    def delayed(self, delay: Delay) -> RecordingTrack:
        """The same recording with the motion of head and eyes delayed."""
        track = copy(self)
        track._hearing = self._hearing.delayed(delay)
        return track

    def pauses(self) -> list[tuple[int, int]]:
        """The pauses: ranges [start, stop) of whole frames."""
        found = pauses(self._sound, measure(self._sound))
        fps, n_frames = self._options.fps, self._options.n_frames
        ranges = [(ceil(start * fps), min(floor(stop * fps), n_frames)) for start, stop in found]
        return [(start, stop) for start, stop in ranges if start < stop]


class Pieces:
    """A recording cut into pieces, each measured and analysed alone (Hallo2); see `Hearing`."""

    def __init__(self, sound: Sound, encoder: SpeechEncoder, options: TrackOptions, n_frames: int) -> None:
        assert options.piece_s is not None
        self._sound, self._encoder, self._options, self._n_frames = sound, encoder, options, n_frames
        self._piece = max(1, round(options.piece_s * options.fps))
        spoken = ceil(round(sound.n_samples * options.fps / SAMPLE_RATE, 6))
        self._n_pieces = max(1, ceil(spoken / self._piece))
        self._held: tuple[int, Hearing] | None = None

    def features(self, start: int, stop: int, *, margin: int) -> Float:
        """See Hearing; the padding of the last clip belongs to the last piece."""
        parts = []
        for index in range(self._index(start), self._index(stop - 1) + 1):
            first, last = self._frames(index)
            within = max(start, first) - first, min(stop, last) - first
            parts.append(self._hearing(index).features(*within, margin=margin))
        return np.concatenate(parts)

    def delayed(self, delay: Delay) -> Pieces:
        """See Hearing; pieces have no motion of the head."""
        return self

    def _index(self, frame: int) -> int:
        return min(frame // self._piece, self._n_pieces - 1)

    def _frames(self, index: int) -> tuple[int, int]:
        is_last = index == self._n_pieces - 1
        return index * self._piece, self._n_frames if is_last else (index + 1) * self._piece

    def _hearing(self, index: int) -> Hearing:
        if self._held is None or self._held[0] != index:
            first, last = self._frames(index)
            start, stop = (round(frame * SAMPLE_RATE / self._options.fps) for frame in (first, last))
            piece = Stretch(self._sound, start, min(stop, self._sound.n_samples))
            options = self._options
            heard = self._encoder.hear(piece, n_frames=last - first, fps=options.fps, seed=options.seed)
            self._held = index, heard
        return self._held[1]


@dataclass(frozen=True)
class Stretch:
    """Samples [start, stop) of a sound, as a sound."""

    sound: Sound
    start: int
    stop: int

    @property
    def n_samples(self) -> int:
        """Length."""
        return self.stop - self.start

    def read(self, start: int, stop: int) -> Float:
        """Return samples [stop - start], zeros outside the stretch."""
        samples = np.zeros(stop - start, np.float32)
        first, last = min(max(start, 0), self.n_samples), max(min(stop, self.n_samples), 0)
        if first < last:
            samples[first - start : last - start] = self.sound.read(self.start + first, self.start + last)
        return samples


def load_encoder(bundle: Bundle) -> SpeechEncoder:
    """Load the speech encoder that the bundle's networks were trained with. Raises WeightsError."""
    speech = bundle.manifest.speech
    if speech.kind == "wav2vec2":
        from hallo_cli.analysis.wav2vec2 import Wav2Vec2Encoder

        encoder: SpeechEncoder = Wav2Vec2Encoder.load(bundle.file("speech"), bundle.file("speech_config"))
    else:
        from hallo_cli.analysis.embedded_speech import EmbeddedEncoder

        encoder = EmbeddedEncoder.load(bundle.file("speech"), speech.config)
    expected = bundle.manifest.networks.audio_dim
    if encoder.width != expected:
        raise WeightsError(
            f"{bundle.path}: the speech encoder gives {encoder.width} channels, the networks take "
            f"{expected}: they belong to different weights. Fetch or convert the bundle again."
        )
    return encoder


def whole(encoder: SpeechEncoder, waveform: Float, n_frames: int, *, fps: float = 25.0) -> Float:
    """Features [n_frames, blocks, width] of a short recording in one pass, to train with."""
    hearing = encoder.hear(Waveform(waveform), n_frames=n_frames, fps=fps, to_train=True)
    return hearing.features(0, n_frames, margin=0)
