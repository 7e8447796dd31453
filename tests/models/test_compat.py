"""Every oddity of the published model is there for its weights, and gone for models trained here."""

import dataclasses

import pytest
import torch
from small_networks import make_case, official_like

from hallo_cli.models import compat
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import build_networks

OFFICIAL = NetworkConfig.official()
SANE = dataclasses.replace(OFFICIAL, compat="sane")


def test_blocks_without_attention_skip_their_motion_modules():
    assert [compat.runs_motion(OFFICIAL, level) for level in range(4)] == [True, True, True, False]
    assert all(compat.runs_motion(SANE, level) for level in range(4))


@pytest.mark.parametrize(("kind", "is_built"), [("official", False), ("sane", True)])
def test_motion_modules_are_built_only_where_they_run(kind, is_built):
    unet = build_networks(official_like(compat=kind)).denoising_unet
    assert hasattr(unet.down_blocks[-1], "motion_modules") is is_built
    assert hasattr(unet.up_blocks[0], "motion_modules") is is_built


def test_audio_modules_are_as_wide_as_their_block_input():
    # Table in the published weights: down 1 begins 320 wide, all of up 1 is 640 wide.
    unet = build_networks(OFFICIAL).denoising_unet
    widths = [module.proj_in.out_channels for module in unet.down_blocks[1].audio_modules]
    assert widths == [320, 640]
    assert [module.proj_in.out_channels for module in unet.up_blocks[1].audio_modules] == [640] * 3
    assert compat.audio_width(SANE, 320, 640) == 640


def test_identities_are_tiled_over_the_pictures():
    # Unconditional portrait and two motion frames, then conditional ones; 1 is the real identity.
    assert compat.identity_rows(OFFICIAL, 2, 3).tolist() == [0, 1, 0, 1, 0, 1]
    assert compat.identity_rows(SANE, 2, 3).tolist() == [0, 0, 0, 1, 1, 1]


def test_portraits_are_tiled_over_the_frames():
    assert compat.reference_rows(OFFICIAL, 2, 4)[4:].tolist() == [0, 1, 0, 1]
    assert compat.reference_rows(OFFICIAL, 2, 3)[3:].tolist() == [1, 0, 1]
    assert compat.reference_rows(SANE, 2, 4)[4:].tolist() == [1, 1, 1, 1]


def test_features_are_stored_in_float16():
    features = torch.tensor([1 / 3])
    assert compat.stored_features(OFFICIAL, features).item() == features.half().item()
    assert compat.stored_features(SANE, features) is features
    unrounded = dataclasses.replace(OFFICIAL, round_features=False)
    assert compat.stored_features(unrounded, features) is features


def test_four_empty_maps_stand_for_absent_motion_frames():
    assert compat.absent_motion_frames(OFFICIAL) == 4
    assert compat.absent_motion_frames(SANE) == 0


def test_sampling_uses_another_noise_schedule_than_training():
    assert compat.beta_schedule(OFFICIAL, training=True) == "scaled_linear"
    assert compat.beta_schedule(OFFICIAL, training=False) == "linear"
    assert compat.beta_schedule(SANE, training=False) == "scaled_linear"


def test_bright_pictures_are_normalised_twice():
    bright, usual = torch.full((1, 3, 2, 2), 0.1), torch.tensor([-0.1, 1])
    assert compat.normalises_twice(OFFICIAL, bright)
    assert not compat.normalises_twice(OFFICIAL, usual)
    assert not compat.normalises_twice(SANE, bright)


def test_steps_that_do_not_divide_the_schedule_miss_the_next_timestep():
    timesteps = [999, 666, 332]
    assert compat.previous_timesteps(OFFICIAL, timesteps) == [666, 333, -1]
    assert compat.previous_timesteps(SANE, timesteps) == [666, 332, -1]


def test_bytes_are_cut_off_not_rounded():
    pictures = torch.tensor([0.999, -0.2, 1.2])
    assert compat.as_bytes(OFFICIAL, pictures).tolist() == [254, 0, 255]
    assert compat.as_bytes(SANE, pictures).tolist() == [255, 0, 255]


@pytest.mark.parametrize("rows", ["reference_rows", "identity_rows"])
def test_tiling_changes_the_prediction(monkeypatch, rows):
    step = torch.tensor([500])

    def predict() -> torch.Tensor:
        case = make_case(official_like())
        return case.networks.denoising_unet(torch.cat([case.latents] * 2), step, case.context)

    tiled, original = predict(), getattr(compat, rows)
    monkeypatch.setattr(compat, rows, lambda config, *sizes: original(SANE, *sizes))
    assert not torch.allclose(predict(), tiled, rtol=0, atol=1e-6)
