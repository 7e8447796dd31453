"""Guidance, and noise that depends on nothing but what it should."""

import pytest
import torch
from small_networks import make_case, official_like

from hallo_cli.inference.sampling import (
    Guidance,
    IndependentNoise,
    Predictor,
    PublishedNoise,
    SharedNoise,
    denoise,
)
from hallo_cli.inference.schedule import make_solver

SHAPE = (3, 4, 2, 2)


def test_noise_of_a_clip_follows_from_seed_and_clip():
    assert torch.equal(IndependentNoise(1)(5, SHAPE), IndependentNoise(1)(5, SHAPE))
    assert not torch.equal(IndependentNoise(1)(5, SHAPE), IndependentNoise(1)(6, SHAPE))
    assert not torch.equal(IndependentNoise(1)(5, SHAPE), IndependentNoise(2)(5, SHAPE))


def test_shared_noise_is_one_for_all_frames_of_all_clips():
    noise = SharedNoise(1)(0, SHAPE)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise, SharedNoise(1)(7, SHAPE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_published_noise_is_the_global_generators_sequence(dtype):
    torch.manual_seed(42)
    clips = [torch.randn(1, 4, 3, 2, 2, dtype=dtype) for _ in range(3)]
    noise = PublishedNoise(42, dtype)
    for clip in (0, 2):
        assert torch.equal(noise(clip, SHAPE), clips[clip][0].transpose(0, 1).float())


def test_guidance_acts_in_its_share_of_the_steps():
    guidance = Guidance(3.5, 0.25, 0.75)
    assert [guidance.is_on(index, 8) for index in range(8)] == [False] * 2 + [True] * 4 + [False] * 2


def test_guidance_of_one_is_the_conditional_prediction_alone():
    case = make_case(official_like())
    step = torch.tensor([500])
    predictors = {
        s: Predictor(case.networks.denoising_unet, case.context, Guidance(s), torch.float32) for s in (1, 3)
    }
    alone = predictors[1](case.latents, step, is_guided=False)
    pair = case.networks.denoising_unet(torch.cat([case.latents] * 2), step, case.context)
    torch.testing.assert_close(alone, pair[4:], rtol=1e-4, atol=1e-5)
    guided = predictors[3](case.latents, step, is_guided=True)
    torch.testing.assert_close(guided, pair[:4] + 3 * (pair[4:] - pair[:4]), rtol=1e-4, atol=1e-5)


def test_splitting_the_pair_changes_nothing():
    case = make_case(official_like())
    config, results = case.networks.config, []
    for is_split in (False, True):
        unet = case.networks.denoising_unet
        predictor = Predictor(unet, case.context, Guidance(3.5), torch.float32, is_split)
        results.append(list(denoise(predictor, make_solver(config, "ddim", 2), case.latents))[-1])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)
