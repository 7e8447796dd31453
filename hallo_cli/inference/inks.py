"""Pictures of a single ink (grey, sepia, cyanotype) stay so: what is generated takes its colours from them.

A small model gives the lips of a grey portrait a tinge. Where a portrait's colour follows its brightness,
that of the frames can follow it too.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LEVELS = 64  # of brightness
TOLERANCE = 0.01  # in -1..1: mean distance to the ink up to which a picture counts as of a single one
_LUMA = (0.299, 0.587, 0.114)


def single_ink(portrait: Tensor) -> Tensor | None:
    """The colour at each level of brightness [3, LEVELS], or None where the picture has several colours.

    portrait: [1, 3, height, width] in -1..1.
    """
    pixels = portrait[0].flatten(1).double()
    level = (brightness(portrait)[0].flatten() * (LEVELS - 1)).round().long()
    count = torch.bincount(level, minlength=LEVELS)
    sums = torch.stack([torch.bincount(level, weights=channel, minlength=LEVELS) for channel in pixels])
    seen = (count > 0).nonzero().flatten().cpu().numpy()
    means = (sums / count.clamp(min=1)).cpu().numpy()
    inks = np.stack([np.interp(np.arange(LEVELS), seen, channel[seen]) for channel in means])
    table = torch.from_numpy(inks).to(portrait)
    distance = (with_ink(portrait, table) - portrait).abs().mean()
    return table if distance <= TOLERANCE else None


def with_ink(frames: Tensor, table: Tensor) -> Tensor:
    """Frames [rows, 3, height, width] in -1..1 in the ink of `table`, each pixel as bright as it was."""
    return looked_up(table, brightness(frames))


def looked_up(table: Tensor, light: Tensor) -> Tensor:
    """Entries of a table [3, levels] at each brightness [rows, height, width]: [rows, 3, height, width]."""
    last = table.shape[1] - 1
    position = light * last
    below = position.floor().clamp(max=last - 1)
    share = (position - below)[:, None]
    index = below.long()
    low, high = table[:, index].transpose(0, 1), table[:, index + 1].transpose(0, 1)
    return torch.lerp(low, high, share)


def brightness(pictures: Tensor) -> Tensor:
    """Of pictures [rows, 3, height, width] in -1..1: [rows, height, width] in 0..1."""
    red, green, blue = pictures.unbind(1)
    luma = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
    return ((luma + 1) / 2).clamp(0, 1)
