"""Measures how well a mouth follows a recording, in speech (correlation and lag) and in silence (rest).

Knows series of numbers only; where they come from is decided in `measure.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import butter, sosfiltfilt

from hallo_cli.domain import SAMPLE_RATE, Float

SPEECH_BAND_HZ = (250.0, 3400.0)
DYNAMIC_RANGE_DB = 50.0
SILENCE_DB = -35.0  # below the loudest frames: no speech
MAX_LAG = 12  # frames, either way
# Mouths begin up to 0.2 s before the sound (Schwartz and Savariaux 2014, doi 10.1371/journal.pcbi.1003743),
# and may take as long to close after it.
MARGIN_S = 0.2
LEAST_S = 1.0  # of silence, and of speech: a single pause is not representative


@dataclass(frozen=True)
class SyncFigure:
    """Agreement of two series of equal frame rate, over lags of at most MAX_LAG frames."""

    correlation: float  # Pearson, -1..1, at the best lag
    lag: int  # frames; positive: the mouth comes late
    at_zero: float  # correlation without shifting
    confidence: float  # correlation at the best lag minus the median over all lags


@dataclass(frozen=True)
class SilenceFigure:
    """A mouth's motion in silence, and how much silence there is."""

    n_frames: int  # silent frames with known motion
    motion: float | None  # mean motion in them / in speech; None: too little of either


def speech_envelope(waveform: Float, n_frames: int, fps: float) -> Float:
    """Level of the speech band (250-3400 Hz) for each frame, in dB below the loudest frames.

    `waveform` is 16 kHz mono. The result is [n_frames], 0 for the loudest 2 % and at least
    -DYNAMIC_RANGE_DB; digital silence gives -DYNAMIC_RANGE_DB throughout.
    """
    hop = SAMPLE_RATE / fps
    padded = np.pad(waveform, (0, max(0, int(np.ceil(n_frames * hop)) + 32 - len(waveform))))
    band = butter(4, SPEECH_BAND_HZ, "bandpass", fs=SAMPLE_RATE, output="sos")
    power = np.concatenate([[0.0], np.cumsum(sosfiltfilt(band, padded.astype(np.float64)) ** 2)])
    centres = (np.arange(n_frames) + 0.5) * hop
    first = np.clip(np.round(centres - hop), 0, len(padded)).astype(int)
    last = np.clip(np.round(centres + hop), 0, len(padded)).astype(int)
    mean = (power[last] - power[first]) / np.maximum(last - first, 1)
    level = 10 * np.log10(mean + 1e-12)
    if not n_frames or level.max() < -100:
        return np.full(n_frames, -DYNAMIC_RANGE_DB, np.float32)
    relative = np.clip(level - np.percentile(level, 98), -DYNAMIC_RANGE_DB, 0)
    return np.asarray(relative, np.float32)


def correlate(mouth: Float, reference: Float) -> SyncFigure | None:
    """Correlate two series; frames where either is NaN are left out.

    None if nothing can be said: fewer than 12 common frames, or one of them constant.
    """
    n = min(len(mouth), len(reference))
    lags = range(-min(MAX_LAG, n // 3), min(MAX_LAG, n // 3) + 1)
    values = {lag: _pearson(mouth[:n], reference[:n], lag) for lag in lags}
    known = {lag: value for lag, value in values.items() if value is not None}
    if not known or values.get(0) is None:
        return None
    best = max(known, key=lambda lag: known[lag])
    return SyncFigure(known[best], best, known[0], known[best] - float(np.median(list(known.values()))))


def silence_motion(motion: Float, envelope: Float, fps: float) -> SilenceFigure:
    """Compare a mouth's `motion` [frames] from frame to frame (NaN: unknown) in silence with that in speech.

    `envelope` [frames] is that of `speech_envelope`. Silence is what `silent_frames` says; less than a second
    of it, or of speech, says nothing.
    """
    known = np.isfinite(motion)
    in_silence = motion[known & silent_frames(envelope, fps)]
    in_speech = motion[known & (envelope > SILENCE_DB)]
    if min(len(in_silence), len(in_speech)) < LEAST_S * fps or in_speech.mean() < 1e-6:
        return SilenceFigure(len(in_silence), None)
    return SilenceFigure(len(in_silence), float(in_silence.mean() / in_speech.mean()))


def silent_frames(envelope: Float, fps: float) -> npt.NDArray[np.bool_]:
    """Frames [n] that lie more than 0.2 s from any whose level is above -35 dB.

    The margin leaves out moments in which a mouth is still closing or already opening: a pause between words
    counts beyond its first 0.4 s. Noise above that level and loud breath are not silence.
    """
    margin = round(MARGIN_S * fps)
    speech = np.pad(envelope > SILENCE_DB, margin)
    return np.asarray(~np.lib.stride_tricks.sliding_window_view(speech, 2 * margin + 1).any(1), np.bool_)


def _pearson(mouth: Float, reference: Float, lag: int) -> float | None:
    shifted, fixed = (
        (mouth[lag:], reference[: len(reference) - lag]) if lag >= 0 else (mouth[:lag], reference[-lag:])
    )
    both = np.isfinite(shifted) & np.isfinite(fixed)
    if both.sum() < 12 or np.std(shifted[both]) < 1e-6 or np.std(fixed[both]) < 1e-6:
        return None
    return float(np.corrcoef(shifted[both], fixed[both])[0, 1])
