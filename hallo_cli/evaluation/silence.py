"""Measures whether the mouth rests in silence.

Knows series of numbers only; where they come from is decided in `measure.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float
from hallo_cli.evaluation.sync import SILENCE_DB

# Mouths begin up to 0.2 s before the sound (Schwartz and Savariaux 2014, doi 10.1371/journal.pcbi.1003743),
# and may take as long to close after it.
MARGIN_S = 0.2
LEAST_S = 1.0  # of silence, and of speech: a single pause is not representative


@dataclass(frozen=True)
class SilenceFigure:
    """A mouth's motion in silence, and how much silence there is."""

    n_frames: int  # silent frames with known motion
    motion: float | None  # mean motion in them / in speech; None: too little of either


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
