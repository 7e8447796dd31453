"""Mixing channels into one loses nothing that can be heard in one of them."""

import numpy as np
import pytest

from hallo_cli.media.mixing import HOP, HOPS, Mixer


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    t = np.arange(40_000) / 16_000
    return np.float32(0.3 * np.sin(2 * np.pi * (200 * t + 40 * np.sin(7 * t))) * np.abs(np.sin(3 * t)))


def mixed(channels: list[np.ndarray], step: int = 341) -> np.ndarray:
    mixer, samples = Mixer(), np.float32(np.stack(channels, axis=1))
    pieces = [mixer.push(samples[start : start + step]) for start in range(0, len(samples), step)]
    return np.concatenate([*pieces, mixer.flush()])


def level(sound: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(sound**2) + 1e-12))


def test_equal_channels_are_averaged_exactly(voice: np.ndarray) -> None:
    assert np.allclose(mixed([voice, voice]), voice, atol=1e-7)


def test_a_channel_beside_silence_is_averaged_exactly(voice: np.ndarray) -> None:
    assert np.allclose(mixed([np.zeros_like(voice), voice]), voice / 2, atol=1e-7)


@pytest.mark.parametrize("gain", [1.0, 0.9, 0.8])
def test_opposite_channels_do_not_cancel(voice: np.ndarray, gain: float) -> None:
    sound = mixed([voice, -gain * voice])
    assert level(sound) > level(voice) - 2
    assert np.corrcoef(sound, voice)[0, 1] > 0.99


def test_a_voice_in_opposite_phase_is_heard_beside_music_in_phase(voice: np.ndarray) -> None:
    t = np.arange(len(voice)) / 16_000
    music = 0.3 * np.sin(2 * np.pi * 3000 * t)
    sound = mixed([voice + music, music - voice])
    power = np.abs(np.fft.rfft(sound)) ** 2
    n_low = len(voice) * 1000 // 16_000
    kept = power[:n_low].sum() / (np.abs(np.fft.rfft(voice)[:n_low]) ** 2).sum()
    assert kept == pytest.approx(1, abs=0.2)  # averaging alone leaves nothing below 1 kHz


def test_opposite_pair_among_six_channels_is_heard(voice: np.ndarray) -> None:
    silence = np.zeros_like(voice)
    sound = mixed([silence, silence, voice, -voice, silence, silence])
    assert np.corrcoef(sound, voice)[0, 1] > 0.99


def test_unrelated_channels_stay_about_as_they_were() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 60_000)).astype(np.float32)
    assert np.corrcoef(mixed([*noise]), noise.mean(axis=0))[0, 1] > 0.95


def test_nothing_is_heard_before_it_begins() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 20_000)).astype(np.float32)
    noise[:, :10_000] = 0
    assert np.abs(mixed([*noise])[:9950]).max() == 0


@pytest.mark.parametrize("step", [1, 7, HOP, 5000, 100_000])
def test_pieces_of_any_length_give_the_same_sound(voice: np.ndarray, step: int) -> None:
    assert np.allclose(mixed([voice, -voice], step=step)[:3000], voice[:3000], atol=1e-6)


@pytest.mark.parametrize("n", [1, HOP - 1, HOP, HOP + 1, HOPS * HOP, HOPS * HOP + 1])
def test_no_sample_is_lost_or_added(voice: np.ndarray, n: int) -> None:
    assert len(mixed([np.resize(voice, n), -np.resize(voice, n)])) == n


def test_a_mixer_that_was_flushed_begins_anew(voice: np.ndarray) -> None:
    mixer, samples = Mixer(), np.stack([voice, -voice], axis=1)
    first = np.concatenate([mixer.push(samples), mixer.flush()])
    second = np.concatenate([mixer.push(samples), mixer.flush()])
    assert np.array_equal(first, second)
