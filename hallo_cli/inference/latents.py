"""What the networks generate of a picture, and how: the conventions that training and rendering share.

A model may generate only some rows of the latents, or the difference to the portrait's latents, or show the
portrait to its face locator (`NetworkConfig`). Nothing here has weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hallo_cli.models.config import NetworkConfig

TINT = 0.5  # how far the face region is drawn towards white where the locator sees the portrait
EYES = (0.26, 0.47)  # between these parts of the face region's height lie the eyes
SHADE = 0.75  # how far the eyes are drawn towards black where the lids are shut


def generated_rows(config: NetworkConfig, maps: Tensor) -> Tensor:
    """The rows that are generated, of maps [..., height, width] at any resolution: pictures, latents, masks.

    `latent_rows` counts rows of the latents at the training size; other sizes in proportion.
    """
    if config.latent_rows is None:
        return maps
    start, stop = scaled_rows(config, maps.shape[-2])
    return maps[..., start:stop, :]


def scaled_rows(config: NetworkConfig, height: int) -> tuple[int, int]:
    """The half-open range of generated rows in a map of that height."""
    total = config.image_size // config.latent_factor
    start, stop = config.latent_rows or (0, total)
    return round(start * height / total), round(stop * height / total)


def fits(config: NetworkConfig, size: int) -> bool:
    """Whether pictures of that height in pixels have the same generated rows at every level of the UNets."""
    if size % (config.latent_factor * 2 ** (config.levels - 1)):
        return False
    height = size // config.latent_factor
    start, stop = scaled_rows(config, height)
    n_rows = stop - start
    for _ in range(config.levels - 1):
        height, n_rows = (height + 1) // 2, (n_rows + 1) // 2
        start, stop = scaled_rows(config, height)
        if stop - start != n_rows:
            return False
    return True


def to_generated(config: NetworkConfig, latents: Tensor, portrait: Tensor) -> Tensor:
    """Latents [..., channels, height, width] as the denoising UNet models them; the portrait's broadcast."""
    if config.latents == "residual":
        latents = (latents - portrait) / config.residual_scale
    return generated_rows(config, latents)


def from_generated(config: NetworkConfig, generated: Tensor, portrait: Tensor) -> Tensor:
    """The inverse of `to_generated`: rows that were not generated are the portrait's."""
    start, stop = scaled_rows(config, portrait.shape[-2])
    rows = generated
    if config.latents == "residual":
        rows = portrait[..., start:stop, :] + generated * config.residual_scale
    if config.latent_rows is None:
        return rows
    shape = (*rows.shape[:-2], *portrait.shape[-2:])
    whole = portrait.to(rows.dtype).expand(shape)
    return torch.cat([whole[..., :start, :], rows, whole[..., stop:, :]], -2)


def locator_input(config: NetworkConfig, pixels: Tensor | None, regions: Tensor) -> Tensor:
    """The face locator's pictures [rows, 3, height, width], cropped to the generated rows.

    regions [rows, height, width] are 1 in the face rectangle, else 0. Officially that mask is the picture.
    "portrait" models see `pixels` (uint8 [rows, height, width, 3]) in -1..1, the region drawn towards white.
    """
    region = generated_rows(config, regions)[:, None]
    if config.locator_input == "mask":
        return region.expand(-1, 3, -1, -1)
    assert pixels is not None
    picture = generated_rows(config, pixels.permute(0, 3, 1, 2)).to(regions.dtype) / 127.5 - 1
    return torch.lerp(picture, torch.ones_like(picture), TINT * region)


def lids(config: NetworkConfig, windows: Tensor) -> Tensor | None:
    """How far the lids are shut in each frame [frames], 0..1; None: these networks are not told.

    windows [frames, audio_window, blocks, channels] are the frames' audio features, the middle one its own.
    """
    if config.lid_channel is None:
        return None
    return windows[:, config.audio_window // 2, 0, config.lid_channel].float().clamp(0, 1)


def eye_rows(config: NetworkConfig, regions: Tensor) -> Tensor:
    """Where the eyes may lie in the locator's pictures: [rows, 1, height, width] of regions as there."""
    below_top = regions.cumsum(-2) / regions.sum(-2, keepdim=True).clamp(min=1)
    is_eyes = (regions > 0) & (below_top > EYES[0]) & (below_top <= EYES[1])
    return generated_rows(config, is_eyes.to(regions.dtype))[:, None]


def shut_lids(pictures: Tensor, eyes: Tensor, shut: Tensor) -> Tensor:
    """The pictures with the eyes darkened by how far the lids are shut [rows], 0..1; 0 changes nothing."""
    return torch.lerp(pictures, -torch.ones_like(pictures), SHADE * shut[:, None, None, None] * eyes)
