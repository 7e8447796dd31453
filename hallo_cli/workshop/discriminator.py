"""A discriminator of mouths: it learns to tell drawn windows from true ones, the decoder to mislead it.

A squared or absolute error is least for the mean or median of all mouths that fit, which is a smear. What
misleads a discriminator is one of them. It is of use in training only, and no part of a bundle.
Sources: patches, arXiv 1611.07004 (section 3.2.2); hinge loss, arXiv 1705.02894; matched features,
arXiv 1606.03498 (section 3.1).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
GROUPS = 4
MOMENTS = (0.5, 0.99)  # of Adam: less inertia than usual, for the opponent moves


class Discriminator(nn.Module):
    """Judges each patch of a picture; a judgement sees 46 x 46 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [3, width, 2 * width, 4 * width]
        self.layers = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, 4, stride=2, padding=1) for fan_in, fan_out in pairwise(sizes)
        )
        # None behind the first: what has little contrast is to be seen as such.
        self.norms = nn.ModuleList([nn.Identity(), *(nn.GroupNorm(GROUPS, size) for size in sizes[2:])])
        self.judge = nn.Conv2d(sizes[-1], 1, 4, padding=1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures [n, 3, height, width] in -1..1 -> judgements [n, 1, rows, columns], features."""
        x, features = pictures, []
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = functional.leaky_relu(norm(layer(x)), SLOPE)
            features.append(x)
        return self.judge(x), features


def hinge(true: Tensor, made: Tensor, weights: Tensor) -> Tensor:
    """What the discriminator is to lower, given its judgements of true and of made pictures; 2 at chance."""
    return weighted((1 - true).relu(), weights) + weighted((1 + made).relu(), weights)


def distance(ours: list[Tensor], theirs: list[Tensor], weights: Tensor) -> Tensor:
    """How far apart the features of two batches of pictures are: L1, added over the layers."""
    pairs = zip(ours, theirs, strict=True)
    return torch.stack([weighted((one - other).abs(), weights) for one, other in pairs]).sum()


def weighted(values: Tensor, weights: Tensor) -> Tensor:
    """The mean of maps [n, channels, ...] where `weights` [n, 1, ...] of any resolution are large."""
    weights = functional.adaptive_avg_pool2d(weights, (values.shape[-2], values.shape[-1]))
    return (values.float().mean(1, keepdim=True) * weights).mean() / weights.mean()
