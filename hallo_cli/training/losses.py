"""Computes the loss of a batch: noise, dropped conditions, the forward pass, the weighted errors.

Latents are seen through the run's frozen autoencoder where motion frames are thinned, and in validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.inference.thinning import thinned
from hallo_cli.models import compat
from hallo_cli.models.anchored import Anchor
from hallo_cli.models.autoencoder import Autoencoder
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.models.weights import Networks
from hallo_cli.training import objective
from hallo_cli.training.acceleration import autocast
from hallo_cli.training.config import ObjectiveSettings, RunSettings, Stage, TrainingConfig
from hallo_cli.training.dataset import Batch
from hallo_cli.training.forward import Conditions, box_regions, make_conditions

Predict = Callable[[Tensor, Tensor, Conditions], Tensor]


class LossFunction:
    """The objective of one run. `decoding` is needed where motion frames are thinned."""

    def __init__(
        self, settings: ObjectiveSettings, network: NetworkConfig, stage: Stage, decoding: Decoding | None
    ) -> None:
        self.settings, self.network, self.stage, self.decoding = settings, network, stage, decoding
        self.has_audio = stage == "stage2" if settings.audio is None else settings.audio
        self.schedule = objective.alphas_cumprod(compat.beta_schedule(network, training=True))

    def __call__(self, predict: Predict, batch: Batch, generator: torch.Generator) -> Tensor:
        """The loss of a batch; everything random comes from the generator, on the batch's device."""
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
        return objective.velocity_loss(prediction, noisy, self.settings, self.stage, weights)

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


class Decoding:
    """A frozen autoencoder on the run's device, in its number format."""

    def __init__(self, vae: Autoencoder, accelerator: Accelerator, run: RunSettings) -> None:
        vae.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._vae, self._accelerator, self._run = vae, accelerator, run

    def decode(self, latents: Tensor, batch: Batch | None = None) -> Tensor:
        """Latents [rows, channels, height, width], of a batch's takes if it is given -> pictures in -1..1."""
        with autocast(self._accelerator, self._run):
            anchor = None if batch is None else self._anchor(batch, len(latents))
            return self._vae.decode(latents.contiguous(memory_format=torch.channels_last), anchor)

    def encode(self, pictures: Tensor) -> Tensor:
        """The inverse, for autoencoders without an anchor."""
        with autocast(self._accelerator, self._run):
            return self._vae.encode(pictures.contiguous(memory_format=torch.channels_last)).mean

    def _anchor(self, batch: Batch, n_rows: int) -> Anchor | None:
        """What the autoencoder knows of the portraits, a row for each of the batch's frames."""
        if batch.pixels is None:
            return None
        anchor = self._vae.anchor(batch.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        takes = len(batch.pixels)
        return anchor and anchor.rows(torch.arange(takes).repeat_interleave(n_rows // takes))


def decoding_of(config: TrainingConfig, networks: Networks, accelerator: Accelerator) -> Decoding | None:
    """The decoding of a run, None where nothing needs it. Raises SettingsError where it cannot be had."""
    is_thinned = bool(config.objective.motion_thinning)
    if not (is_thinned or config.run.render_every):
        return None
    if config.start.vae is None and config.start.bundle is None:
        raise SettingsError(
            "objective.motion_thinning and run.render_every need the autoencoder's weights: give start.vae"
        )
    if is_thinned and networks.config.is_anchored:
        raise SettingsError(
            "objective.motion_thinning: latents of an anchored autoencoder cannot be decoded by themselves. "
            "Leave it 0."
        )
    return Decoding(networks.vae, accelerator, config.run)
