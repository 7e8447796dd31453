"""Renders held-out takes with the networks in training: pictures to look at, and mouth correlation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hallo_cli.analysis.face import FaceAnalyser
from hallo_cli.domain import Bytes
from hallo_cli.media.image import write_png
from hallo_cli.media.video import SegmentWriter
from hallo_cli.media.video_format import VideoFormat
from hallo_cli.models.network_config import NetworkConfig
from hallo_cli.store.writing import make_folder
from hallo_cli.training.dataset import Batch
from hallo_cli.training.footage import FPS
from hallo_cli.training.forward import Conditions, make_conditions
from hallo_cli.training.objective import N_TIMESTEPS, Drops

MIN_MEASURED = 8  # frames with a face on both sides, for a correlation to mean anything


@dataclass(frozen=True)
class Rendering:
    """How held-out takes are sampled."""

    network: NetworkConfig
    schedule: Tensor  # [1000] cumulated alphas the networks are trained with
    decode: Callable[[Tensor, Batch], Tensor]  # latents [rows, ...] of a batch's takes -> pictures
    has_audio: bool
    steps: int


@torch.no_grad()
def render_takes(
    predict: Callable[[Tensor, Tensor, Conditions], Tensor],
    batch: Batch,
    rendering: Rendering,
    generator: torch.Generator,
) -> tuple[Bytes, Bytes]:
    """The batch's frames as the networks make them, and as they were: [takes, frames, height, width, 3].

    What they were is decoded too, so that both sides have been through the autoencoder.
    """
    made = sample_takes(predict, batch, rendering, generator)
    return _pictures(rendering, made, batch), _pictures(rendering, batch.latents, batch)


@torch.no_grad()
def sample_takes(
    predict: Callable[[Tensor, Tensor, Conditions], Tensor],
    batch: Batch,
    rendering: Rendering,
    generator: torch.Generator,
) -> Tensor:
    """The batch's latents as the networks make them: [takes, frames, channels, height, width].

    DDIM without guidance, from the same noise in all frames where the model is sampled so.
    """
    takes, frames = batch.latents.shape[:2]
    nothing = torch.zeros(takes, dtype=torch.bool)
    conditions = make_conditions(
        batch, Drops(0, nothing, nothing, nothing), rendering.network, has_audio=rendering.has_audio
    )
    shape = batch.latents.shape
    is_shared = rendering.network.noise == "per_job"
    noise_shape = (takes, 1 if is_shared else frames, *shape[2:])
    noise = torch.randn(noise_shape, generator=generator, device=batch.latents.device)
    x = noise.expand(shape).flatten(0, 1)
    times = [round(N_TIMESTEPS * (1 - k / rendering.steps)) - 1 for k in range(rendering.steps)]
    alphas = [*(float(rendering.schedule[t]) for t in times), 1.0]
    for index, time in enumerate(times):
        steps = torch.full((takes * frames,), time, device=x.device)
        v = predict(x, steps, conditions).float()
        a, following = alphas[index], alphas[index + 1]
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
    make_folder(path.parent)
    write_png(path, np.concatenate(rows, 0))


def write_clip(path: Path, made: Bytes, true: Bytes) -> None:
    """A video: the takes side by side, above as they were, below as rendered. Raises EncoderError."""
    frames = np.concatenate([np.concatenate(list(side), 2) for side in (true, made)], 1)
    height, width = (length - length % 2 for length in frames.shape[1:3])
    make_folder(path.parent)
    with SegmentWriter(path, VideoFormat(width, height, FPS)) as writer:
        writer.write(frames[:, :height, :width])
        writer.commit()


def _opening(frame: Bytes, analyser: FaceAnalyser) -> float | None:
    faces = analyser.detect(frame)
    return faces[0].mouth_opening if faces else None


def _pictures(rendering: Rendering, latents: Tensor, batch: Batch) -> Bytes:
    takes, frames = latents.shape[:2]
    decoded = rendering.decode(latents.flatten(0, 1), batch).float()
    levels = ((decoded.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    pictures: Bytes = levels.permute(0, 2, 3, 1).unflatten(0, (takes, frames)).cpu().numpy()
    return pictures
