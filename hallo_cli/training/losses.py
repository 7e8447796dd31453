"""Computes the loss of a batch: noise, dropped conditions, the forward pass, the weighted errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hallo_cli.inference.thinning import thinned
from hallo_cli.models import compat
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.training import objective
from hallo_cli.training.config import ObjectiveSettings, Stage
from hallo_cli.training.dataset import Batch
from hallo_cli.training.decoding import Decoding
from hallo_cli.training.forward import Conditions, box_regions, make_conditions
from hallo_cli.training.objective import NoisyLatents

Predict = Callable[[Tensor, Tensor, Conditions], Tensor]
OUTSIDE_LIPS = 0.15  # weight of the decoded window's pixels outside the lips


@dataclass(frozen=True)
class Losses:
    """What one batch gave; scalars."""

    total: Tensor
    velocity: Tensor
    pixels: Tensor


class LossFunction:
    """The objective of one run. `decoding` is needed where losses or thinning look at pixels."""

    def __init__(
        self, settings: ObjectiveSettings, network: NetworkConfig, stage: Stage, decoding: Decoding | None
    ) -> None:
        self.settings, self.network, self.stage, self.decoding = settings, network, stage, decoding
        self.has_audio = stage == "stage2" if settings.audio is None else settings.audio
        self.schedule = objective.alphas_cumprod(compat.beta_schedule(network, training=True))

    def __call__(self, predict: Predict, batch: Batch, generator: torch.Generator) -> Losses:
        """The losses of a batch; everything random comes from the generator, on the batch's device."""
        clean = batch.latents
        noisy = objective.add_noise(
            clean,
            self.schedule.to(clean.device),
            settings=self.settings,
            stage=self.stage,
            generator=generator,
        )
        batch = self._with_rough_motion(batch, generator)
        drops = objective.draw_drops(clean.shape[0], self.settings, self.stage, generator)
        conditions = make_conditions(batch, drops, self.network, has_audio=self.has_audio)
        flat = noisy.noisy.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        if flat.device.type == "cpu":
            # torch (2.13 at least) crashes in the backward pass of a group norm that learns while its input,
            # in channels_last, needs no gradient: as the first one behind frozen layers does.
            flat.requires_grad_(torch.is_grad_enabled())
        prediction = (
            predict(flat, noisy.timesteps.flatten(), conditions).float().unflatten(0, clean.shape[:2])
        )
        weights = objective.region_weights(noisy, batch.boxes, self.settings)
        velocity = objective.velocity_loss(prediction, noisy, self.settings, self.stage, weights)
        if self.settings.pixels.weight == 0:
            return Losses(velocity, velocity, torch.zeros_like(velocity))
        pixels = self._pixel_loss(prediction, noisy, batch, generator)
        return Losses(velocity + self.settings.pixels.weight * pixels, velocity, pixels)

    def _with_rough_motion(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch with its motion frames thinned and noised, where the settings want it."""
        motion = batch.motion
        if motion is None:
            return batch
        if self.settings.motion_thinning:
            motion = self._thinned(motion, batch.boxes, generator)
        schedule = self.schedule.to(motion.device)
        return replace(batch, motion=objective.roughened(motion, schedule, self.settings, generator))

    @torch.no_grad()
    def _thinned(self, motion: Tensor, boxes: Tensor, generator: torch.Generator) -> Tensor:
        """Decoded, greyed outside the face and encoded again; rendering's motion frames were decoded, too."""
        assert self.decoding is not None
        pictures = self.decoding.decode(motion.flatten(0, 1)).unflatten(0, motion.shape[:2])
        height, width = pictures.shape[-2:]
        drawn = torch.rand(len(boxes), height, width, generator=generator, device=generator.device)
        faces = box_regions(boxes[:, 0], height, width) > 0
        mask = (drawn < self.settings.motion_thinning)[:, None, None]
        greyed = thinned(pictures, mask, faces[:, None, None])
        return self.decoding.encode(greyed.flatten(0, 1)).to(motion.dtype).unflatten(0, motion.shape[:2])

    def _pixel_loss(
        self, prediction: Tensor, noisy: NoisyLatents, batch: Batch, generator: torch.Generator
    ) -> Tensor:
        """L1 of pixels and of their differences in a window around the lips, both sides decoded."""
        assert self.decoding is not None
        settings, (takes, frames) = self.settings.pixels, prediction.shape[:2]
        n_chosen = max(1, round(settings.share * takes * frames))
        order = torch.randperm(takes * frames, generator=generator, device=prediction.device)[:n_chosen]
        window = LipWindow.around(batch, settings.window, order // frames)
        predicted = noisy.clean_from(prediction).flatten(0, 1)[order]
        with torch.no_grad():
            target = self.decoding.decode(window.crop(noisy.clean.flatten(0, 1)[order]))
        error = self.decoding.decode(window.crop(predicted)).float() - target.float()
        weights = window.pixel_weights(error.shape[-2:])
        loss = (error.abs() * weights).mean()
        for axis in (-1, -2):
            difference = error.diff(dim=axis).abs()
            size = weights.shape[axis] - 1
            loss = loss + settings.gradient * (difference * weights.narrow(axis, 1, size)).mean()
        return loss


@dataclass(frozen=True)
class LipWindow:
    """A window of one size around each row's lips."""

    rows: Tensor  # [n, height] latent rows
    columns: Tensor  # [n, width]
    lips: Tensor  # [n, 4] lip region relative to the window, 0..1

    @classmethod
    def around(cls, batch: Batch, size: tuple[int, int], takes: Tensor) -> LipWindow:
        """Windows of `size` (height, width) latents for the rows of `takes` [n]."""
        height, width = batch.latents.shape[-2:]
        region = objective.lip_region(batch.boxes[:, 1], batch.boxes[:, 2])[takes]
        scale = torch.tensor([width, height, width, height], device=region.device)
        cells = region * scale
        wanted = min(size[0], height), min(size[1], width)
        top = ((cells[:, 1] + cells[:, 3] - wanted[0]) / 2).round().long().clamp(0, height - wanted[0])
        left = ((cells[:, 0] + cells[:, 2] - wanted[1]) / 2).round().long().clamp(0, width - wanted[1])
        origin = torch.stack([left, top, left, top], 1)
        extent = torch.tensor([wanted[1], wanted[0], wanted[1], wanted[0]], device=region.device)
        return cls(
            top[:, None] + torch.arange(wanted[0], device=region.device),
            left[:, None] + torch.arange(wanted[1], device=region.device),
            (cells - origin) / extent,
        )

    def crop(self, maps: Tensor) -> Tensor:
        """[n, channels, height, width] -> the windows, channels last."""
        index = torch.arange(maps.shape[0], device=maps.device)[:, None, None]
        return maps[index, :, self.rows[:, :, None], self.columns[:, None, :]].permute(0, 3, 1, 2)

    def pixel_weights(self, size: torch.Size) -> Tensor:
        """[n, 1, height, width]: one on the lips, little around them."""
        return OUTSIDE_LIPS + objective.soft_box(self.lips, size[0], size[1], softness=0.02)[:, None]
