"""Series of bursts with and without jumps at known frames."""

import numpy as np
import pytest

from hallo_cli.domain import Float
from hallo_cli.evaluation import joins
from hallo_cli.evaluation.joins import seam_jump

CLIP = 12


def bursts(n_frames: int, *, seed: int) -> Float:
    """Change from frame to frame as speech makes it: in bursts of some five frames."""
    noise = np.random.default_rng(seed).standard_normal(n_frames + 4)
    return np.exp(0.8 * np.convolve(noise, np.hanning(7)[1:-1], "valid")).astype(np.float32)


def every_clip(n_frames: int) -> range:
    return range(CLIP, n_frames, CLIP)


def test_jump_is_the_change_at_joins_relative_to_the_rest() -> None:
    change = np.ones(60, np.float32)
    change[[12, 24]] = 4.0
    assert seam_jump(change, (12, 24)).seam_jump == pytest.approx(4.0)
    assert seam_jump(change, (13, 25)).seam_jump == pytest.approx(1.0)


def test_nothing_is_said_without_joins_or_without_motion() -> None:
    assert seam_jump(np.ones(60, np.float32), ()) is None
    assert seam_jump(np.zeros(60, np.float32), (12, 24)) is None
    assert seam_jump(np.full(60, np.nan, np.float32), (12, 24)) is None


def test_frames_of_unknown_change_are_left_out() -> None:
    change = np.ones(60, np.float32)
    change[[0, 11, 24]] = np.nan
    change[[12, 36]] = 4.0
    found = seam_jump(change, (12, 24, 36, 99))
    assert (found.n_joins, found.seam_jump) == (2, 4.0)
    assert np.isfinite(found.seam_chance)


@pytest.mark.parametrize("n_frames", [125, 1500])
def test_jumps_at_all_joins_stand_out(n_frames: int) -> None:
    change = bursts(n_frames, seed=0)
    change[list(every_clip(n_frames))] *= 4
    found = seam_jump(change, every_clip(n_frames))
    assert found.seam_jump > 3
    assert found.seam_jump > found.seam_chance
    assert found.seam_share < 0.01


def test_joins_like_any_other_frames_stand_out_as_rarely_as_chance_says() -> None:
    found = [seam_jump(bursts(125, seed=seed), every_clip(125)) for seed in range(200)]
    assert max(one.seam_jump for one in found) > 1.5  # of ten joins only: the bare figure would condemn them
    # 5 % of 200 are 10; 20 or more would be rarer than one in 500 times.
    assert sum(one.seam_jump > one.seam_chance for one in found) < 20
    assert np.mean([one.seam_share for one in found]) == pytest.approx(0.5, abs=0.06)


def test_joins_are_compared_with_frames_near_them() -> None:
    change = bursts(960, seed=3)
    change[120:] *= 0.05
    found = seam_jump(change, range(CLIP, 120, CLIP))  # all joins lie in the passage that moves
    assert found.seam_jump > 5
    assert found.seam_share > 0.05


def test_joins_are_not_compared_with_themselves() -> None:
    change = np.ones(60, np.float32)
    change[24] = 4.0
    assert seam_jump(change, (24,)).seam_share == 0


def test_chance_shrinks_with_the_number_of_joins() -> None:
    short, long = (seam_jump(bursts(n, seed=0), every_clip(n)).seam_chance for n in (60, 15_000))
    assert long < 1.1 < short


def test_chance_is_the_same_each_time_and_however_many_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = seam_jump(bursts(125, seed=0), every_clip(125))
    monkeypatch.setattr(joins, "BLOCK", 64)
    assert seam_jump(bursts(125, seed=0), every_clip(125)) == found


def test_joins_in_every_frame_have_no_chance_level() -> None:
    found = seam_jump(bursts(60, seed=0), range(1, 20))
    assert found.seam_jump > 0
    assert (found.seam_chance, found.seam_share) == (None, None)
