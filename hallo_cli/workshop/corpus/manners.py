"""Ways of speaking that the synthesisers lack: children, deep voices, whispering, singing, breath."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hallo_cli.domain import SAMPLE_RATE, Float

_FFT, _HOP = 512, 128
_ENVELOPE_COEFFICIENTS = 34  # of the cepstrum: keeps formants, drops the pitch of voices below 470 Hz
_KINDS = ("plain", "child", "whisper", "song")
_SHARES = (0.74, 0.11, 0.08, 0.07)


@dataclass(frozen=True)
class Manner:
    """How an utterance is spoken."""

    kind: str
    factor: float  # pitch and formants, times this
    pace: float  # speed, times this


def draw_manner(rng: np.random.Generator) -> Manner:
    """A random manner; most are plain."""
    kind = str(rng.choice(_KINDS, p=_SHARES))
    if kind == "child":
        factor = rng.uniform(1.18, 1.45)
        return Manner(kind, factor, rng.uniform(0.8, 1.05) / factor)
    if kind == "song":
        return Manner(kind, rng.uniform(0.85, 1.3), rng.uniform(0.4, 0.65))
    return Manner(kind, rng.uniform(0.84, 1.15), 1.0)


def spoken(samples: Float, manner: Manner, rng: np.random.Generator) -> Float:
    """`samples` [n] at 16 kHz in that manner; as long as before."""
    if manner.kind == "whisper":
        return _whispered(samples, rng)
    if manner.kind == "song":
        return _with_vibrato(samples, rng)
    return samples


def breath(rng: np.random.Generator) -> Float:
    """A breath or a sigh [n], peak below 1: sound of a mouth that does not speak."""
    n_samples = int(rng.uniform(0.15, 0.6) * SAMPLE_RATE)
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    centre, width = rng.uniform(700, 3000), rng.uniform(500, 2500)
    sound = np.fft.irfft(spectrum / (1 + ((hertz - centre) / width) ** 2), n_samples)
    rise = rng.uniform(0.2, 0.8)
    time = np.linspace(0, 1, n_samples)
    swell = np.interp(time, [0, rise, 1], [0, 1, 0]) ** 1.5
    shaped = sound * swell
    return np.asarray(shaped / (np.abs(shaped).max() + 1e-9), np.float32)


def _with_vibrato(samples: Float, rng: np.random.Generator) -> Float:
    time = np.arange(len(samples))
    rate_hz, depth = rng.uniform(4.5, 6.5), rng.uniform(0.003, 0.02)  # depth: of the pitch
    delay = depth / (2 * np.pi * rate_hz) * SAMPLE_RATE * np.sin(2 * np.pi * rate_hz * time / SAMPLE_RATE)
    return np.interp(time + delay, time, samples).astype(np.float32)


def _whispered(samples: Float, rng: np.random.Generator) -> Float:
    """The same spectral envelopes, excited by noise."""
    padded = np.pad(samples, (_FFT, _FFT + _HOP))
    window = np.hanning(_FFT + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP] * window
    magnitudes = np.log(np.abs(np.fft.rfft(frames)) + 1e-4)
    cepstra = np.fft.irfft(magnitudes)
    cepstra[:, _ENVELOPE_COEFFICIENTS:-_ENVELOPE_COEFFICIENTS] = 0
    envelopes = np.exp(np.fft.rfft(cepstra).real)
    hertz = np.linspace(0, SAMPLE_RATE / 2, envelopes.shape[1])
    envelopes *= np.clip(hertz / 900, 0.08, 1) ** rng.uniform(0.4, 1.0)  # whispers lack the lows
    noise = rng.normal(size=len(padded))
    noises = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(noise, _FFT)[::_HOP] * window)
    pieces = np.fft.irfft(noises * envelopes) * window
    sound = np.zeros(len(padded) + _FFT)
    for index, piece in enumerate(pieces):
        sound[index * _HOP : index * _HOP + _FFT] += piece
    sound = sound[_FFT : _FFT + len(samples)]
    return (sound / (np.abs(sound).max() + 1e-6)).astype(np.float32)
