"""Guidance, and noise that depends on nothing but what it should."""

import pytest
import torch
from small_networks import Case, official_like, shared_case

from hallo_cli.inference.sampling import (
    Predictor,
    compiled_pass,
    denoise,
    independent_noise,
    published_noise,
    run_unet,
    shared_noise,
)
from hallo_cli.inference.schedule import make_solver
from hallo_cli.inference.step_plan import DeepReuse, Guidance, Step, plan_steps

SHAPE = (3, 4, 2, 2)


@pytest.fixture(scope="module")
def case() -> Case:
    return shared_case(official_like())


def test_noise_of_a_clip_follows_from_seed_and_clip():
    assert torch.equal(independent_noise(1, 5, SHAPE), independent_noise(1, 5, SHAPE))
    assert not torch.equal(independent_noise(1, 5, SHAPE), independent_noise(1, 6, SHAPE))
    assert not torch.equal(independent_noise(1, 5, SHAPE), independent_noise(2, 5, SHAPE))


def test_shared_noise_is_one_for_all_frames_of_all_clips():
    noise = shared_noise(1, 0, SHAPE)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise, shared_noise(1, 7, SHAPE))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_published_noise_is_the_global_generators_sequence(dtype):
    torch.manual_seed(42)
    clips = [torch.randn(1, 4, 3, 2, 2, dtype=dtype) for _ in range(3)]
    noise = published_noise(42, dtype)
    for clip in (0, 2):
        assert torch.equal(noise(clip, SHAPE), clips[clip][0].transpose(0, 1).float())


def test_guidance_acts_in_its_share_of_the_steps():
    guidance = Guidance(3.5, 0.25, 0.75)
    assert [guidance.is_on(index, 8) for index in range(8)] == [False] * 2 + [True] * 4 + [False] * 2


def test_guidance_of_one_is_the_conditional_prediction_alone(case):
    step = torch.tensor([500])
    predictors = {
        s: Predictor(case.networks.denoising_unet, case.context, Guidance(s), torch.float32) for s in (1, 3)
    }
    alone = predictors[1](case.latents, step, Step(is_guided=False), [None, None])
    pair = case.networks.denoising_unet(torch.cat([case.latents] * 2), step, case.context)
    torch.testing.assert_close(alone, pair[4:], rtol=1e-4, atol=1e-5)
    guided = predictors[3](case.latents, step, Step(is_guided=True), [None, None])
    torch.testing.assert_close(guided, pair[:4] + 3 * (pair[4:] - pair[:4]), rtol=1e-4, atol=1e-5)


def test_splitting_the_pair_changes_nothing(case):
    config, results = case.networks.config, []
    for is_split in (False, True):
        unet = case.networks.denoising_unet
        predictor = Predictor(unet, case.context, Guidance(3.5), torch.float32, is_split)
        results.append(list(denoise(predictor, make_solver(config, "ddim", 2), case.latents))[-1])
    torch.testing.assert_close(results[1], results[0], rtol=1e-4, atol=1e-5)


def test_every_step_is_computed_anew_by_default():
    steps = plan_steps(Guidance(3.5), DeepReuse(), 4)
    assert list(steps) == [Step(is_guided=True)] * 4


def test_deep_features_are_taken_over_between_every_nth_step():
    steps = plan_steps(Guidance(3.5), DeepReuse(3), 7)
    assert [step.reuses_deep for step in steps] == [False, True, True] * 2 + [False]


def test_pair_needs_deep_features_of_both_halves():
    steps = plan_steps(Guidance(3.5, start=0.5), DeepReuse(4), 4)
    assert [step.reuses_deep for step in steps] == [False, True, False, True]


@pytest.mark.parametrize("n_layers", [0, 1, 2])
def test_deep_features_of_the_same_step_give_the_same_prediction(case, n_layers):
    unet, pair, step = case.networks.denoising_unet, torch.cat([case.latents] * 2), torch.tensor([500])
    exact = unet(pair, step, case.context)
    kept, deep = unet.forward_keeping(pair, step, case.context, n_layers)
    assert torch.equal(kept, exact)
    assert torch.equal(unet.forward_shallow(pair, step, case.context, deep), exact)
    assert not torch.equal(unet.forward_shallow(pair, torch.tensor([100]), case.context, deep), exact)


def sampled(case, *, is_split=False, guidance=Guidance(3.5), deep=DeepReuse(), run=run_unet):
    unet = case.networks.denoising_unet
    predictor = Predictor(unet, case.context, guidance, torch.float32, is_split, deep, run)
    return list(denoise(predictor, make_solver(case.networks.config, "ddim", 4), case.latents))[-1]


@pytest.mark.parametrize(
    ("guidance", "deep"),
    [
        (Guidance(3.5), DeepReuse(2)),
        (Guidance(3.5, stop=0.6), DeepReuse(2)),
        (Guidance(3.5, start=0.3), DeepReuse(3, 0)),
    ],
)
def test_reuse_is_near_the_exact_result_and_the_same_in_two_passes(case, guidance, deep):
    exact = sampled(case, guidance=Guidance(3.5, guidance.start, guidance.stop))
    reused = sampled(case, guidance=guidance, deep=deep)
    assert 0 < (reused - exact).abs().mean() < 0.5 * (exact - case.latents).abs().mean()
    split = sampled(case, is_split=True, guidance=guidance, deep=deep)
    torch.testing.assert_close(split, reused, rtol=1e-4, atol=1e-5)


def test_reuse_in_runs_of_one_is_exact(case):
    assert torch.equal(sampled(case, deep=DeepReuse(1, 0)), sampled(case))


@pytest.fixture
def fresh_compiler():
    compiled_pass.cache_clear()
    yield
    compiled_pass.cache_clear()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_pass_hands_the_pass_to_the_compiler_and_keeps_its_results(case, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda work, **options: asked.append(options) or work)
    found = sampled(case, deep=DeepReuse(2), run=compiled_pass())
    assert torch.equal(found, sampled(case, deep=DeepReuse(2)))
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_compiled_kernels_give_the_same_latents(case):
    with torch.inference_mode():
        found = sampled(case, deep=DeepReuse(2), run=compiled_pass())
        torch.testing.assert_close(found, sampled(case, deep=DeepReuse(2)), rtol=1e-3, atol=1e-4)
