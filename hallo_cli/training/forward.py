"""One training pass through the networks: conditions as training makes them, without guidance.

The networks and the conventions around them are those of rendering; only what is left out (`Drops`) and the
order of work differ, because here gradients flow through everything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hallo_cli.inference import latents as conventions
from hallo_cli.models import compat
from hallo_cli.models.attention import KeyValue
from hallo_cli.models.context import AudioContext, ClipContext, PerLayer
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.spatial import SpatialTransformer
from hallo_cli.models.weights import Networks
from hallo_cli.training.dataset import Batch
from hallo_cli.training.objective import Drops


@dataclass(frozen=True)
class Conditions:
    """What the networks get besides noisy latents and timesteps. rows = takes * frames, take-major."""

    pictures: Tensor  # [takes, 1 + motion frames, channels, height, width] latents: portrait, motion frames
    located: Tensor  # [takes and more, 3, height, width] the face locator's pictures
    located_rows: Tensor  # [rows] which of them a row looks at
    masks: tuple[Tensor, ...]  # a level: [takes or rows, positions, 3]
    n_frames: int
    drops: Drops
    identity: Tensor | None = None  # [takes, width] zero where dropped
    audio: Tensor | None = None  # [rows, window, blocks, width]; None: the audio modules are not run


class TrainedNetworks(nn.Module):
    """The networks of one model as one module: what accelerate wraps and checkpoints hold.

    Its parameters have the names of the published file.
    """

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.config: NetworkConfig = networks.config
        self.reference_unet = networks.reference_unet
        self.denoising_unet = networks.denoising_unet
        self.face_locator = networks.face_locator
        self.imageproj = networks.image_projection
        self.audioproj = networks.audio_projection

    def forward(self, noisy: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """Noisy latents [rows, channels, height, width], timesteps [rows] -> v of the same shape."""
        unet, rows = self.denoising_unet, noisy.shape[0]
        takes = rows // conditions.n_frames
        tokens = None
        if self.imageproj is not None and conditions.identity is not None:
            tokens = self.imageproj(conditions.identity)
        features = self._features(conditions, tokens)
        reference, reference_rows = self._reference(features, conditions, takes)
        masks = tuple(_repeated(mask, rows) for mask in conditions.masks)
        context = ClipContext(
            layers=unet.layer_contexts(
                audio=self._audio(conditions, masks),
                reference=reference,
                identity=None if tokens is None else unet.project_identity(tokens),
                motion=self._motion(features, conditions, noisy),
            ),
            masks=masks,
            n_frames=conditions.n_frames,
            n_conditional=rows,
            reference_rows=reference_rows,
            face_features=self._face(conditions),
            runs_motion=conditions.pictures.shape[1] > 1,
        )
        return unet(noisy, timesteps, context)

    def _features(self, conditions: Conditions, tokens: Tensor | None) -> PerLayer[Tensor] | None:
        """Of portraits and motion frames [takes, 1 + motion frames, positions, channels].

        Without motion frames, takes whose image is dropped are left out. None if nothing is needed.
        """
        takes, n_images = conditions.pictures.shape[:2]
        first = conditions.drops.n_image if n_images == 1 or self._is_all_dropped(conditions) else 0
        if first == takes:
            return None
        identity = None
        if tokens is not None:
            rows = compat.identity_rows(self.config, takes, n_images)[first * n_images :]
            identity = self.reference_unet.project_identity(tokens[rows.to(tokens.device)])
        pictures = conditions.pictures[first:].flatten(0, 1)
        features: PerLayer[Tensor] = self.reference_unet(pictures, identity)
        return features.map(
            lambda feature: compat.stored_features(self.config, feature).unflatten(0, (-1, n_images))
        )

    def _is_all_dropped(self, conditions: Conditions) -> bool:
        """Whether the reference UNet does not run: officially not even for the motion frames."""
        is_all = conditions.drops.n_image == conditions.pictures.shape[0]
        return is_all and self.config.compat == "official"

    def _reference(
        self, features: PerLayer[Tensor] | None, conditions: Conditions, takes: int
    ) -> tuple[PerLayer[KeyValue] | None, Tensor | None]:
        n_image, n_frames = conditions.drops.n_image, conditions.n_frames
        if features is None or n_image == takes:
            return None, None
        rows = compat.reference_rows(self.config, takes, n_frames)[n_image * n_frames :]
        if features.known()[0].shape[0] < takes:
            rows = (rows - n_image) % (takes - n_image)
        portraits = features.map(lambda feature: feature[:, 0])
        return self.denoising_unet.project_reference(portraits), rows.to(conditions.pictures.device)

    def _motion(
        self, features: PerLayer[Tensor] | None, conditions: Conditions, noisy: Tensor
    ) -> PerLayer[Tensor] | None:
        takes, n_images = conditions.pictures.shape[:2]
        if n_images == 1:
            return None
        if features is None:
            features = self._absent_motion(takes, noisy)
            return None if features is None else self.denoising_unet.project_motion(features)
        return self.denoising_unet.project_motion(features.map(lambda feature: feature[:, 1:]))

    def _absent_motion(self, takes: int, noisy: Tensor) -> PerLayer[Tensor] | None:
        n_maps = compat.absent_motion_frames(self.config)
        if n_maps == 0:
            return None
        sizes = [noisy.shape[2:]]
        for _ in self.config.channels[1:]:
            sizes.append(torch.Size((n + 1) // 2 for n in sizes[-1]))

        def zeros(module: nn.Module, size: torch.Size) -> Tensor:
            assert isinstance(module, SpatialTransformer)
            return noisy.new_zeros(takes, n_maps, size.numel(), module.norm.num_channels)

        unet = self.denoising_unet
        return unet.per_layer("attentions", zeros, unet.by_level(sizes))

    def _face(self, conditions: Conditions) -> Tensor:
        features: Tensor = self.face_locator(conditions.located)[conditions.located_rows]
        if conditions.audio is None:
            return features
        return self.face_locator.controlled(features, conditions.audio, self.config)

    def _audio(self, conditions: Conditions, masks: tuple[Tensor, ...]) -> PerLayer[AudioContext] | None:
        if conditions.audio is None:
            return None
        tokens = self.audioproj(conditions.audio)
        silent = conditions.drops.audio.to(tokens.device).repeat_interleave(conditions.n_frames)
        tokens = torch.where(silent[:, None, None], torch.zeros_like(tokens), tokens)
        return self.denoising_unet.project_audio(tokens, masks, tokens.new_ones(3))


def make_conditions(batch: Batch, drops: Drops, config: NetworkConfig, *, has_audio: bool) -> Conditions:
    """The conditions of a batch, some of them left out."""
    n_frames = batch.latents.shape[1]
    pictures = conventions.reference_input(config, batch.reference)[:, None]
    if batch.motion is not None:
        pictures = torch.cat([pictures, _motion_frames(batch, drops, config)], 1)
    identity = batch.identity
    if identity is not None:
        identity = identity.masked_fill(drops.identity.to(identity.device)[:, None], 0)
    located, located_rows = _located(batch, config)
    return Conditions(
        pictures=pictures,
        located=located,
        located_rows=located_rows,
        masks=tuple(mask.flatten(2).transpose(1, 2) for mask in batch.masks),
        n_frames=n_frames,
        drops=drops,
        identity=identity,
        audio=batch.audio.flatten(0, 1) if has_audio else None,
    )


def _located(batch: Batch, config: NetworkConfig) -> tuple[Tensor, Tensor]:
    """The locator's pictures, one a take, and which of them a row looks at."""
    takes, n_frames = batch.latents.shape[:2]
    height, width = (n * config.latent_factor for n in batch.latents.shape[-2:])
    regions = box_regions(batch.boxes[:, 0], height, width)
    located = conventions.locator_input(config, batch.pixels, regions)
    return located, torch.arange(takes, device=located.device).repeat_interleave(n_frames)


def box_regions(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes [takes, 4] in 0..1 as maps [takes, height, width] of ones and zeros."""
    left, right = (boxes[:, [0, 2]] * width).round().unbind(1)
    top, bottom = (boxes[:, [1, 3]] * height).round().unbind(1)
    x, y = torch.arange(width, device=boxes.device), torch.arange(height, device=boxes.device)
    across = (x >= left[:, None]) & (x < right[:, None])
    down = (y >= top[:, None]) & (y < bottom[:, None])
    return (down[:, :, None] & across[:, None, :]).float()


def _motion_frames(batch: Batch, drops: Drops, config: NetworkConfig) -> Tensor:
    """Where dropped, as at a recording's start: officially grey, else the portrait as in rendering."""
    assert batch.motion is not None
    motion = conventions.reference_input(config, batch.reference[:, None], batch.motion)
    own = conventions.reference_input(config, batch.reference)[:, None]
    start = batch.grey if config.compat == "official" else own
    dropped = drops.motion.to(batch.motion.device)[:, None, None, None, None]
    return torch.where(dropped, start, motion)


def _repeated(values: Tensor, rows: int) -> Tensor:
    return values if values.shape[0] == rows else values.repeat_interleave(rows // values.shape[0], 0)
