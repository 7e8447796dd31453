"""What happens to speech between the mouth and the file: colouring, echo, noise, music, loudness."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve, istft, stft

from hallo_cli.domain import SAMPLE_RATE, Float


def recorded(speech: Float, rng: np.random.Generator) -> Float:
    """`speech` [n] at 16 kHz as a random microphone in a random room would record it; peak below 1."""
    level = float(np.sqrt(np.mean(speech**2))) or 0.05  # a silent take has the loudness of a usual voice
    sound = speech
    if rng.random() < 0.6:
        sound = _coloured(sound, rng)
    if rng.random() < 0.4:
        sound = _echoed(sound, rng)
    if rng.random() < 0.85:
        snr_db = rng.uniform(6, 50)
        sound = sound + _noise(len(sound), rng) * level * 10 ** (-snr_db / 20)
    if rng.random() < 0.15:
        sound = sound + _music(len(sound), rng) * level * 10 ** (-rng.uniform(8, 25) / 20)
    if rng.random() < 0.2:
        sound = _coded(sound, rng)
    peak = float(np.abs(sound).max()) or 1.0
    if rng.random() < 0.08:  # overdriven
        sound = np.tanh(sound / peak * rng.uniform(1.5, 5))
        peak = float(np.abs(sound).max()) or 1.0
    if np.abs(speech).max() > 0:
        sound = sound / peak * rng.uniform(0.1, 0.95)
    elif peak > 0.9:
        sound = sound / peak * 0.5
    return sound.astype(np.float32)


def _coloured(sound: Float, rng: np.random.Generator) -> Float:
    spectrum = np.fft.rfft(sound)
    octaves = np.log2(np.linspace(1, len(spectrum), len(spectrum)) / len(spectrum) + 1e-3)
    gain_db = rng.normal() * 1.0 * (octaves + 3)
    for _ in range(4):
        gain_db += rng.normal() * 2.5 * np.sin(octaves * rng.uniform(0.4, 2.5) + rng.uniform(0, 6.3))
    if rng.random() < 0.2:  # telephone or old microphone
        cutoff = rng.uniform(0.4, 0.8)
        gain_db -= 60 * np.clip((np.linspace(0, 1, len(spectrum)) - cutoff) / 0.1, 0, 1)
    return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(sound)).astype(np.float32)


def _echoed(sound: Float, rng: np.random.Generator) -> Float:
    decay_s = rng.uniform(0.08, 0.5)
    time = np.arange(int(decay_s * 1.2 * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.normal(size=len(time)) * np.exp(-6.9 * time / decay_s)
    tail[: int(0.004 * SAMPLE_RATE)] = 0
    tail *= rng.uniform(0.1, 0.6) / np.sqrt((tail**2).sum())
    tail[0] = 1
    return fftconvolve(sound, tail)[: len(sound)].astype(np.float32)


def _coded(sound: Float, rng: np.random.Generator) -> Float:
    """As a codec of few bits leaves it: weak parts of the spectrum are missing, the rest is coarse."""
    _, _, spectra = stft(sound, SAMPLE_RATE, nperseg=512)
    size = np.abs(spectra)
    loudest = size.max(axis=0, keepdims=True) + 1e-9
    spectra[size < loudest * 10 ** (-rng.uniform(24, 45) / 20)] = 0
    step = loudest * 10 ** (-rng.uniform(18, 40) / 20)
    spectra = np.round(spectra / step) * step
    coded = istft(spectra, SAMPLE_RATE, nperseg=512)[1]
    return np.asarray(np.pad(coded, (0, max(0, len(sound) - len(coded))))[: len(sound)], np.float32)


def _noise(n_samples: int, rng: np.random.Generator) -> Float:
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    frequency = np.linspace(1, SAMPLE_RATE / 2, len(spectrum))
    spectrum *= frequency ** (-rng.uniform(0, 1.1))
    noise = np.fft.irfft(spectrum, n_samples)
    if rng.random() < 0.3:  # mains hum
        time = np.arange(n_samples) / SAMPLE_RATE
        noise += noise.std() * rng.uniform(0.2, 1) * np.sin(2 * np.pi * rng.choice([50, 60, 100, 120]) * time)
    if rng.random() < 0.25:  # a street, a crowd: louder and softer
        knots = rng.normal(size=int(n_samples / SAMPLE_RATE * rng.uniform(0.5, 4)) + 3)
        noise *= np.exp(np.interp(np.linspace(0, len(knots) - 1, n_samples), np.arange(len(knots)), knots))
    return (noise / (noise.std() + 1e-9)).astype(np.float32)


def _music(n_samples: int, rng: np.random.Generator) -> Float:
    time = np.arange(n_samples) / SAMPLE_RATE
    music = np.zeros(n_samples)
    beat_s = rng.uniform(0.3, 0.9)
    root = rng.uniform(80, 300)
    for start_s in np.arange(0, time[-1] + beat_s, beat_s):
        first = int(start_s * SAMPLE_RATE)
        since = time[first:] - start_s
        for step in rng.choice([0, 2, 4, 5, 7, 9, 11, 12], size=3):
            pitch = root * 2 ** (step / 12)
            tone = np.sin(2 * np.pi * pitch * since) + 0.4 * np.sin(4 * np.pi * pitch * since)
            music[first:] += tone * np.exp(-since / beat_s)
    return (music / (music.std() + 1e-9)).astype(np.float32)
