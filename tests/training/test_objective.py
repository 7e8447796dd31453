"""The objective against the reference implementation's numbers and against what each option promises."""

from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.toy import NETWORK

from hallo_cli.training import objective
from hallo_cli.training.config import DropSettings, ObjectiveSettings
from hallo_cli.training.losses import LossFunction

GOLDEN = load_file(Path(__file__).parent.parent / "data" / "golden" / "pipeline" / "training.safetensors")
SHAPE = (2, 3, 4, 6, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def golden_input(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    seed = crc32(f"0:train.{name}".encode())
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape).astype(np.float32))


def noisy(settings: ObjectiveSettings, stage: str = "stage1") -> objective.NoisyLatents:
    clean = torch.randn(SHAPE, generator=generator(1))
    schedule = objective.alphas_cumprod("scaled_linear")
    return objective.add_noise(clean, schedule, settings=settings, stage=stage, generator=generator())  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "schedule"), [("training", "scaled_linear"), ("inference", "linear")])
def test_schedules_are_the_reference_ones(name: str, schedule: str) -> None:
    ours = objective.alphas_cumprod(schedule)  # type: ignore[arg-type]
    # the reference cumulates in float32
    torch.testing.assert_close(ours, GOLDEN[f"alphas_cumprod.{name}"], atol=2e-6, rtol=0)


def test_timestep_weights_are_the_reference_ones() -> None:
    alphas = GOLDEN["alphas_cumprod.training"][GOLDEN["snr.timesteps"]]
    weights = objective.timestep_weights(ObjectiveSettings(), alphas)
    torch.testing.assert_close(weights, GOLDEN["snr.weights"], atol=1e-6, rtol=1e-4)


def test_velocity_targets_are_the_reference_ones() -> None:
    clean, noise = golden_input("v_x", (2, 4, 1, 8, 8)), golden_input("v_n", (2, 4, 1, 8, 8))
    timesteps = torch.tensor([[10], [999]])
    alphas = objective.alphas_cumprod("scaled_linear")[timesteps].reshape(2, 1, 1, 1, 1)
    sample = objective.NoisyLatents(clean, noise, timesteps, alphas)
    torch.testing.assert_close(sample.velocity, GOLDEN["velocity.target"], atol=1e-5, rtol=0)
    torch.testing.assert_close(sample.noisy, GOLDEN["velocity.noisy"], atol=1e-5, rtol=0)


def test_stage_one_weights_each_frame_officially_too() -> None:
    sample, prediction = noisy(ObjectiveSettings()), torch.zeros(SHAPE)
    official, sane = (
        objective.velocity_loss(prediction, sample, ObjectiveSettings(compat=compat), "stage1")  # type: ignore[arg-type]
        for compat in ("official", "sane")
    )
    assert torch.equal(official, sane)


def test_official_loss_of_stage_two_averages_before_weighting() -> None:
    sample = noisy(ObjectiveSettings())
    prediction = torch.zeros(SHAPE)
    weights = objective.timestep_weights(ObjectiveSettings(), sample.alphas_cumprod.flatten())
    errors = sample.velocity.square().mean((2, 3, 4)).flatten()
    official = objective.velocity_loss(prediction, sample, ObjectiveSettings(compat="official"), "stage2")
    sane = objective.velocity_loss(prediction, sample, ObjectiveSettings(), "stage2")
    torch.testing.assert_close(official, errors.mean() * weights.mean())
    torch.testing.assert_close(sane, (errors * weights).mean())
    assert official != pytest.approx(sane.item(), rel=1e-3)


def test_x0_weighting_measures_the_error_of_the_clean_latents() -> None:
    sample = noisy(ObjectiveSettings())
    prediction = torch.randn(SHAPE, generator=generator(2))
    loss = objective.velocity_loss(prediction, sample, ObjectiveSettings(weighting="x0"), "stage1")
    signal, noise_level = sample.alphas_cumprod.sqrt(), (1 - sample.alphas_cumprod).sqrt()
    clean = signal * sample.noisy - noise_level * prediction
    torch.testing.assert_close(loss, (clean - sample.clean).square().mean())


def test_stage_two_noises_a_whole_clip_alike() -> None:
    timesteps = noisy(ObjectiveSettings(), "stage2").timesteps
    assert (timesteps == timesteps[:, :1]).all()
    assert not (
        noisy(ObjectiveSettings()).timesteps[:, 0] == noisy(ObjectiveSettings()).timesteps[:, 1]
    ).all()


def test_shared_noise_is_the_same_in_all_frames() -> None:
    sample = noisy(ObjectiveSettings(shared_noise=True))
    assert (sample.noise == sample.noise[:, :1]).all()
    assert not (noisy(ObjectiveSettings()).noise[:, 0] == noisy(ObjectiveSettings()).noise[:, 1]).any()


def test_noise_offset_shifts_whole_channels() -> None:
    plain = objective.draw_noise(torch.zeros(SHAPE), ObjectiveSettings(noise_offset=0), generator())
    offset = (
        objective.draw_noise(torch.zeros(SHAPE), ObjectiveSettings(noise_offset=0.05), generator()) - plain
    )
    torch.testing.assert_close(offset, offset[:, :1, :, :1, :1].expand(SHAPE))
    assert offset.abs().max() > 0.01


