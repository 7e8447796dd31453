"""The denoising UNet (Hallo, figure 2): predicts v for the frames of a clip under its conditions.

Everything that does not change from step to step is projected beforehand by the `project_*` methods and comes
in as a `ClipContext`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hallo_cli.models.attention import KeyValue, TokenAttention
from hallo_cli.models.audio_attention import AudioTransformer
from hallo_cli.models.blocks import Block, BlockPlan, DeepFeatures, UNet
from hallo_cli.models.context import AudioContext, ClipContext, LayerContext, PerLayer, zip_layers
from hallo_cli.models.motion_module import MotionModule
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import SpatialTransformer


class DenoisingBlock(Block):
    """In each layer: resnet, spatial transformer, audio attention, motion module."""

    def __init__(self, plan: BlockPlan, config: NetworkConfig) -> None:
        super().__init__(plan, config)
        layers = plan.layers
        if plan.has_attention:
            self.attentions: Any = nn.ModuleList([SpatialTransformer(x.out_channels, config) for x in layers])
            self.audio_modules: Any = nn.ModuleList(
                [AudioTransformer(x.out_channels, x.audio_width, config) for x in layers]
            )
        if plan.has_motion:
            self.motion_modules: Any = nn.ModuleList([MotionModule(x.out_channels, config) for x in layers])

    def layer(self, index: int, x: Tensor, temb: Tensor, condition: Any, shared: Any) -> tuple[Tensor, None]:
        """`condition` is this layer's LayerContext, `shared` the ClipContext."""
        x = self.resnets[index](x, temb)
        if hasattr(self, "attentions"):
            reference = condition.reference
            if reference is not None:
                reference = reference.rows(shared.reference_rows)
            x, _ = self.attentions[index](x, reference, condition.identity)
            if condition.audio is not None:
                x = self.audio_modules[index](x, condition.audio, shared.masks[self.level])
        if hasattr(self, "motion_modules") and shared.runs_motion:
            x = self.motion_modules[index](x, condition.motion, shared.n_frames)
        return x, None


class DenoisingUNet(UNet):
    """Noisy latents and timestep -> v-prediction."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(
            config, lambda plan: DenoisingBlock(plan, config), in_channels=config.latent_channels
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, config.channels[0], eps=1e-5)
        self.conv_out = nn.Conv2d(config.channels[0], config.latent_channels, 3, padding=1)

    def project_reference(self, features: PerLayer[Tensor]) -> PerLayer[KeyValue]:
        """The portrait's features [rows, positions, channels] as keys and values; constant for a portrait."""
        return self.per_layer("attentions", SpatialTransformer.project_reference, features)

    def project_identity(self, tokens: Tensor) -> PerLayer[TokenAttention]:
        """Identity tokens [samples, tokens, cross_dim]; constant for a portrait."""
        return self.per_layer("attentions", lambda module: module.project_identity(tokens))

    def project_audio(
        self, tokens: Tensor, masks: Sequence[Tensor], weights: Tensor
    ) -> PerLayer[AudioContext]:
        """Audio tokens [conditional rows, tokens, audio_token_dim]; constant for a clip.

        masks as in ClipContext; weights [3]: how much the full (pose), face and lip attention count.
        """
        return self.per_layer(
            "audio_modules", lambda module, mask: module.project(tokens, mask, weights), self.by_level(masks)
        )

    @property
    def uses_motion(self) -> bool:
        """Whether a motion module adds anything: before stage 2 they all end in zeros."""
        outputs = (
            module.temporal_transformer.proj_out
            for module in self.modules()
            if isinstance(module, MotionModule)
        )
        return any(bool(output.weight.any()) or bool(output.bias.any()) for output in outputs)

    def project_motion(self, features: PerLayer[Tensor]) -> PerLayer[Tensor]:
        """Motion frames' features [samples, motion frames, positions, channels]; constant for a clip."""
        return self.per_layer("motion_modules", MotionModule.project, features)

    def layer_contexts(
        self,
        *,
        audio: PerLayer[AudioContext] | None = None,
        reference: PerLayer[KeyValue] | None = None,
        identity: PerLayer[TokenAttention] | None = None,
        motion: PerLayer[Tensor] | None = None,
    ) -> PerLayer[LayerContext]:
        """Each layer's conditions together; None leaves that condition out everywhere."""
        nothing: PerLayer[Any] = self.by_level([None] * len(self.down_blocks))
        return zip_layers(
            LayerContext, reference or nothing, identity or nothing, audio or nothing, motion or nothing
        )

    def forward(self, latents: Tensor, timesteps: Tensor, context: ClipContext) -> Tensor:
        """Latents [rows, channels, height, width] and timesteps [1 or rows] -> v of the latents' shape."""
        x, _ = self.walk(self._enter(latents, context), self.embed_time(timesteps), context.layers, context)
        return self._leave(x)

    def forward_keeping(
        self, latents: Tensor, timesteps: Tensor, context: ClipContext, n_layers: int
    ) -> tuple[Tensor, DeepFeatures]:
        """`forward`, and the deep layers' features for `forward_shallow`."""
        x = self._enter(latents, context)
        x, deep = self.walk_keeping(x, self.embed_time(timesteps), context.layers, context, n_layers)
        return self._leave(x), deep

    def forward_shallow(
        self, latents: Tensor, timesteps: Tensor, context: ClipContext, deep: DeepFeatures
    ) -> Tensor:
        """An approximation of `forward` near the step whose deep features are given."""
        x = self._enter(latents, context)
        return self._leave(self.walk_shallow(x, self.embed_time(timesteps), context.layers, context, deep))

    def _enter(self, latents: Tensor, context: ClipContext) -> Tensor:
        x = self.conv_in(latents)
        if context.face_features is None:
            return x
        n_plain = x.shape[0] - context.n_conditional
        located = x[n_plain:] + context.face_features
        return torch.cat([x[:n_plain], located]) if n_plain else located

    def _leave(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.conv_norm_out(x)))
