"""The quirks of the published model, each in one small function.

`NetworkConfig.compat` says which behaviour a set of weights was trained with: "official" is reproduced to the
number because the published weights know nothing else; "sane" is for models trained here. Every function has
a test that fails without its oddity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from hallo_cli.models.network_config import NetworkConfig


def runs_motion(config: NetworkConfig, level: int) -> bool:
    """Whether the down and up block of a level have motion modules.

    Officially blocks without attention skip theirs: the code path the weights were trained and are sampled
    with (gradient checkpointing) forgets them, though the weights are in the file. They are not even built
    here.
    """
    return config.motion_levels[level] and (config.compat == "sane" or config.attention_levels[level])


def audio_width(config: NetworkConfig, in_channels: int, out_channels: int) -> int:
    """Inner width of an audio module.

    Officially it follows the block's input channels, not the layer's output; the projections around it adapt.
    """
    width = in_channels if config.compat == "official" else out_channels
    return width // config.heads * config.heads


def identity_rows(config: NetworkConfig, n_samples: int, n_images: int) -> Tensor:
    """Which sample's identity each picture of the reference UNet gets: [n_samples * n_images].

    The pictures are sample-major, the portrait before the motion frames. Officially the identities are tiled
    instead of repeated, so with guidance some pictures of one half get the other half's identity.
    """
    rows = torch.arange(n_samples * n_images)
    return rows % n_samples if config.compat == "official" else rows // n_images


def reference_rows(config: NetworkConfig, n_samples: int, n_frames: int) -> Tensor:
    """Which sample's portrait features each row of the denoising UNet reads: [n_samples * n_frames].

    Officially they are tiled over the rows too: with guidance, the conditional frames read by turns the
    features computed with the zero identity and with the real one.
    """
    rows = torch.arange(n_samples * n_frames)
    return rows % n_samples if config.compat == "official" else rows // n_frames


def stored_features(config: NetworkConfig, features: Tensor) -> Tensor:
    """Reference features as they are stored. Officially in float16, whatever the networks compute in."""
    if config.compat == "official" and config.round_features:
        return features.to(torch.float16).to(features.dtype)
    return features


def absent_motion_frames(config: NetworkConfig) -> int:
    """How many all-zero maps stand for the motion frames where training leaves the portrait out.

    Officially four, even where the clip has two motion frames. Sane: none.
    """
    return 4 if config.compat == "official" else 0


def beta_schedule(config: NetworkConfig, *, training: bool) -> Literal["linear", "scaled_linear"]:
    """The noise schedule's name in diffusers. Officially trained with one and sampled with another."""
    return "linear" if config.compat == "official" and not training else "scaled_linear"


def normalises_twice(config: NetworkConfig, pictures: Tensor) -> bool:
    """Whether the autoencoder gets 2x - 1 of pictures that are in -1..1 already.

    Officially a helper takes portrait and motion frames together for 0..1 where no pixel is below mid-grey.
    """
    return config.compat == "official" and bool(pictures.min() >= 0)


def previous_timesteps(config: NetworkConfig, timesteps: Sequence[int]) -> list[int]:
    """Where each DDIM step lands; below 0 stands for the clean latents.

    Officially 1000 // steps below where it began, which misses the next step's timestep where steps do not
    divide 1000. Sane: at the next timestep.
    """
    if config.compat == "official":
        return [t - 1000 // len(timesteps) for t in timesteps]
    return [*timesteps[1:], -1]


def as_bytes(config: NetworkConfig, pictures: Tensor) -> Tensor:
    """Pictures in 0..1 as uint8. Officially fractions are cut off; sane: rounded."""
    levels = pictures.clamp(0, 1) * 255
    return (levels if config.compat == "official" else levels.round()).to(torch.uint8)
