"""Layers that compute the same faster on a CPU, in place of torch's and diffusers'."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.models.diffusers_parts import FeedForward, ResnetBlock2D

MAX_POSITIONS = 16  # of a map; at 64 torch's own kernels are faster
MIN_CHANNELS = 512  # at 256 they are, too
TOKENS = 1024  # of a feed-forward's part; their hidden numbers take 3 to 12 MB


class SmallMapConvolution(nn.Conv2d):
    """A 3x3 convolution with a border of one; one matrix product for small float32 maps on a CPU.

    Weights in channels_last memory are that matrix already; torch's kernels reorder them in every call.
    """

    @classmethod
    def of(cls, convolution: nn.Conv2d) -> SmallMapConvolution:
        """The same one, with the same parameters."""
        assert convolution.kernel_size == (3, 3)
        assert convolution.padding == convolution.stride == convolution.dilation == (1, 1)
        same = cls(convolution.in_channels, convolution.out_channels, 3, padding=1, device="meta")
        same.weight, same.bias = convolution.weight, convolution.bias
        return same

    def forward(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width] -> as many maps of the same size."""
        is_small = x.shape[2] * x.shape[3] <= MAX_POSITIONS and self.in_channels >= MIN_CHANNELS
        if not (is_small and x.dtype is torch.float32 and x.device.type == "cpu"):
            return super().forward(x)
        bordered = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
        windows = bordered.unfold(1, 3, 1).unfold(2, 3, 1)  # [rows, height, width, channels, 3, 3]
        matrix = self.weight.permute(0, 2, 3, 1).flatten(1)  # [channels out, 9 * channels in]
        return F.linear(windows.permute(0, 1, 2, 4, 5, 3).flatten(3), matrix, self.bias).permute(0, 3, 1, 2)


def use_convolutions_of_small_maps(network: nn.Module) -> None:
    """Make a network's resnets convolve so; parameters and their names stay."""
    for module in network.modules():
        if isinstance(module, ResnetBlock2D):
            module.conv1, module.conv2 = map(SmallMapConvolution.of, (module.conv1, module.conv2))


class FeedForwardInParts(nn.Module):
    """diffusers' gated feed-forward with the same parameters, computed for some tokens at a time.

    The hidden numbers are eight times as many as the tokens' own. To write them to memory as a whole, in
    pages that the system clears for every call, takes as long as the matrix products of narrow networks.
    """

    def __init__(self, whole: FeedForward) -> None:
        super().__init__()
        self.net: Any = whole.net

    def forward(self, x: Tensor) -> Tensor:
        """[..., tokens, width] -> the same shape."""
        into, out_of = self.net[0].proj, self.net[2]
        weights, biases = into.weight.chunk(2), into.bias.chunk(2)
        results = []
        for part in x.flatten(0, -2).split(TOKENS):
            value, gate = (F.linear(part, w, b) for w, b in zip(weights, biases, strict=True))
            results.append(out_of(value * F.gelu(gate)))
        return torch.cat(results).view_as(x)


def use_feed_forward_in_parts(network: nn.Module) -> None:
    """Make a network's transformers compute so; parameters and their names stay."""
    for module in network.modules():
        whole = getattr(module, "ff", None)
        if isinstance(whole, FeedForward):
            module.ff = FeedForwardInParts(whole)
