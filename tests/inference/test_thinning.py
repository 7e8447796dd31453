"""Motion frames lose part of their background, the same part in every run, and nothing of the face."""

import numpy as np
import torch
from inference.test_animator import SETTINGS, SIZE, make_animator, make_portrait, render
from small_networks import official_like

from hallo_cli.domain import MotionFrames
from hallo_cli.inference.animator import ClipStart
from hallo_cli.inference.thinning import thinned, thinning_mask

FACE = torch.zeros(64, 64, dtype=torch.bool)
FACE[10:40, 20:50] = True


def mask(share=0.25, *, seed=42, clip=3):
    return thinning_mask((64, 64), share, seed=seed, clip=clip)


def test_mask_follows_from_seed_and_clip():
    assert torch.equal(mask(), mask())
    assert not torch.equal(mask(), mask(seed=43))
    assert not torch.equal(mask(), mask(clip=4))


def test_mask_takes_the_share_that_is_asked_for():
    # 4096 draws: the share's deviation is 0.007.
    assert abs(mask(0.25).float().mean() - 0.25) < 0.03
    assert not mask(0.0).any()
    assert mask(1.0).all()


def test_same_pixels_go_grey_in_all_frames_and_channels_but_none_of_the_face():
    pictures = torch.rand(2, 3, 64, 64) + 1
    after = thinned(pictures, mask(), FACE)
    grey = after == 0
    assert torch.equal(grey, (mask() & ~FACE).expand(2, 3, 64, 64))
    assert torch.equal(after[~grey], pictures[~grey])


def prepared(share):
    config = official_like(motion_thinning=share)
    animator = make_animator(config)
    return animator, animator.prepare(make_portrait(config), SETTINGS)


def test_first_clip_starts_from_the_thinned_portrait():
    animator, job = prepared(0.25)
    pictures = animator._motion_pictures(job, ClipStart(0, None))
    drawn = thinning_mask((SIZE, SIZE), 0.25, seed=SETTINGS.seed, clip=0)
    expected = thinned(job.pictures, drawn, job.face).expand(2, -1, -1, -1)
    assert torch.equal(pictures, expected)
    assert (pictures != job.pictures).any()


def test_portrait_itself_is_never_thinned():
    (_, kept), (_, greyed) = prepared(0.0), prepared(0.25)
    for a, b in zip(kept.portrait.features.known(), greyed.portrait.features.known(), strict=True):
        assert torch.equal(a, b)


def test_each_clip_is_thinned_anew_and_renders_differ_from_those_without():
    animator, job = prepared(0.25)
    motion = MotionFrames(np.ones((2, SIZE, SIZE, 3), np.float32))
    first, second = (animator._motion_pictures(job, ClipStart(index, motion)) for index in (1, 2))
    assert not torch.equal(first, second)
    clips = [render(official_like(motion_thinning=share), 4)[0].frames for share in (0.0, 0.25)]
    assert not np.array_equal(*clips)
