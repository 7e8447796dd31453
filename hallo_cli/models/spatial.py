"""The spatial transformer: self-attention that also looks at the portrait's features, and identity attention.

Hallo, section 3.2; the reference UNet is made of the same transformer without reference features.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.models.attention import Attention, KeyValue, OutputMap, TokenAttention, fold_tokens
from hallo_cli.models.diffusers_parts import FeedForward
from hallo_cli.models.network_config import NetworkConfig


class MapToTokens(nn.Module):
    """Group norm and a 1x1 convolution into [rows, positions, channels]: how each transformer begins.

    Feature maps in channels_last memory are such tokens already: nothing is copied.
    """

    def __init__(self, channels: int, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, width, 1)

    def enter(self, x: Tensor) -> Tensor:
        """[rows, channels, height, width] -> [rows, positions, width], positions row-major."""
        return pointwise(self.proj_in, self.norm(x).flatten(2).transpose(1, 2))


class MapTransformer(MapToTokens):
    """The shell of a transformer over feature maps: tokens at the start, maps and a residual at the end."""

    def __init__(self, channels: int, width: int, config: NetworkConfig) -> None:
        super().__init__(channels, width, config)
        self.proj_out = nn.Conv2d(width, channels, 1)

    def leave(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """[rows, positions, width] -> [rows, channels, height, width], added to the residual."""
        return residual + as_maps(pointwise(self.proj_out, tokens), residual)


def pointwise(convolution: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1x1 convolution applied to tokens."""
    return F.linear(tokens, convolution.weight.flatten(1), convolution.bias)


def as_maps(tokens: Tensor, like: Tensor) -> Tensor:
    """[rows, positions, channels] -> [rows, channels, height, width] of the size of `like`."""
    return tokens.transpose(1, 2).unflatten(2, like.shape[2:])


class SpatialBlock(nn.Module):
    """Self-attention, identity attention (absent in models without identity tokens), feed-forward."""

    attn2: Attention

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads=config.heads)
        if config.identity_tokens:
            self.norm2 = nn.LayerNorm(width)
            self.attn2 = Attention(width, heads=config.heads, token_width=config.cross_dim)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, activation_fn="geglu")

    def attend(self, normed: Tensor, reference: KeyValue | None) -> Tensor:
        """Self-attention of [rows, positions, width]; the last rows also see one reference row each."""
        queries, own = self.attn1.project_queries(normed), self.attn1.project(normed)
        if reference is None:
            return self.attn1.output(self.attn1.read(queries, own))
        n_plain = normed.shape[0] - reference.key.shape[0]
        plain, conditional = own.split(n_plain)
        found = self.attn1.read(queries[n_plain:], conditional.followed_by(reference))
        if n_plain:
            found = torch.cat([self.attn1.read(queries[:n_plain], plain), found])
        return self.attn1.output(found)

    def forward(
        self, x: Tensor, normed: Tensor, reference: KeyValue | None, identity: TokenAttention | None
    ) -> Tensor:
        """[rows, positions, width] and its norm1 -> the same shape."""
        x = x + self.attend(normed, reference)
        if identity is not None:
            x = x + identity.read(self.norm2(x))
        return x + self.ff(self.norm3(x))


class SpatialTransformer(MapTransformer):
    """A spatial block over feature maps [rows, channels, height, width]."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__(channels, channels, config)
        self.transformer_blocks = nn.ModuleList([SpatialBlock(channels, config)])

    @property
    def block(self) -> SpatialBlock:
        """The one block; the list around it is part of the official names."""
        return cast(SpatialBlock, self.transformer_blocks[0])

    def project_reference(self, features: Tensor) -> KeyValue:
        """Reference features [rows, positions, channels] for `forward`; constant for a portrait."""
        return self.block.attn1.project(features)

    def project_identity(self, tokens: Tensor) -> TokenAttention:
        """Identity tokens [samples, tokens, cross_dim] for `forward`; constant for a portrait."""
        layer = self.block.attn2
        return fold_tokens([layer], [OutputMap(layer.output.weight, layer.output.bias)], tokens)

    def forward(
        self, x: Tensor, reference: KeyValue | None, identity: TokenAttention | None
    ) -> tuple[Tensor, Tensor]:
        """The transformed maps, and the block's normalised input [rows, positions, channels]."""
        tokens = self.enter(x)
        normed = self.block.norm1(tokens)
        return self.leave(self.block(tokens, normed, reference, identity), x), normed


class FeatureTap(MapToTokens):
    """A spatial transformer cut off behind its features: the last one of the reference UNet."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__(channels, channels, config)
        normalise = nn.ModuleDict({"norm1": nn.LayerNorm(channels)})
        self.transformer_blocks = nn.ModuleList([normalise])

    def project_identity(self, tokens: Tensor) -> None:
        """It has no use for an identity."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps -> the normalised tokens [rows, positions, channels]."""
        return cast(nn.ModuleDict, self.transformer_blocks[0])["norm1"](self.enter(x))
