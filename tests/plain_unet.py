"""A step of the denoising UNet with nothing saved: what tests compare the real one with.

The same weights, evaluated as the published program does: keys and values projected for every frame in every
step, reference attention computed for the unconditional half and thrown away, audio attention to zeros,
output projections and zero convolutions one after the other, the motion frames carried to the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hallo_cli.models.attention import Attention
from hallo_cli.models.audio_attention import AudioTransformer
from hallo_cli.models.context import PerLayer
from hallo_cli.models.denoising_unet import DenoisingUNet
from hallo_cli.models.motion_module import MotionModule
from hallo_cli.models.spatial import SpatialTransformer, as_maps, pointwise


@dataclass(frozen=True)
class PlainConditions:
    """The raw conditions of a guidance pair; rows = 2 * n_frames, the unconditional half first."""

    features: PerLayer[Tensor]  # [2, 1 + motion frames, positions, channels]: portrait, motion frames
    reference_rows: Tensor  # [rows]: the half whose portrait features a row reads
    identity: Tensor | None  # [2, tokens, cross_dim]
    audio: Tensor  # [n_frames, tokens, audio_token_dim]
    masks: tuple[Tensor, ...]  # a level: [1, positions, 3]
    region_weights: Tensor  # [3]
    face_features: Tensor  # [1, channels, height, width]
    n_frames: int


@torch.inference_mode()
def predict(unet: DenoisingUNet, latents: Tensor, timestep: Tensor, conditions: PlainConditions) -> Tensor:
    """Latents [frames, channels, height, width] -> v of the pair [2 * frames, ...]."""
    x = unet.conv_in(torch.cat([latents, latents]))
    located = conditions.face_features.expand(conditions.n_frames, -1, -1, -1)
    x = x + torch.cat([torch.zeros_like(located), located])
    temb = unet.embed_time(timestep.expand(2).repeat_interleave(conditions.n_frames))
    x, _ = unet.walk(x, temb, conditions.features, conditions, run=run_layer)
    return unet.conv_out(F.silu(unet.conv_norm_out(x)))


def run_layer(
    block: Any, index: int, x: Tensor, temb: Tensor, features: Tensor | None, conditions: PlainConditions
) -> tuple[Tensor, None]:
    """One layer of a denoising block; features [2, 1 + motion frames, positions, channels]."""
    x = block.resnets[index](x, temb)
    if hasattr(block, "attentions"):
        assert features is not None
        x = _spatial(block.attentions[index], x, features, conditions)
        x = _audio(block.audio_modules[index], x, conditions.masks[block.level], conditions)
    if hasattr(block, "motion_modules"):
        x = _motion(block.motion_modules[index], x, features, conditions.n_frames)
    return x, None


def _attend(layer: Attention, x: Tensor, tokens: Tensor) -> Tensor:
    return layer(x, layer.project(tokens))


def _spatial(module: SpatialTransformer, x: Tensor, features: Tensor, conditions: PlainConditions) -> Tensor:
    n_frames, block = conditions.n_frames, module.block
    tokens = module.enter(x)
    normed = block.norm1(tokens)
    portrait = features[conditions.reference_rows, 0]
    found = _attend(block.attn1, normed, torch.cat([normed, portrait], 1))
    found[:n_frames] = _attend(block.attn1, normed[:n_frames], normed[:n_frames])
    tokens = tokens + found
    if conditions.identity is not None:
        identity = conditions.identity.repeat_interleave(n_frames, 0)
        tokens = tokens + _attend(block.attn2, block.norm2(tokens), identity)
    return module.leave(tokens + block.ff(block.norm3(tokens)), x)


def _audio(module: AudioTransformer, x: Tensor, masks: Tensor, conditions: PlainConditions) -> Tensor:
    block = module.transformer_blocks[0]
    audio = torch.cat([torch.zeros_like(conditions.audio), conditions.audio])
    tokens = module.enter(x)
    normed = block.norm1(tokens)
    tokens = tokens + _attend(block.attn1, normed, normed)
    y = block.norm2(tokens)
    zeros = (block.zero_conv_full, block.zero_conv_face, block.zero_conv_lip)
    for k, (layer, zero) in enumerate(zip(block.regional, zeros, strict=True)):
        found = _attend(layer, y, audio) * masks[:, :, k, None]
        tokens = tokens + conditions.region_weights[k] * pointwise(zero, found)
    return module.leave(tokens + block.ff(block.norm3(tokens)), x)


def _motion(module: MotionModule, x: Tensor, features: Tensor | None, n_frames: int) -> Tensor:
    inner, block = module.temporal_transformer, module.temporal_transformer.transformer_blocks[0]
    clip, first = x.unflatten(0, (-1, n_frames)), module.first_position
    if features is not None:
        motion = features[:, 1:].flatten(0, 1)
        maps = as_maps(motion, x).unflatten(0, (features.shape[0], -1))
        clip, first = torch.cat([maps, clip], 1), 0
    n_rows = clip.shape[1]
    residual = clip.flatten(0, 1)
    tokens = inner.proj_in(inner.norm(residual).flatten(2).transpose(1, 2))
    n_positions = tokens.shape[1]
    tokens = tokens.unflatten(0, (-1, n_rows)).transpose(1, 2).flatten(0, 1)
    for norm, layer in zip(block.norms, block.attention_blocks, strict=True):
        z = norm(tokens) + layer.pos_encoder.pe[:, first : first + n_rows].to(tokens.dtype)
        tokens = tokens + _attend(layer, z, z)
    tokens = inner.proj_out(tokens + block.ff(block.ff_norm(tokens)))
    tokens = tokens.unflatten(0, (-1, n_positions)).transpose(1, 2).flatten(0, 1)
    mixed = (residual + as_maps(tokens, x)).unflatten(0, (-1, n_rows))
    return mixed[:, n_rows - n_frames :].flatten(0, 1)
