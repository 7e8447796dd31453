"""Feed-forwards of many tokens on a CPU, which stay in its cache if they are computed part by part."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

TOKENS = 1024  # a part; their hidden numbers take 3 to 12 MB


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
