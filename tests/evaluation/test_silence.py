"""Mouths that rest and mouths that don't, against known silence."""

import numpy as np
import pytest
from evaluation.talking import FPS, openings

from hallo_cli.domain import Float
from hallo_cli.evaluation.sync import silence_motion, silent_frames

MARGIN = 5  # frames of 0.2 s


def speeds(n_frames: int) -> Float:
    """How far a mouth moves from frame to frame in speech."""
    return np.abs(np.diff(openings(n_frames), prepend=np.nan)).astype(np.float32)


def levels(*spans: tuple[int, float]) -> Float:
    """Levels in dB, each for so many frames."""
    return np.concatenate([np.full(n_frames, level, np.float32) for n_frames, level in spans])


def test_silence_keeps_a_margin_of_a_fifth_of_a_second_to_speech() -> None:
    envelope = levels((20, -50), (1, 0), (19, -50))
    assert np.flatnonzero(~silent_frames(envelope, 25)).tolist() == list(range(15, 26))
    assert np.flatnonzero(~silent_frames(envelope, 50)).tolist() == list(range(10, 31))


def test_breath_and_noise_are_no_silence() -> None:
    assert not silent_frames(levels((30, 0), (60, -33)), FPS).any()
    breath = levels((30, 0), (20, -50), (3, -30), (20, -50))
    assert silent_frames(breath, FPS).sum() == 2 * 20 - 3 * MARGIN


def test_mouth_that_closes_late_and_opens_early_rests_in_silence() -> None:
    envelope = levels((60, -3), (50, -50), (60, -3))
    motion = speeds(170)
    motion[60 + MARGIN : 110 - MARGIN] = 0
    figure = silence_motion(motion, envelope, FPS)
    assert figure.motion == 0
    assert figure.n_frames == 50 - 2 * MARGIN


def test_mouth_that_goes_on_moves_as_in_speech() -> None:
    envelope = levels((100, -3), (100, -50))
    assert silence_motion(speeds(200), envelope, FPS).motion == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("n_quiet", [34, 35])
def test_less_than_a_second_says_nothing(n_quiet: int) -> None:
    figure = silence_motion(speeds(160 + n_quiet), levels((80, -3), (n_quiet, -50), (80, -3)), FPS)
    assert figure.n_frames == n_quiet - 2 * MARGIN
    assert (figure.motion is None) == (figure.n_frames < FPS)


def test_silence_without_speech_says_nothing() -> None:
    figure = silence_motion(speeds(100), np.full(100, -50, np.float32), FPS)
    assert figure.n_frames == 99  # the first frame has none before it
    assert figure.motion is None


def test_frames_without_a_face_do_not_count() -> None:
    motion = speeds(200)
    motion[150:160] = np.nan
    figure = silence_motion(motion, levels((100, -3), (100, -50)), FPS)
    assert figure.n_frames == 100 - MARGIN - 10
