"""Hierarchical audio-driven attention: one cross-attention for each of three regions (Hallo, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hallo_cli.models.attention import Attention, OutputMap, fold_tokens
from hallo_cli.models.context import AudioContext
from hallo_cli.models.diffusers_parts import FeedForward
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import MapTransformer


class AudioBlock(nn.Module):
    """Self-attention, the three masked cross-attentions each behind its zero convolution, feed-forward."""

    def __init__(self, width: int, config: NetworkConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads=config.heads)
        self.norm2 = nn.LayerNorm(width)
        self.is_shared = config.shared_audio_attention
        self.attn2_0 = Attention(width, heads=config.heads, token_width=config.audio_token_dim)
        if not self.is_shared:
            self.attn2_1 = Attention(width, heads=config.heads, token_width=config.audio_token_dim)
            self.attn2_2 = Attention(width, heads=config.heads, token_width=config.audio_token_dim)
        self.zero_conv_full, self.zero_conv_face, self.zero_conv_lip = (
            nn.Conv2d(width, width, 1) for _ in range(3)
        )
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, activation_fn="geglu")

    @property
    def regional(self) -> list[Attention]:
        """The full, face and lip attention: one each, or one for all (JoyHallo, arXiv 2409.13268)."""
        return [self.attn2_0] * 3 if self.is_shared else [self.attn2_0, self.attn2_1, self.attn2_2]

    def project(self, tokens: Tensor, masks: Tensor, weights: Tensor) -> AudioContext:
        """What `hear` needs (see `AudioTransformer.project`).

        Region k adds w_k (Z_k (O_k a_k m_k) + z_k) with a the attention's heads, O its output projection,
        Z, z the zero convolution and m the mask, which multiplies whole positions and so commutes with both
        maps: O, Z and w become one map that goes into the values, and only w_k z_k is left to add.
        """
        zeros: list[Any] = [self.zero_conv_full, self.zero_conv_face, self.zero_conv_lip]
        outputs = [
            _through(layer.output, zero, w)
            for layer, zero, w in zip(self.regional, zeros, weights, strict=True)
        ]
        bias = weights @ torch.stack([zero.bias for zero in zeros])
        silence = masks @ torch.stack([output.bias for output in outputs]) + bias
        layers = [self.attn2_0] if self.is_shared else self.regional
        return AudioContext(fold_tokens(layers, outputs, tokens), bias, silence)

    def hear(self, y: Tensor, audio: AudioContext, masks: Tensor) -> Tensor:
        """The regions' attentions to the audio, summed; rows before the conditional ones hear nothing."""
        n_plain = y.shape[0] - audio.attention.query.shape[0]
        silent = audio.silence.expand(n_plain, -1, -1) if n_plain else y[:0]
        if n_plain == y.shape[0]:
            return silent
        heard = audio.attention.read(y[n_plain:], masks) + audio.bias
        return torch.cat([silent, heard]) if n_plain else heard

    def forward(self, x: Tensor, audio: AudioContext, masks: Tensor) -> Tensor:
        """[rows, positions, width] -> the same shape."""
        normed = self.norm1(x)
        x = x + self.attn1(normed, self.attn1.project(normed))
        x = x + self.hear(self.norm2(x), audio, masks)
        return x + self.ff(self.norm3(x))


class AudioTransformer(MapTransformer):
    """An audio block over feature maps [rows, channels, height, width]; its width may differ from theirs."""

    def __init__(self, channels: int, width: int, config: NetworkConfig) -> None:
        super().__init__(channels, width, config)
        self.transformer_blocks: Any = nn.ModuleList([AudioBlock(width, config)])

    def project(self, tokens: Tensor, masks: Tensor, weights: Tensor) -> AudioContext:
        """The audio of a clip for `forward`; constant over its denoising steps.

        tokens [rows, tokens, audio_token_dim]; masks [1 or rows, positions, 3]; weights [3] scale the full
        (pose), face and lip attention.
        """
        return self.transformer_blocks[0].project(tokens, masks, weights)

    def forward(self, x: Tensor, audio: AudioContext, masks: Tensor) -> Tensor:
        """The transformed maps."""
        return self.leave(self.transformer_blocks[0](self.enter(x), audio, masks), x)


def _through(inner: nn.Linear, outer: nn.Conv2d, scale: Tensor) -> OutputMap:
    """scale * outer(inner(x)) as one linear map, outer's bias left out."""
    weight = outer.weight.flatten(1) * scale
    return OutputMap(weight @ inner.weight, weight @ inner.bias)
