"""The autoencoder of a run: decodes latents for losses and validation, encodes thinned motion frames."""

from __future__ import annotations

import torch
from accelerate import Accelerator
from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.models.anchored import Anchor
from hallo_cli.models.autoencoder import Autoencoder
from hallo_cli.models.weights import Networks
from hallo_cli.training.config import RunSettings, TrainingConfig
from hallo_cli.training.dataset import Batch
from hallo_cli.training.partitioned import autocast


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
            return self._vae.encode_mean(pictures.contiguous(memory_format=torch.channels_last))

    def _anchor(self, batch: Batch, n_rows: int) -> Anchor | None:
        """What the autoencoder knows of the portraits, a row for each of the batch's frames."""
        if batch.pixels is None:
            return None
        anchor = self._vae.anchor(batch.pixels.permute(0, 3, 1, 2).float() / 127.5 - 1)
        takes = len(batch.pixels)
        return anchor and anchor.rows(torch.arange(takes).repeat_interleave(n_rows // takes))


def decoding_of(config: TrainingConfig, networks: Networks, accelerator: Accelerator) -> Decoding | None:
    """The decoding of a run, None where nothing needs it. Raises SettingsError where it cannot be had."""
    objective = config.objective
    in_losses = bool(objective.pixels.weight or objective.motion_thinning)
    if not (in_losses or config.run.render_every):
        return None
    if config.start.vae is None and config.start.bundle is None:
        raise SettingsError(
            "objective.pixels.weight, objective.motion_thinning and run.render_every need the "
            "autoencoder's weights: give start.vae"
        )
    if in_losses and networks.config.is_anchored:
        raise SettingsError(
            "objective.pixels.weight and objective.motion_thinning: latents of an anchored autoencoder "
            "cannot be decoded by themselves. Leave them 0."
        )
    return Decoding(networks.vae, accelerator, config.run)
