"""Tries a run's networks while they train: losses, pictures, videos and speech, with the averaged weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.models.weights import Networks
from hallo_cli.training.acceleration import DTYPES, seeded
from hallo_cli.training.config import TrainingConfig
from hallo_cli.training.dataset import BatchSource
from hallo_cli.training.decoding import Decoding
from hallo_cli.training.forward import TrainedNetworks
from hallo_cli.training.logs import Rendered, Spoken, Validated
from hallo_cli.training.losses import LossFunction
from hallo_cli.training.optimizer import MovingAverage
from hallo_cli.training.partitioned import autocast
from hallo_cli.training.spoken import SpokenPairs
from hallo_cli.training.validation import (
    Rendering,
    opening_correlation,
    render_takes,
    write_clip,
    write_sheet,
)

VALIDATION_SEED = 20_240_613


@dataclass(frozen=True)
class Trials:
    """What a run tries its networks on; the same takes, pairs and noise each time."""

    config: TrainingConfig
    accelerator: Accelerator
    networks: Networks
    module: TrainedNetworks  # of them
    losses: LossFunction
    average: MovingAverage | None
    held_out: BatchSource
    decoding: Decoding | None
    pairs: SpokenPairs | None  # None in all processes but the first

    @torch.no_grad()
    def validate(self, step: int) -> Validated:
        """The losses on held-out takes."""
        n_batches = max(1, len(self.held_out.takes) // self.config.data.takes)
        found = []
        with self._averaged():
            for number in range(n_batches):
                batch = self.held_out.batch(number).to(self.accelerator.device)
                generator = seeded(self.accelerator.device, VALIDATION_SEED, number)
                with autocast(self.accelerator, self.config.run):
                    found.append(self.losses(self.module, batch, generator))
        total, velocity, pixels = (
            torch.stack([getattr(one, name) for one in found]).mean().item()
            for name in ("total", "velocity", "pixels")
        )
        return Validated(step, total, velocity, pixels)

    def render(self, step: int) -> Iterator[Rendered | Spoken]:
        """Write what the networks make of held-out takes, then of the pairs of validation."""
        yield self._render_takes(step)
        if self.pairs is not None:
            yield self._speak(self.pairs, step)

    def _render_takes(self, step: int) -> Rendered:
        """Held-out takes: in `validation` a picture, and of clips a video."""
        assert self.decoding is not None
        batch = self.held_out.batch(0).to(self.accelerator.device)
        how = Rendering(
            self.module.config,
            self.losses.schedule,
            self.decoding.decode,
            self.losses.has_audio,
            self.config.run.render_steps,
        )
        generator = seeded(self.accelerator.device, VALIDATION_SEED, 0)
        with self._averaged(), autocast(self.accelerator, self.config.run):
            made, true = render_takes(self.module, batch, how, generator)
        sheet = self._place(step).with_suffix(".png")
        write_sheet(sheet, made, true)
        clip = sheet.with_suffix(".mp4") if self.losses.stage == "stage2" else None
        if clip is not None:
            write_clip(clip, made, true)
        return Rendered(step, sheet, clip, opening_correlation(made, true, FaceAnalyser()))

    def _speak(self, pairs: SpokenPairs, step: int) -> Spoken:
        """The pairs of validation: in `validation` a video each."""
        folder = self._place(step)
        with self._averaged():
            videos = pairs.render(self.networks, folder, DTYPES[self.config.run.mixed_precision])
        return Spoken(step, folder, len(videos))

    def _place(self, step: int) -> Path:
        return self.config.run.output / "validation" / f"step-{step:08d}"

    def _averaged(self) -> AbstractContextManager[None]:
        """Meanwhile the networks have the averaged weights, where an average is kept."""
        return nullcontext() if self.average is None else self.average.in_use()
