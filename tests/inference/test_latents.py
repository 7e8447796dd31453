"""What the networks read of a picture: the conventions that training and rendering share."""

import dataclasses

import numpy as np
import pytest
import torch
from small_bundles import tiny_config

from hallo_cli.domain import CONTROLS
from hallo_cli.errors import WeightsError
from hallo_cli.inference.latents import fits, locator_input, reference_input, scaled_controls
from hallo_cli.models.network_config import NetworkConfig

OFFICIAL = NetworkConfig.official()
ANCHORED = tiny_config()


def test_locator_sees_the_mask_officially() -> None:
    regions = torch.zeros(1, 8, 8)
    regions[:, 2:4] = 1
    assert torch.equal(locator_input(OFFICIAL, None, regions), regions[:, None].expand(1, 3, 8, 8))


def test_locator_sees_the_tinted_portrait() -> None:
    regions = torch.zeros(1, 64, 64)
    regions[:, 20:] = 1
    seen = locator_input(ANCHORED, torch.zeros(1, 64, 64, 3, dtype=torch.uint8), regions)
    assert seen.shape == (1, 3, 64, 64)
    assert (seen[:, :, :20] == -1).all()
    assert (seen[:, :, 20:] == 0).all()


def test_official_reference_is_the_latents() -> None:
    portrait, motion = torch.randn(1, 4, 8, 8), torch.randn(2, 4, 8, 8)
    assert reference_input(OFFICIAL, portrait) is portrait
    assert reference_input(OFFICIAL, portrait, motion) is motion


def test_anchored_reference_is_the_portraits_features_beside_how_a_frame_differs() -> None:
    features, motion = torch.randn(1, 8, 8, 8), torch.randn(2, 4, 8, 8)
    portrait, frames = reference_input(ANCHORED, features), reference_input(ANCHORED, features, motion)
    assert portrait.shape == (1, ANCHORED.reference_channels, 8, 8)
    assert torch.equal(portrait[:, :8], features)
    assert (portrait[:, 8:] == 0).all()
    assert torch.equal(frames[:, :8], features.expand(2, -1, -1, -1))
    assert torch.equal(frames[:, 8:], motion)


def test_weights_scale_the_controls_and_never_shut_lids_further() -> None:
    windows = np.ones((2, 5, 1, ANCHORED.audio_dim), np.float32)
    scaled = scaled_controls(ANCHORED, windows, np.array([0.5, 2.0, 3.0], np.float32))
    first = ANCHORED.control_channel
    assert first is not None
    assert (scaled[..., :first] == 1).all()
    expected = {"blink": 1, "yaw": 0.5, "pitch": 0.5, "roll": 0.5, "brow": 2, "gaze_x": 2, "gaze_y": 2}
    assert scaled[0, 0, 0, first:].tolist() == [expected[name] for name in CONTROLS]
    assert (windows == 1).all()


def test_networks_without_controls_get_the_windows_as_they_are() -> None:
    windows = np.ones((2, 5, 12, 768), np.float32)
    assert scaled_controls(OFFICIAL, windows, np.zeros(3, np.float32)) is windows


def test_controls_outside_the_features_are_refused() -> None:
    with pytest.raises(WeightsError, match="control_channel"):
        dataclasses.replace(OFFICIAL, control_channel=768)


def test_sizes_that_halve_evenly_at_every_level_fit() -> None:
    assert fits(OFFICIAL, 512)
    assert not fits(OFFICIAL, 500)
