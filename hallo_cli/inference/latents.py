"""The inputs that the networks get from a picture: conventions that training and rendering share.

The reference UNet of an anchored model reads the portrait's features, and a face locator may be shown the
portrait (`NetworkConfig`). Nothing here has weights.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hallo_cli.domain import CONTROLS, HEAD, Float
from hallo_cli.models.network_config import NetworkConfig

TINT = 0.5  # how far the face region is drawn towards white where the locator sees the portrait


def fits(config: NetworkConfig, size: int) -> bool:
    """Whether pictures of that height in pixels have whole rows at every level of the UNets."""
    return size % (config.latent_factor * 2 ** (config.levels - 1)) == 0


def reference_input(config: NetworkConfig, portrait: Tensor, latents: Tensor | None = None) -> Tensor:
    """What the reference UNet reads of pictures [..., channels, height, width].

    `portrait` is the portrait's latents; of anchored models its features, beside which `latents` say how the
    picture differs from it: None for the portrait itself, zeros in their place.
    """
    if not config.is_anchored:
        return portrait if latents is None else latents
    if latents is None:
        latents = portrait.new_zeros((*portrait.shape[:-3], config.latent_channels, *portrait.shape[-2:]))
    return torch.cat([portrait.expand(*latents.shape[:-3], *portrait.shape[-3:]), latents], -3)


def scaled_controls(config: NetworkConfig, windows: Float, weights: Float) -> Float:
    """Audio windows [frames, window, blocks, channels] whose controls count as the region weights [3] say.

    The pose weight scales how the head moves, the face weight brows, glances and, up to 1, the lids.
    """
    if config.control_channel is None:
        return windows
    pose, face, _ = (float(weight) for weight in weights)
    scales = np.full(len(CONTROLS), face, np.float32)
    scales[HEAD] = pose
    scales[CONTROLS.index("blink")] = min(1.0, face)
    scaled = windows.copy()
    scaled[..., config.control_channel :][..., : len(CONTROLS)] *= scales
    return scaled


def without_eyes(config: NetworkConfig, windows: Float) -> tuple[Float, Float | None]:
    """Audio windows whose controls of lids and brows are at rest, and those of each frame [frames, 2].

    Geometry moves them (`analysis.lids`, `analysis.brows`): networks of this size shut lids by half and
    hardly move brows.
    """
    if config.control_channel is None:
        return windows, None
    channels = [config.control_channel + CONTROLS.index(name) for name in ("blink", "brow")]
    resting = windows.copy()
    resting[..., channels] = 0
    return resting, windows[:, windows.shape[1] // 2, 0, channels]


def locator_input(config: NetworkConfig, pixels: Tensor | None, regions: Tensor) -> Tensor:
    """The face locator's pictures [rows, 3, height, width].

    regions [rows, height, width] are 1 in the face rectangle, else 0. Officially that mask is the picture.
    "portrait" models see `pixels` (uint8 [rows, height, width, 3]) in -1..1, the region drawn towards white.
    """
    region = regions[:, None]
    if config.locator_input == "mask":
        return region.expand(-1, 3, -1, -1)
    assert pixels is not None
    picture = pixels.permute(0, 3, 1, 2).to(regions.dtype) / 127.5 - 1
    return torch.lerp(picture, torch.ones_like(picture), TINT * region)
