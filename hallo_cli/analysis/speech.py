"""Turns a recording into `Speech`, piece by piece, behind one interface for every speech encoder.

A recording is measured once, as a whole; then any stretch of its frames can be analysed with some of what
surrounds it. Memory does not grow with the recording, but for a few numbers a frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import Protocol

import numpy as np

from hallo_cli.analysis.loudness import Hushed, Sound, Waveform, measure, pauses
from hallo_cli.domain import Float, Speech
from hallo_cli.errors import WeightsError
from hallo_cli.models.bundle import Bundle

CONTEXT = 2  # frames of features on either side that the audio window looks at


class Hearing(Protocol):
    """One recording, measured as a whole."""

    def features(self, start: int, stop: int, *, margin: int) -> Float:
        """Return features [stop - start, blocks, width] of frames, heard with `margin` frames either side."""
        ...


class SpeechEncoder(Protocol):
    """A network that turns sound into features."""

    @property
    def width(self) -> int:
        """Channels of a feature."""
        ...

    @property
    def knows_silence(self) -> bool:
        """Whether the features themselves say where nobody speaks, as the networks were trained with."""
        ...

    def hear(self, sound: Sound, *, n_frames: int, fps: float, seed: int = 0) -> Hearing:
        """Measure a recording that is rendered as `n_frames` frames, silence behind its end."""
        ...


@dataclass(frozen=True)
class TrackOptions:
    """How a recording is rendered."""

    n_frames: int
    clip_frames: int
    fps: float = 25.0
    overlap_s: float = 2.0  # heard on either side of a stretch
    seed: int = 0
    guards_silence: bool = False  # hush pauses for encoders that don't know silence


class RecordingTrack:
    """One recording, ready to be analysed stretch by stretch with the statistics of the whole."""

    def __init__(self, sound: Sound, encoder: SpeechEncoder, options: TrackOptions) -> None:
        """Measure the recording. Frames up to the end of the last whole clip can be asked for."""
        clip = options.clip_frames
        self._sound = sound
        self._options = options
        self._n_frames = ceil(options.n_frames / clip) * clip
        heard = Hushed(sound) if options.guards_silence and not encoder.knows_silence else sound
        self._hearing = encoder.hear(heard, n_frames=self._n_frames, fps=options.fps, seed=options.seed)

    def speech(self, start: int, stop: int) -> Speech:
        """Features of frames [start, stop), heard with the overlap on either side.

        Before the first and behind the last frame, that frame's features are repeated.
        """
        first, last = max(0, start - CONTEXT), min(self._n_frames, stop + CONTEXT)
        margin = round(self._options.overlap_s * self._options.fps)
        features = self._hearing.features(first, last, margin=margin)
        missing = (first - (start - CONTEXT), stop + CONTEXT - last)
        features = np.pad(features, (missing, (0, 0), (0, 0)), mode="edge")
        return Speech(features, start, stop - start, self._options.fps, CONTEXT)

    def pauses(self) -> list[tuple[int, int]]:
        """Where nobody speaks: half-open ranges of whole frames."""
        found = pauses(self._sound, measure(self._sound))
        fps, n_frames = self._options.fps, self._options.n_frames
        ranges = [(ceil(start * fps), min(floor(stop * fps), n_frames)) for start, stop in found]
        return [(start, stop) for start, stop in ranges if start < stop]


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
            f"{bundle.path}: the speech encoder gives {encoder.width} channels, the networks take {expected}."
        )
    return encoder


def whole(encoder: SpeechEncoder, waveform: Float, n_frames: int, *, fps: float = 25.0) -> Float:
    """Features [n_frames, blocks, width] of a short recording in one pass."""
    hearing = encoder.hear(Waveform(waveform), n_frames=n_frames, fps=fps)
    return hearing.features(0, n_frames, margin=0)
