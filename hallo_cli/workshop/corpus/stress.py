"""How loudly speech is spoken from moment to moment, and how wide the mouth opens for it.

Loud and stressed syllables open the mouth wider than soft ones: the opening is that of the phone times an
effort, which follows the level of the speech band. It knows samples only, no phones.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import butter, sosfiltfilt

from hallo_cli.domain import SAMPLE_RATE, Float
from hallo_cli.workshop.corpus.filters import smooth_through

EFFORT_RATE = 200  # values a second
_BAND_HZ = (250.0, 3400.0)
_SPREAD_S = 0.028  # over which the level is taken
_RANGE_DB = 32.0  # below the loud syllables; there the effort is least
_LEAST, _MOST = 0.12, 1.2


def effort(speech: Float, n_values: int) -> Float:
    """How far the mouth goes towards its phone's opening: [n_values] at 200 Hz, 0.12 to 1.2.

    `speech` [n] at 16 kHz, before room and microphone. 1.2 at the level of its loudest syllables.
    """
    if len(speech) < SAMPLE_RATE // 10 or not np.abs(speech).max() > 0:
        return np.full(n_values, _LEAST, np.float32)
    band = sosfiltfilt(butter(4, _BAND_HZ, "bandpass", fs=SAMPLE_RATE, output="sos"), speech)
    per_value = SAMPLE_RATE // EFFORT_RATE
    power = np.zeros(n_values)
    means = np.square(band)[: len(band) // per_value * per_value].reshape(-1, per_value).mean(1)[:n_values]
    power[: len(means)] = means
    power = gaussian_filter1d(power, _SPREAD_S * EFFORT_RATE, mode="constant")
    loud = np.percentile(power[power > power.max() * 1e-4], 96)
    level_db = 10 * np.log10(power / loud + 1e-9)
    return np.asarray(_LEAST + (_MOST - _LEAST) * np.clip(1 + level_db / _RANGE_DB, 0, 1), np.float32)


def dynamics(n_samples: int, rng: np.random.Generator) -> Float:
    """A gain [n_samples] that gives a phrase of even loudness stresses, soft words and a falling end."""
    seconds = n_samples / SAMPLE_RATE
    n_knots = max(3, int(seconds / rng.uniform(0.16, 0.5)) + 2)
    stresses_db = np.clip(rng.normal(size=n_knots), -2, 2) * rng.uniform(0, 6)
    fall_db = -max(0.0, rng.normal() * 5) * np.linspace(0, 1, n_knots) ** 2
    offset_db = np.clip(rng.normal(), -2, 1.5) * 3
    gain_db = smooth_through(stresses_db + fall_db, n_samples) + offset_db
    return np.asarray(10 ** (gain_db / 20), np.float32)
