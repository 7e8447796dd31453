"""Skin that moves keeps the portrait's colours: a place takes on the tint that its brightness has elsewhere.

A small model gets colours slightly wrong where much changes: orange where the creases of a smile were, grey
lids. What the portrait's own skin looks like at each brightness is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hallo_cli.inference.inks import brightness, looked_up

LEVELS = 16  # of brightness
PRIOR = 0.002  # share of all skin that each level is given of the mean tint: rare levels follow few pixels


@dataclass(frozen=True)
class Skin:
    """The skin of a portrait."""

    tints: Tensor  # [3, LEVELS] colour minus brightness, in -1..1, by brightness
    where: Tensor  # [1, 1, height, width] in 0..1


def skin_of(portrait: Tensor, where: Tensor) -> Skin:
    """portrait [1, 3, height, width] in -1..1; where [height, width] in 0..1 there is skin, somewhere."""
    device, portrait, where = portrait.device, portrait.cpu(), where.cpu()
    light = brightness(portrait)
    tints = (portrait - _as_grey(light))[0].flatten(1).double()
    position = (light * (LEVELS - 1)).flatten().double()
    weights = where.flatten().double()
    share = position % 1
    counts, sums = tints.new_zeros(LEVELS), tints.new_zeros(3, LEVELS)
    for index, part in ((position.floor(), 1 - share), (position.ceil(), share)):
        counts.index_add_(0, index.long(), weights * part)
        sums.index_add_(1, index.long(), tints * weights * part)
    prior = PRIOR * counts.sum()
    mean = sums.sum(1, keepdim=True) / counts.sum()
    table = (sums + prior * mean) / (counts + prior)
    return Skin(table.to(device, portrait.dtype), where.to(device, portrait.dtype)[None, None])


def with_skin(frames: Tensor, skin: Skin, moved: Tensor) -> Tensor:
    """Frames [rows, 3, height, width] in -1..1, the skin in the portrait's colours as far as it has `moved`.

    moved [rows, 1, height, width] in 0..1. Brightness stays.
    """
    light = brightness(frames)
    return torch.lerp(frames, _as_grey(light) + looked_up(skin.tints, light), moved * skin.where).clamp(-1, 1)


def _as_grey(light: Tensor) -> Tensor:
    return 2 * light[:, None] - 1
