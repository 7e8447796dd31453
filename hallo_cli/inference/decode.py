"""Latents -> pictures in slices."""

from __future__ import annotations

import torch
from torch import Tensor

from hallo_cli.models.autoencoder import Autoencoder


def decode_frames(vae: Autoencoder, latents: Tensor, *, chunk: int) -> Tensor:
    """Latents [frames, channels, h, w] -> float32 pictures [frames, 3, h * 8, w * 8] in -1..1.

    `chunk` frames are decoded at a time; it bounds memory and changes nothing else.
    """
    like = next(vae.parameters())
    parts = latents.to(like.dtype).split(chunk)
    return torch.cat([vae.decode(part).float() for part in parts]).clamp(-1, 1)
