"""Conditions of the denoising UNet from a face region and the controls beside the speech."""

import torch
from small_bundles import random_networks, tiny_config
from small_networks import official_like

from hallo_cli.training.init import new_networks


def test_controls_of_each_frame_change_its_face_features() -> None:
    config = tiny_config()
    locator = random_networks(config).face_locator
    features = torch.randn(1, config.channels[0], 8, 8)
    windows = torch.zeros(3, config.audio_window, config.audio_blocks, config.audio_dim)
    assert config.control_channel is not None
    windows[1, config.audio_window // 2, 0, config.control_channel] = (
        1  # shut lids, in the frame's own features
    )
    windows[2, 0, 0, config.control_channel] = 1  # shut before the frame
    found = locator.controlled(features, windows, config)
    assert found.shape == (3, config.channels[0], 8, 8)
    assert not torch.allclose(found[1], found[0])
    assert torch.equal(found[2], found[0])


def test_new_networks_begin_without_heeding_the_controls() -> None:
    config = tiny_config()
    locator = new_networks(config, seed=0).face_locator
    features = torch.randn(1, config.channels[0], 8, 8)
    windows = torch.randn(2, config.audio_window, config.audio_blocks, config.audio_dim)
    assert torch.equal(locator.controlled(features, windows, config), features.expand(2, -1, -1, -1))


def test_networks_without_controls_take_the_features_as_they_are() -> None:
    config = official_like()
    features = torch.randn(1, config.channels[0], 8, 8)
    windows = torch.randn(2, config.audio_window, config.audio_blocks, config.audio_dim)
    assert random_networks(config).face_locator.controlled(features, windows, config) is features
