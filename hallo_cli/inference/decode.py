"""Latents -> pictures in slices, and the portrait's detail that an autoencoder loses, given back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hallo_cli.models.autoencoder import Autoencoder

DETAIL_TOLERANCE = 0.07  # in -1..1: where a frame has changed this much, 37 % of the detail come back
DETAIL_WINDOW = 9  # pixels that the change is averaged over


def decode_frames(vae: Autoencoder, latents: Tensor, *, chunk: int) -> Tensor:
    """Latents [frames, channels, h, w] -> float32 pictures [frames, 3, h * 8, w * 8] in -1..1.

    `chunk` frames are decoded at a time; it bounds memory and changes nothing else.
    """
    like = next(vae.parameters())
    parts = latents.to(like.dtype).split(chunk)
    return torch.cat([vae.decode(part).float() for part in parts]).clamp(-1, 1)


def likeness(frames: Tensor, copy: Tensor) -> Tensor:
    """How much each place is still that of the portrait: [rows, 1, height, width] in 0..1.

    frames [rows, 3, height, width] and the portrait after the autoencoder, in -1..1.
    """
    change = F.avg_pool2d(
        (frames - copy).abs().mean(1, keepdim=True),
        DETAIL_WINDOW,
        stride=1,
        padding=DETAIL_WINDOW // 2,
        count_include_pad=False,
    )
    return torch.exp(-((change / DETAIL_TOLERANCE) ** 2))


def give_back_detail(frames: Tensor, portrait: Tensor, copy: Tensor, alike: Tensor) -> Tensor:
    """Add what the autoencoder lost of the portrait, as far as places are still `alike` (see `likeness`).

    All [rows, 3, height, width] in -1..1; `copy` is the portrait after the autoencoder.
    """
    return (frames + (portrait - copy) * alike).clamp(-1, 1)
