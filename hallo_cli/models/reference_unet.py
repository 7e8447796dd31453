"""The reference UNet (Hallo, section 3.2): a picture's features for every spatial transformer.

What comes after its last feature has no effect on them and is neither built nor run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hallo_cli.models.attention import TokenAttention
from hallo_cli.models.blocks import Block, BlockPlan, UNet
from hallo_cli.models.context import PerLayer
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import FeatureTap, SpatialTransformer


class ReferenceBlock(Block):
    """Resnets and, where the level has attention, spatial transformers."""

    def __init__(self, plan: BlockPlan, config: NetworkConfig) -> None:
        super().__init__(plan, config)
        if plan.has_attention:
            self.attentions: Any = nn.ModuleList(
                [SpatialTransformer(x.out_channels, config) for x in plan.layers]
            )

    attentions: Any

    def layer(self, index: int, x: Tensor, temb: Tensor, condition: Any, shared: Any) -> tuple[Tensor, Any]:
        """`condition` is the identity; gives the layer's feature [rows, positions, channels]."""
        x = self.resnets[index](x, temb)
        if not hasattr(self, "attentions"):
            return x, None
        attention = self.attentions[index]
        if isinstance(attention, FeatureTap):
            return x, attention(x)
        return attention(x, None, condition)


class ReferenceUNet(UNet):
    """Latents of pictures -> their reference features."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(
            config, lambda plan: ReferenceBlock(plan, config), in_channels=config.reference_channels
        )
        self.n_unread = 0  # layers that are not built
        while not hasattr(self.up_blocks[-1], "attentions"):
            self.n_unread += self.up_blocks[-1].n_layers
            del self.up_blocks[-1]
        last = self.up_blocks[-1]
        last.attentions[-1] = FeatureTap(last.resnets[-1].out_channels, config)
        if hasattr(last, "upsamplers"):
            del last.upsamplers

    def project_identity(self, tokens: Tensor) -> PerLayer[TokenAttention]:
        """Identity tokens [rows, tokens, cross_dim] for `forward`; constant for a portrait."""
        return self.per_layer("attentions", lambda module: module.project_identity(tokens))

    def forward(self, latents: Tensor, identity: PerLayer[TokenAttention] | None) -> PerLayer[Tensor]:
        """Inputs [rows, reference channels, height, width] -> features [rows, positions, channels].

        `identity` has a row for each picture; None for models without identity tokens. The timestep is 0.
        """
        identity = identity or self.by_level([None] * len(self.down_blocks))
        temb = self.embed_time(torch.zeros(1, device=latents.device))
        _, features = self.walk(self.conv_in(latents), temb, identity)
        return PerLayer(features.values + (None,) * self.n_unread)
