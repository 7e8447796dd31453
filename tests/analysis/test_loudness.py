"""Speech and pauses are told apart at any loudness and in noise, piece by piece as at once."""

import itertools

import numpy as np
import pytest

from hallo_cli.analysis import loudness
from hallo_cli.analysis.loudness import Hushed, Waveform, measure, pauses
from hallo_cli.analysis.speech_network import recording_level
from hallo_cli.domain import Float

SILENCE = (2.99, 3.99)  # seconds, in the `speech` fixture


def noise(n: int, rms: float) -> Float:
    return (np.random.default_rng(0).standard_normal(n) * rms).astype(np.float32)


def test_statistics_are_those_of_the_whole(speech: Float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loudness, "PIECE", 32_000)
    found = measure(Waveform(speech + np.float32(0.01)))
    assert found.mean == pytest.approx(float((speech + np.float32(0.01)).mean(dtype=np.float64)), rel=1e-9)
    assert found.variance == pytest.approx(float(speech.var(dtype=np.float64)), rel=1e-5)
    assert found.level == recording_level(speech + np.float32(0.01))


@pytest.mark.parametrize("gain", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("noise_rms", [0.0, 0.003])
def test_activity_is_high_in_speech_and_low_between(speech: Float, gain: float, noise_rms: float) -> None:
    sound = (speech + noise(len(speech), noise_rms)) * np.float32(gain)
    active = measure(Waveform(sound)).activity(round(len(speech) / 640), 25.0)
    between = active[round((SILENCE[0] + 0.35) * 25) : round((SILENCE[1] - 0.25) * 25)]
    assert between.max() < 0.1
    assert active[10:70].mean() > 0.85
    assert active.min() >= 0
    assert active.max() <= 1


def test_activity_opens_before_the_sound_and_closes_after_it() -> None:
    sound = np.zeros(32_000, np.float32)
    sound[12_800:19_200] = noise(6400, 0.1)  # frames 20 to 30
    active = measure(Waveform(sound)).activity(50, 25.0)
    assert active[18] > 0.2
    assert active[20:30].min() > 0.9
    assert active[32] > 0.5
    assert active[:15].max() == active[36:].max() == 0


def test_silence_is_never_active() -> None:
    assert measure(Waveform(np.zeros(16_000, np.float32))).activity(30, 25.0).max() == 0
    assert measure(Waveform(noise(16_000, 1e-5))).activity(30, 25.0).max() == 0
    assert measure(Waveform(np.zeros(0, np.float32))).activity(3, 25.0).tolist() == [0, 0, 0]


def test_frames_behind_the_end_are_silent() -> None:
    active = measure(Waveform(noise(16_000, 0.1))).activity(50, 25.0)
    assert active[:24].min() > 0.9
    assert active[30:].max() == 0


def test_pause_between_sentences_is_found(speech: Float) -> None:
    sound = Waveform(speech + noise(len(speech), 0.0005))
    found = pauses(sound, measure(sound))
    covering = [p for p in found if p[0] < 3.2 and p[1] > 3.8]
    assert len(covering) == 1
    assert covering[0][1] - covering[0][0] < 2.0


def test_pauses_are_the_same_piece_by_piece(speech: Float, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Waveform(speech)
    at_once = pauses(sound, measure(sound))
    monkeypatch.setattr(loudness, "PIECE", 40_000)
    in_pieces = pauses(sound, measure(sound))
    assert np.abs(np.array(in_pieces) - np.array(at_once)).max() <= loudness.PAUSE_STEP_MS / 1000


def test_pure_silence_is_one_pause() -> None:
    sound = Waveform(np.zeros(48_000, np.float32))
    assert pauses(sound, measure(sound)) == [(0.0, 3.0)]


def test_continuous_sound_has_no_pause() -> None:
    sound = Waveform(noise(48_000, 0.1))
    assert pauses(sound, measure(sound)) == []


def test_hushed_sound_is_the_same_piece_by_piece(speech: Float) -> None:
    hushed = Hushed(Waveform(speech + noise(len(speech), 0.002)))
    whole = hushed.read(-100, len(speech) + 100)
    cuts = [-100, 7, 319, 320, 50_000, 50_001, len(speech) - 3, len(speech) + 100]
    pieces = [hushed.read(start, stop) for start, stop in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert np.abs(whole[100 + round(3.3 * 16_000) : 100 + round(3.7 * 16_000)]).max() == 0


@pytest.mark.parametrize("n_samples", [0, 1, 319, 321])
def test_shortest_sounds_can_be_hushed(n_samples: int) -> None:
    assert Hushed(Waveform(np.ones(n_samples, np.float32))).read(0, 400).shape == (400,)
