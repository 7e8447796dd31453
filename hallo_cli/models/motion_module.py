"""The motion module: temporal self-attention at every position, starting from the motion frames.

Hallo, section 3.4. The architecture is AnimateDiff's (arXiv 2307.04725): two temporal attentions with
sinusoidal positions.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from hallo_cli.models.attention import Attention
from hallo_cli.models.diffusers_parts import FeedForward
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import as_maps


class FramePositions(nn.Module):
    """Sinusoidal codes of the frame's position, kept with the weights: pe [1, max_temporal, width]."""

    pe: Tensor

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.register_buffer("pe", position_codes(config.max_temporal, width))


def position_codes(n_positions: int, width: int) -> Tensor:
    """[1, n_positions, width]: even channels sine, odd channels cosine ("Attention is all you need", 3.5)."""
    device = torch.empty(0).device
    with torch.device("cpu"):  # for sums on the meta device torch loads its compiler
        angles = torch.arange(n_positions)[:, None] * torch.exp(
            torch.arange(0, width, 2) * (-math.log(1e4) / width)
        )
        codes = torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[None]
    return codes.to(device)


class TemporalAttention(Attention):
    """Self-attention over time; the position codes are added to the normalised input."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__(width, heads=config.heads)
        self.pos_encoder = FramePositions(width, config)


class MotionBlock(nn.Module):
    """Two temporal self-attentions and a feed-forward."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.attention_blocks: Any = nn.ModuleList([TemporalAttention(width, config) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(2)])
        self.ff = FeedForward(width, activation_fn="geglu")
        self.ff_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, n_motion: int, first_position: int) -> Tensor:
        """[positions, motion frames + frames, width] -> [positions, frames, width].

        Behind the last attention nothing mixes frames, so its queries and all that follows leave the motion
        frames out.
        """
        last = len(self.norms) - 1
        for i, (norm, attention) in enumerate(zip(self.norms, self.attention_blocks, strict=True)):
            codes = attention.pos_encoder.pe[:, first_position : first_position + x.shape[1]]
            z = norm(x) + codes.to(x.dtype)
            n_dropped = n_motion if i == last else 0
            # The rows of a slice do not follow each other: each position's queries would be a product alone.
            kept = z[:, n_dropped:].contiguous()
            x = x[:, n_dropped:] + attention(kept, attention.project(z))
        return x + self.ff(self.ff_norm(x))


class TemporalTransformer(nn.Module):
    """The motion module proper; the official weights' names need this level."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks: Any = nn.ModuleList([MotionBlock(channels, config)])
        self.proj_out = nn.Linear(channels, channels)


class MotionModule(nn.Module):
    """Temporal attention over feature maps [samples * frames, channels, height, width]."""

    def __init__(self, channels: int, config: NetworkConfig) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(channels, config)
        self.first_position = config.motion_frames

    def project(self, features: Tensor) -> Tensor:
        """Features [samples, motion frames, positions, channels] for `forward`; constant in a clip."""
        inner = self.temporal_transformer
        normed = inner.norm(features.flatten(0, 1).transpose(1, 2)).transpose(1, 2)
        return inner.proj_in(normed).unflatten(0, features.shape[:2])

    def forward(self, x: Tensor, motion: Tensor | None, n_frames: int) -> Tensor:
        """The transformed maps; without motion frames the clip keeps its positions behind them."""
        inner = self.temporal_transformer
        tokens = inner.proj_in(inner.norm(x).flatten(2).transpose(1, 2)).unflatten(0, (-1, n_frames))
        n_motion = 0 if motion is None else motion.shape[1]
        if motion is not None:
            tokens = torch.cat([motion.to(tokens.dtype), tokens], 1)
        n_positions = tokens.shape[2]
        tokens = tokens.transpose(1, 2).flatten(0, 1)  # [samples * positions, time, channels]
        first = 0 if n_motion else self.first_position
        tokens = inner.proj_out(inner.transformer_blocks[0](tokens, n_motion, first))
        tokens = tokens.unflatten(0, (-1, n_positions)).transpose(1, 2).flatten(0, 1)
        return x + as_maps(tokens, x)
