"""Tries a run's networks while they train: loss, pictures, videos and speech, with the averaged weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.domain import Bytes
from hallo_cli.media.image import write_png
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.models.weights import Networks
from hallo_cli.store.writing import make_folder
from hallo_cli.training.acceleration import DTYPES, autocast, seeded
from hallo_cli.training.config import TrainingConfig
from hallo_cli.training.dataset import Batch, BatchSource
from hallo_cli.training.footage import FPS
from hallo_cli.training.forward import TrainedNetworks, make_conditions
from hallo_cli.training.logs import Rendered, Spoken, Validated
from hallo_cli.training.losses import Decoding, LossFunction, Predict
from hallo_cli.training.objective import N_TIMESTEPS, Drops
from hallo_cli.training.optimizer import MovingAverage
from hallo_cli.training.spoken import SpokenPairs

VALIDATION_SEED = 20_240_613
MIN_MEASURED = 8  # frames with a face on both sides, for a correlation to mean anything


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
    pairs: SpokenPairs | None  # None in all processes but the first

    @torch.no_grad()
    def validate(self, step: int) -> Validated:
        """The loss on held-out takes."""
        n_batches = max(1, len(self.held_out.takes) // self.config.data.takes)
        found = []
        with self._averaged():
            for number in range(n_batches):
                batch = self.held_out.batch(number).to(self.accelerator.device)
                generator = seeded(self.accelerator.device, VALIDATION_SEED, number)
                with autocast(self.accelerator, self.config.run):
                    found.append(self.losses(self.module, batch, generator))
        return Validated(step, torch.stack(found).mean().item())

    def render(self, step: int) -> Iterator[Rendered | Spoken]:
        """Write what the networks make of held-out takes, then of the pairs of validation."""
        yield self._render_takes(step)
        if self.pairs is not None:
            yield self._speak(self.pairs, step)

    def _render_takes(self, step: int) -> Rendered:
        """Held-out takes: in `validation` a picture, and of clips a video."""
        batch = self.held_out.batch(0).to(self.accelerator.device)
        generator = seeded(self.accelerator.device, VALIDATION_SEED, 0)
        steps = self.config.run.render_steps
        with self._averaged(), autocast(self.accelerator, self.config.run):
            made, true = render_takes(self.losses, self.module, batch, steps, generator)
        sheet = self._place(step).with_suffix(".png")
        make_folder(sheet.parent)
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


@torch.no_grad()
def render_takes(
    losses: LossFunction, predict: Predict, batch: Batch, steps: int, generator: torch.Generator
) -> tuple[Bytes, Bytes]:
    """The batch's frames as the networks make them, and as they were: [takes, frames, height, width, 3].

    What they were is decoded too, so that both sides have been through the autoencoder.
    """
    assert losses.decoding is not None
    sampled = _sampled(losses, predict, batch, steps, generator)
    made, true = (_pictures(losses.decoding, latents, batch) for latents in (sampled, batch.latents))
    return made, true


def _sampled(
    losses: LossFunction, predict: Predict, batch: Batch, steps: int, generator: torch.Generator
) -> Tensor:
    """The batch's latents as the networks make them: [takes, frames, channels, height, width].

    DDIM without guidance, from the same noise in all frames where the model is sampled so.
    """
    takes, frames, *shape = batch.latents.shape
    nothing = torch.zeros(takes, dtype=torch.bool)
    drops = Drops(0, nothing, nothing, nothing)
    conditions = make_conditions(batch, drops, losses.network, has_audio=losses.has_audio)
    n_noises = 1 if losses.network.noise == "per_job" else frames
    noise = torch.randn((takes, n_noises, *shape), generator=generator, device=batch.latents.device)
    x = noise.expand(batch.latents.shape).flatten(0, 1)
    times = [round(N_TIMESTEPS * (1 - k / steps)) - 1 for k in range(steps)]
    alphas = [*(float(losses.schedule[t]) for t in times), 1.0]
    for time, (a, following) in zip(times, itertools.pairwise(alphas), strict=True):
        v = predict(x, torch.full((takes * frames,), time, device=x.device), conditions).float()
        clean, noisy = a**0.5 * x - (1 - a) ** 0.5 * v, a**0.5 * v + (1 - a) ** 0.5 * x
        x = following**0.5 * clean + (1 - following) ** 0.5 * noisy
    return x.unflatten(0, (takes, frames))


def opening_correlation(made: Bytes, true: Bytes, analyser: FaceAnalyser) -> float | None:
    """The correlation of the mouth's opening in rendered and true frames; None: too few faces."""
    pairs = []
    for ours, theirs in zip(made, true, strict=True):
        measured = [(_opening(a, analyser), _opening(b, analyser)) for a, b in zip(ours, theirs, strict=True)]
        values = np.array([pair for pair in measured if None not in pair], np.float64).reshape(-1, 2)
        pairs.append(values - values.mean(axis=0) if len(values) else values)
    both = np.concatenate(pairs)
    if len(both) < MIN_MEASURED or (both.std(axis=0) < 1e-6).any():
        return None
    return float(np.corrcoef(both[:, 0], both[:, 1])[0, 1])


def write_sheet(path: Path, made: Bytes, true: Bytes) -> None:
    """A picture with two rows a take: the frames as they were, and as rendered."""
    rows = [np.concatenate(list(frames), 1) for take in zip(true, made, strict=True) for frames in take]
    write_png(path, np.concatenate(rows, 0))


def write_clip(path: Path, made: Bytes, true: Bytes) -> None:
    """A video: the takes side by side, above as they were, below as rendered. Raises EncoderError."""
    frames = np.concatenate([np.concatenate(list(side), 2) for side in (true, made)], 1)
    height, width = (length - length % 2 for length in frames.shape[1:3])
    with SegmentWriter(path, VideoFormat(width, height, FPS)) as writer:
        writer.write(frames[:, :height, :width])
        writer.commit()


def _opening(frame: Bytes, analyser: FaceAnalyser) -> float | None:
    faces = analyser.detect(frame)
    return faces[0].mouth_opening if faces else None


def _pictures(decoding: Decoding, latents: Tensor, batch: Batch) -> Bytes:
    takes, frames = latents.shape[:2]
    decoded = decoding.decode(latents.flatten(0, 1), batch).float()
    levels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pictures: Bytes = levels.permute(0, 2, 3, 1).unflatten(0, (takes, frames)).cpu().numpy()
    return pictures
