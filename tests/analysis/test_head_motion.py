"""Heads live by the seed and the loudness, the same whichever stretch is asked for."""

import numpy as np

from hallo_cli.analysis.head_motion import UNITS, Delay, delayed, living
from hallo_cli.domain import CONTROLS, HEAD, Float

FPS = 25.0


def speech(n_frames: int = 500) -> Float:
    """Syllables of 0.24 s, some stressed, with a pause of 4 s from frame 200."""
    time = np.arange(n_frames) / FPS
    level = 0.5 + 0.5 * np.sin(2 * np.pi * time / 0.24)
    level *= np.where(np.arange(n_frames) % 40 < 8, 1.0, 0.5)
    level[200:300] = 0
    return level.astype(np.float32)


def test_stretches_are_cut_from_one_whole() -> None:
    whole = living(3, speech(), 0, 500, FPS)
    assert whole.shape == (500, len(CONTROLS))
    parts = [living(3, speech(), first, 100, FPS) for first in range(0, 500, 100)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_seed_decides() -> None:
    assert not np.allclose(living(3, speech(), 0, 100, FPS), living(4, speech(), 0, 100, FPS))


def test_head_moves_some_degrees_in_speech_and_smoothly() -> None:
    for seed in range(5):
        degrees = np.degrees(living(seed, speech(1500), 0, 1500, FPS)[:, HEAD] * UNITS[HEAD])
        span = np.percentile(degrees, 97, axis=0) - np.percentile(degrees, 3, axis=0)
        assert 1 < span.max() < 12
        assert np.abs(np.diff(degrees, axis=0)).max() < 1.2


def test_head_calms_down_where_nobody_speaks() -> None:
    moved = [
        np.abs(np.diff(living(seed, speech(), 0, 500, FPS)[:, HEAD], axis=0)).mean(1) for seed in range(8)
    ]
    speed = np.mean(moved, 0)
    assert speed[225:280].mean() < 0.5 * speed[20:180].mean()


def test_eyes_hold_what_they_look_at_while_the_head_turns() -> None:
    values = living(1, speech(3000), 0, 3000, FPS) * UNITS
    yaw, gaze = values[:, CONTROLS.index("yaw")], values[:, CONTROLS.index("gaze_x")]
    assert np.corrcoef(yaw, gaze)[0, 1] < -0.3


def test_motion_after_an_insertion_is_that_before_it() -> None:
    inserted = np.concatenate([speech()[:150], speech()[40:67], speech()[150:]])
    later = delayed(Delay(220, 27), 3, inserted, 0, n_frames=527, fps=FPS)
    np.testing.assert_allclose(later[220:500], living(3, speech(), 193, 280, FPS), atol=1e-5)
    np.testing.assert_array_equal(later[:195], living(3, inserted, 0, 195, FPS))
    steps = np.abs(np.diff(later[195:221, HEAD], axis=0)).max()
    assert steps < 1.5 * np.abs(np.diff(living(3, speech(), 0, 500, FPS)[:, HEAD], axis=0)).max()  # no jump


def test_motion_after_a_cut_is_that_behind_it_in_any_stretch() -> None:
    cut = np.concatenate([speech()[:150], speech()[177:]])
    whole = delayed(Delay(220, -27), 3, cut, 0, n_frames=473, fps=FPS)
    np.testing.assert_allclose(whole[220:440], living(3, speech(), 247, 220, FPS), atol=1e-5)
    part = delayed(Delay(220, -27), 3, cut, 205, n_frames=100, fps=FPS)
    np.testing.assert_allclose(part, whole[205:305], atol=1e-5)
