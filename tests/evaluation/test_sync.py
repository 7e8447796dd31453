import numpy as np
import pytest

from hallo_cli.evaluation.sync import correlate, speech_envelope


def test_envelope_follows_the_level_in_db() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(32_000) / 16_000).astype(np.float32)
    tone[16_000:] *= 0.1
    envelope = speech_envelope(tone, 50, 25.0)
    assert envelope[:20] == pytest.approx(0, abs=0.5)
    assert envelope[30:45] == pytest.approx(-20, abs=0.5)


def test_envelope_ignores_what_lies_outside_the_speech_band() -> None:
    time = np.arange(32_000) / 16_000
    rumble = np.where(time < 1, np.sin(2 * np.pi * 30 * time), 0)
    speech = np.where(time < 1, 0, 0.1 * np.sin(2 * np.pi * 1000 * time))
    envelope = speech_envelope((rumble + speech).astype(np.float32), 50, 25.0)
    assert envelope[:20].max() < -20
    assert envelope[30:45] == pytest.approx(0, abs=1)


def test_silence_has_the_lowest_envelope_throughout() -> None:
    assert speech_envelope(np.zeros(16_000, np.float32), 25, 25.0) == pytest.approx(-50)


def test_recording_shorter_than_the_video_is_silent_at_the_end() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    assert speech_envelope(noise, 50, 25.0)[40:] == pytest.approx(-50)


@pytest.mark.parametrize("lag", [-4, 0, 3])
def test_lag_is_found_with_its_sign(lag: int) -> None:
    series = np.random.default_rng(0).random(100).astype(np.float32)
    figure = correlate(np.roll(series, lag), series)
    assert figure.lag == lag
    assert figure.correlation > 0.99
    assert figure.confidence > 0.5


def test_missing_frames_are_left_out() -> None:
    series = np.random.default_rng(0).random(100).astype(np.float32)
    holes = series.copy()
    holes[::7] = np.nan
    assert correlate(holes, series).at_zero == pytest.approx(1)


def test_constant_series_say_nothing() -> None:
    assert correlate(np.ones(50, np.float32), np.random.default_rng(0).random(50).astype(np.float32)) is None
