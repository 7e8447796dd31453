"""What the networks generate of a picture, and how: the conventions that training and rendering share.

A model may generate only some rows of the latents, or the difference to the portrait's latents, or show the
portrait to its face locator (`NetworkConfig`). Nothing here has weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hallo_cli.models.config import NetworkConfig

TINT = 0.5  # how far the face region is drawn towards white where the locator sees the portrait


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
