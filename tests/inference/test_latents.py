"""The conventions around the networks are exact inverses and crop alike at every resolution."""

import dataclasses

import pytest
import torch

from hallo_cli.errors import WeightsError
from hallo_cli.inference.latents import (
    eye_rows,
    fits,
    from_generated,
    generated_rows,
    lids,
    locator_input,
    shut_lids,
    to_generated,
)
from hallo_cli.models.bundle import find_bundle
from hallo_cli.models.config import NetworkConfig

OFFICIAL = NetworkConfig.official()
RESIDUAL = dataclasses.replace(
    OFFICIAL, latents="residual", residual_scale=0.5, latent_rows=(16, 64), locator_input="portrait"
)


def test_official_latents_are_generated_as_they_are() -> None:
    latents = torch.randn(2, 4, 64, 64)
    assert torch.equal(to_generated(OFFICIAL, latents, torch.randn(4, 64, 64)), latents)
    assert torch.equal(from_generated(OFFICIAL, latents, torch.randn(4, 64, 64)), latents)


def test_residual_latents_come_back_and_the_other_rows_are_the_portraits() -> None:
    latents, portrait = torch.randn(2, 4, 64, 64), torch.randn(4, 64, 64)
    generated = to_generated(RESIDUAL, latents, portrait)
    assert generated.shape == (2, 4, 48, 64)
    back = from_generated(RESIDUAL, generated, portrait)
    torch.testing.assert_close(back[..., 16:, :], latents[..., 16:, :])
    assert torch.equal(back[0, :, :16], portrait[:, :16])


def test_rows_are_cropped_in_proportion() -> None:
    assert generated_rows(RESIDUAL, torch.zeros(16, 16)).shape == (12, 16)
    assert generated_rows(RESIDUAL, torch.zeros(3, 512, 512)).shape == (3, 384, 512)


def test_locator_sees_the_mask_officially() -> None:
    regions = torch.zeros(1, 8, 8)
    regions[:, 2:4] = 1
    assert torch.equal(locator_input(OFFICIAL, None, regions), regions[:, None].expand(1, 3, 8, 8))


def test_locator_sees_the_tinted_portrait() -> None:
    regions = torch.zeros(1, 512, 512)
    regions[:, 200:] = 1
    seen = locator_input(RESIDUAL, torch.zeros(1, 512, 512, 3, dtype=torch.uint8), regions)
    assert seen.shape == (1, 3, 384, 512)
    assert (seen[:, :, :72] == -1).all()
    assert (seen[:, :, 72:] == 0).all()


def test_locator_sees_shut_lids_darkened_between_brows_and_nose():
    regions = torch.zeros(2, 512, 512)
    regions[:, 200:400, 100:300] = 1
    eyes = eye_rows(RESIDUAL, regions)
    assert eyes.shape == (2, 1, 384, 512)
    rows, columns = torch.nonzero(eyes[0, 0]).T + torch.tensor([[128], [0]])
    assert (rows.min(), rows.max()) == (252, 293)  # 0.26 to 0.47 of 200 rows below row 200
    assert (columns.min(), columns.max()) == (100, 299)
    pictures = torch.rand(2, 3, 384, 512)
    seen = shut_lids(pictures, eyes, torch.tensor([0.0, 1.0]))
    assert torch.equal(seen[0], pictures[0])
    is_eye = eyes[1].expand(3, -1, -1) > 0
    torch.testing.assert_close(seen[1][is_eye], 0.25 * pictures[1][is_eye] - 0.75)
    assert torch.equal(seen[1][~is_eye], pictures[1][~is_eye])


def test_lids_are_read_from_the_frames_own_features_and_bounded():
    windows = torch.zeros(3, 5, 2, 10)
    windows[:, 2, 0, 7] = torch.tensor([-1.0, 0.25, 3.0])
    blinking = dataclasses.replace(RESIDUAL, audio_dim=10, lid_channel=7)
    assert torch.equal(lids(blinking, windows), torch.tensor([0.0, 0.25, 1.0]))
    assert lids(RESIDUAL, windows) is None


@pytest.mark.parametrize("change", [{"lid_channel": 768}, {"lid_channel": 0, "locator_input": "mask"}])
def test_lids_that_nothing_can_show_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="lid_channel"):
        dataclasses.replace(RESIDUAL, **change)


def test_sizes_whose_rows_disagree_between_levels_do_not_fit():
    config = find_bundle("embedded").manifest.networks
    assert [size for size in range(64, 520, 32) if fits(config, size)] == [
        *(64, 128, 160, 256, 288, 320, 384, 416, 512)
    ]
    assert fits(NetworkConfig.official(), 512)
    assert not fits(NetworkConfig.official(), 500)
