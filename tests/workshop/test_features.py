"""Frozen features of pictures for the perceptual loss and the discriminator."""

import pytest
import torch

from hallo_cli.errors import SettingsError
from hallo_cli.workshop import features
from hallo_cli.workshop.features import CHANNELS, FrozenFeatures, ProjectedDiscriminator, perceptual_distance


def test_features_have_four_resolutions_and_do_not_learn() -> None:
    network = FrozenFeatures()
    found = network(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert [tuple(feature.shape) for feature in found] == [
        (2, channels, 64 // step, 64 // step) for channels, step in zip(CHANNELS, (2, 4, 8, 16), strict=True)
    ]
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_discriminator_judges_each_place_of_three_levels() -> None:
    judged = ProjectedDiscriminator()(FrozenFeatures()(torch.rand(2, 3, 64, 64)))
    assert [tuple(level.shape) for level in judged] == [(2, 1, 32, 32), (2, 1, 16, 16), (2, 1, 8, 8)]


def test_distance_is_zero_for_equal_pictures_only() -> None:
    network, pictures = FrozenFeatures(), torch.rand(2, 2, 3, 32, 32)
    ours, theirs = (network(picture) for picture in pictures)
    assert perceptual_distance(ours, ours) == 0
    assert perceptual_distance(ours, theirs) > 0


def test_missing_weights_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "PACKAGE", "no_such_package")
    with pytest.raises(SettingsError, match=r"hallo-cli\[workshop\]"):
        FrozenFeatures.load()
