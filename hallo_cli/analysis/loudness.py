"""Measures a recording's loudness over time: speech level, speech activity, pauses.

Reads a recording piece by piece; what is kept is one number for every 20 ms.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import SAMPLE_RATE, Float

BLOCK_SAMPLES = 320  # 20 ms
BLOCK_S = BLOCK_SAMPLES / SAMPLE_RATE
QUIETEST_LEVEL = 2e-3  # a recording quieter than this counts as silence: it is not scaled up further
SPEECH_RANGE_DB = 34.0  # dB below the speech level at which sound still counts as speech
NOISE_MARGIN_DB = 6.0  # dB above the noise floor that speech needs
LEAST_RANGE_DB = 12.0  # speech is taken to have at least this range, however noisy the recording
SOFTNESS_DB = 6.0  # over which the activity rises from 0 to 1
LEAD_S, TAIL_S = 0.12, 0.16  # the mouth opens before the sound and closes after it
MIN_PAUSE_MS = 240
PAUSE_STEP_MS = 20
PIECE = 60 * SAMPLE_RATE  # samples read at a time; a whole number of blocks
PYDUB_SPEECH_DBFS = -20.0  # what speech is scaled to for pydub, which counts in 16-bit steps


def block_energies(waveform: Float) -> npt.NDArray[np.float64]:
    """Mean squares of a waveform's whole 20 ms blocks: of a long recording, piece by piece."""
    blocks = waveform[: len(waveform) // BLOCK_SAMPLES * BLOCK_SAMPLES].reshape(-1, BLOCK_SAMPLES)
    return np.asarray(np.mean(np.square(blocks, dtype=np.float64), axis=1))


def level_of(energies: npt.NDArray[np.float64]) -> float:
    """The RMS of the louder parts, from all block energies of a recording."""
    if len(energies) == 0:
        return QUIETEST_LEVEL
    return max(float(np.sqrt(np.percentile(energies, 95))), QUIETEST_LEVEL)


class Sound(Protocol):
    """Samples at 16 kHz mono that are read piece by piece: `media.audio.Recording`, or `Waveform`."""

    @property
    def n_samples(self) -> int:
        """Length."""

    def read(self, start: int, stop: int) -> Float:
        """Return samples [stop - start], zeros outside the sound."""


@dataclass(frozen=True)
class Waveform:
    """A short sound in memory."""

    samples: Float

    @property
    def n_samples(self) -> int:
        """Length."""
        return len(self.samples)

    def read(self, start: int, stop: int) -> Float:
        """Return samples [stop - start], zeros outside the sound."""
        result = np.zeros(stop - start, np.float32)
        first, last = min(max(start, 0), self.n_samples), max(min(stop, self.n_samples), 0)
        if first < last:
            result[first - start : last - start] = self.samples[first:last]
        return result


@dataclass(frozen=True)
class Loudness:
    """A whole recording's loudness."""

    energies: npt.NDArray[np.float64]  # mean square of every 20 ms
    mean: float  # of all samples
    variance: float

    @property
    def level(self) -> float:
        """RMS of the louder parts, bounded from below; 0 dB in what follows."""
        return level_of(self.energies)

    @property
    def threshold_db(self) -> float:
        """What is speech, relative to the level: adapts to the noise between words."""
        if len(self.energies) == 0:
            return -SPEECH_RANGE_DB
        floor = self._in_db(np.percentile(self.energies, 10))
        return float(np.clip(floor + NOISE_MARGIN_DB, -SPEECH_RANGE_DB, -LEAST_RANGE_DB))

    def by_frame(self, n_frames: int, fps: float) -> Float:
        """Return every frame's RMS relative to the level, 0 to about 1."""
        relative = np.append(np.sqrt(self.energies) / self.level, 0.0)
        blocks = ((np.arange(n_frames) + 0.5) / fps / BLOCK_S).astype(int)
        near = np.stack([relative[np.clip(blocks + step, 0, len(relative) - 1)] for step in (-1, 0, 1)])
        return np.asarray(np.clip(near.mean(axis=0), 0, 1.5), np.float32)

    def activity(self, n_frames: int, fps: float) -> Float:
        """Return every frame's speech activity, 0..1; rises early and falls late."""
        held = np.append(self.presence(), 0.0)
        blocks = ((np.arange(n_frames) + 0.5) / fps / BLOCK_S).astype(int)
        frames = np.pad(held[np.minimum(blocks, len(held) - 1)], 1, mode="edge")
        return np.asarray(np.convolve(frames, [0.25, 0.5, 0.25], "valid"), np.float32)

    def presence(self) -> npt.NDArray[np.float64]:
        """Return the speech activity of every 20 ms, 0..1; rises early and falls late."""
        if len(self.energies) == 0:
            return np.zeros(0)
        rise = np.clip((self._in_db(self.energies) - self.threshold_db) / SOFTNESS_DB, 0, 1)
        lead, tail = round(LEAD_S / BLOCK_S), round(TAIL_S / BLOCK_S)
        around = np.lib.stride_tricks.sliding_window_view(np.pad(rise, (tail, lead)), tail + lead + 1)
        return np.asarray(around.max(axis=1), np.float64)

    def _in_db(self, energies: npt.NDArray[np.float64] | np.float64) -> npt.NDArray[np.float64]:
        return np.asarray(10 * np.log10(np.maximum(energies, 1e-12) / self.level**2))


class Hushed:
    """A sound with silenced pauses: noise between words is faded out, so that it does not move the mouth."""

    def __init__(self, sound: Sound) -> None:
        """Measure the sound; it is read and silenced on demand."""
        presence = measure(sound).presence()
        self._sound = sound
        self._gain = presence if len(presence) else np.ones(1)

    @property
    def n_samples(self) -> int:
        """Length."""
        return self._sound.n_samples

    def read(self, start: int, stop: int) -> Float:
        """Return samples [stop - start], zeros outside the sound."""
        first = min(max(0, start // BLOCK_SAMPLES - 1), len(self._gain) - 1)
        near = self._gain[first : max(first + 1, stop // BLOCK_SAMPLES + 2)]
        centres = (first + np.arange(len(near)) + 0.5) * BLOCK_SAMPLES
        gain = np.interp(np.arange(start, stop), centres, near).astype(np.float32)
        return np.asarray(self._sound.read(start, stop) * gain, np.float32)


def measure(sound: Sound) -> Loudness:
    """Read a recording once."""
    energies: list[npt.NDArray[np.float64]] = []
    n, mean, squares = 0, 0.0, 0.0  # squares: sum of squared differences from the mean
    for piece in pieces(sound):
        energies.append(block_energies(piece))
        values = piece.astype(np.float64)
        own_mean = float(values.mean())
        step = own_mean - mean
        squares += float(((values - own_mean) ** 2).sum()) + step**2 * n * len(piece) / (n + len(piece))
        n += len(piece)
        mean += step * len(piece) / n
    return Loudness(np.concatenate([np.zeros(0), *energies]), mean, squares / n if n else 0.0)


def pieces(sound: Sound, size: int = PIECE) -> Iterator[Float]:
    """Yield all samples in order."""
    for start in range(0, sound.n_samples, size):
        yield sound.read(start, min(start + size, sound.n_samples))


def pauses(sound: Sound, loudness: Loudness) -> list[tuple[float, float]]:
    """Return where nobody speaks for at least 0.24 s, as (start, stop) in seconds, by pydub's detection."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub looks for an ffmpeg that is not needed here
        from pydub import AudioSegment
        from pydub.silence import detect_silence

    gain = 10 ** (PYDUB_SPEECH_DBFS / 20) / loudness.level
    threshold = PYDUB_SPEECH_DBFS + loudness.threshold_db
    found: list[tuple[float, float]] = []
    overlap = 2 * MIN_PAUSE_MS * SAMPLE_RATE // 1000
    for start in range(0, sound.n_samples, PIECE):
        stop = min(start + PIECE + overlap, sound.n_samples)
        steps = np.clip(sound.read(start, stop) * gain, -1, 1) * 32767
        segment = AudioSegment(
            steps.astype("<i2").tobytes(), frame_rate=SAMPLE_RATE, sample_width=2, channels=1
        )
        silences = detect_silence(segment, MIN_PAUSE_MS, threshold, PAUSE_STEP_MS)
        offset = start / SAMPLE_RATE
        found += [(offset + first / 1000, offset + last / 1000) for first, last in silences]
    return _merged(found)


def _merged(ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join ranges that overlap or touch."""
    merged: list[tuple[float, float]] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1] + PAUSE_STEP_MS / 1000:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