def test_few_step_timesteps_are_the_last_or_the_middle() -> None:
    settings = ObjectiveSettings(timesteps="few_step", last_share=0.3, middle_timesteps=(200, 800))
    drawn = objective.draw_timesteps(settings, (10_000,), generator())
    is_last = drawn == 999
    assert 0.28 < is_last.float().mean() < 0.32
    assert 200 <= drawn[~is_last].min() < 210
    assert 790 < drawn[~is_last].max() < 800


def test_official_drops_take_the_whole_batch() -> None:
    settings = ObjectiveSettings(compat="official", drops=DropSettings(image=0.5, audio=0.5, motion=0.5))
    drawn = [objective.draw_drops(4, settings, "stage2", generator(seed)) for seed in range(50)]
    assert {d.n_image for d in drawn} == {0, 4}
    assert {int(d.audio.sum()) for d in drawn} == {0, 4}


def test_sane_drops_are_drawn_for_each_take() -> None:
    settings = ObjectiveSettings(drops=DropSettings(image=0.5, audio=0.5, motion=0.5))
    drawn = [objective.draw_drops(4, settings, "stage2", generator(seed)) for seed in range(50)]
    assert {d.n_image for d in drawn} == {0, 1, 2, 3, 4}
    assert {int(d.audio.sum()) for d in drawn} == {0, 1, 2, 3, 4}


def test_stage_one_drops_the_identity_with_the_image() -> None:
    settings = ObjectiveSettings(drops=DropSettings(image=0.5))
    drawn = [objective.draw_drops(4, settings, "stage1", generator(seed)) for seed in range(20)]
    assert all(int(d.identity.sum()) == d.n_image for d in drawn)


def test_regions_weigh_lips_most_and_the_forehead_least() -> None:
    boxes = torch.tensor([[[0.1, 0.1, 0.9, 0.9], [0.2, 0.1, 0.8, 0.9], [0.4, 0.6, 0.6, 0.7]]])
    sample = objective.NoisyLatents(
        torch.zeros(1, 2, 4, 32, 32),
        torch.zeros(1, 2, 4, 32, 32),
        torch.zeros(1, 2).long(),
        torch.ones(1, 2, 1, 1, 1),
    )
    settings = ObjectiveSettings(regions=(0.1, 1.0, 4.0, 2.0))
    weights = objective.region_weights(sample, boxes, settings)
    assert weights is not None
    at_lips, at_eyes, at_corner = weights[0, 0, 21, 16], weights[0, 0, 11, 16], weights[0, 0, 31, 0]
    assert at_lips == pytest.approx(5.1, abs=0.1)
    assert at_eyes == pytest.approx(2.1, abs=0.2)
    assert at_corner == pytest.approx(0.1, abs=0.01)


def test_change_weighs_what_moves() -> None:
    clean = torch.zeros(1, 1, 4, 8, 8)
    clean[..., 4, 4] = 1
    sample = objective.NoisyLatents(clean, clean, torch.zeros(1, 1).long(), torch.ones(1, 1, 1, 1, 1))
    weights = objective.region_weights(sample, torch.zeros(1, 3, 4), ObjectiveSettings(change_weight=1.0))
    assert weights is not None
    assert weights[0, 0, 4, 4] > 10 * weights[0, 0, 0, 0]
    assert weights[0, 0, 0, 0] == 1


def test_motion_frames_get_a_little_noise_as_much_in_all_of_a_take() -> None:
    motion = torch.randn(64, 2, 4, 6, 8, generator=generator(1))
    schedule = objective.alphas_cumprod("scaled_linear")
    assert objective.roughened(motion, schedule, ObjectiveSettings(), generator()) is motion
    rough = objective.roughened(motion, schedule, ObjectiveSettings(motion_timesteps=50), generator())
    change = (rough - motion).flatten(2).std(2)
    # At timestep 49 noise has a deviation of 0.23; the two frames of a take share their timestep.
    assert change.min() > 0
    assert change.max() < 0.3
    assert (change[:, 0] / change[:, 1]).log().abs().max() < 0.35
    assert change[:, 0].max() > 4 * change[:, 0].min()


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_motion_frames_are_thinned_through_their_pixels(share: float) -> None:
    """With an autoencoder of ones: a latent is a pixel of 1, or of 0 where it went grey."""
    settings = ObjectiveSettings(motion_thinning=share)
    ones = SimpleNamespace(decode=lambda latents: latents[:, :3], encode=lambda pictures: pictures)
    losses = LossFunction(settings, NETWORK, "stage2", ones)  # type: ignore[arg-type]
    boxes = torch.tensor([[[0.25, 0.25, 0.75, 0.75]] * 3] * 2)
    found = losses._thinned(torch.ones(2, 2, 3, 64, 64), boxes, generator())
    assert found.shape == (2, 2, 3, 64, 64)
    assert (found[..., 16:48, 16:48] == 1).all()  # the face
    assert torch.equal(found[:, 0], found[:, 1])
    assert torch.equal(found[:, :, 0], found[:, :, 2])
    outside = 1 - (found[:, 0, 0].sum((1, 2)) - 32 * 32) / (64 * 64 - 32 * 32)
    assert (outside - share).abs().max() < 0.03
    assert share in (0, 1) or not torch.equal(found[0], found[1])
