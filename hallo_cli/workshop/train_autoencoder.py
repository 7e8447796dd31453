"""Trains the embedded autoencoder on crops of takes and of photographs.

Photographs and textures (any folder of pictures) keep real skin and hair inside what it can draw; the takes
teach it mouths. It knows nothing of diffusion and of speech.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hallo_cli.domain import Bytes, Float
from hallo_cli.errors import InputError
from hallo_cli.media.image import DECODING_ERRORS
from hallo_cli.models.autoencoder import TinyAutoencoder
from hallo_cli.training.takes import read_takes, shards_in

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AutoencoderTraining:
    """Settings of one training run."""

    steps: int = 3000
    batch_size: int = 16
    crop: int = 128  # pixels
    learning_rate: float = 1.2e-3
    latent_noise: float = 0.06  # the decoder must forgive what the denoiser gets slightly wrong
    gradient_weight: float = 0.7
    pooled_weight: float = 0.5
    lip_weight: float = 3.0
    photograph_share: float = 0.3
    frames_per_take: int = 3
    ema_decay: float = 0.99
    decoder_only: bool = False  # keep the latents as they are, for UNets that have learnt them
    compile: bool = False
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class Pictures:
    """What is trained on, decoded."""

    frames: list[Bytes]  # square frames of takes
    lips: list[Box]  # of each frame, pixels
    photographs: list[Bytes]


def read_pictures(takes: Path, photographs: Path, *, frames_per_take: int, limit: int, seed: int) -> Pictures:
    """Up to `limit` frames from the shards of `takes`, and all pictures of the folder `photographs`.

    Raises InputError where there are none, or one cannot be read.
    """
    rng = np.random.default_rng(seed)
    pairs = list(islice(_frames(takes, frames_per_take, rng), limit))
    paths = sorted(p for p in photographs.rglob("*") if p.suffix.lower() in _SUFFIXES)
    if not paths:
        raise InputError(f"{photographs} holds no photograph (.jpg, .png): give a folder of pictures")
    if not pairs:
        raise InputError(f"{takes} holds no take for training (split train): give a folder with some")
    pictures = [_decoded(path, str(path)) for path in paths]
    return Pictures([frame for frame, _ in pairs], [box for _, box in pairs], pictures)


def _frames(takes: Path, n_frames: int, rng: np.random.Generator) -> Iterator[tuple[Bytes, Box]]:
    for shard in shards_in(takes):
        for take in read_takes(shard):
            if take.info.split != "train":
                continue
            chosen = rng.choice(len(take.frames), min(n_frames, len(take.frames)), replace=False)
            for index in chosen:
                frame = _decoded(io.BytesIO(take.frames[index]), f"{shard}: a frame of take {take.key}")
                yield frame, take.info.lip_box


def _decoded(source: Path | io.BytesIO, name: str) -> Bytes:
    try:
        with Image.open(source) as picture:
            return np.asarray(picture.convert("RGB"))
    except DECODING_ERRORS as error:
        raise InputError(
            f"{name} is no picture that can be read ({error}): remove it or make it anew"
        ) from error


def random_batch(
    pictures: Pictures, training: AutoencoderTraining, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Crops [batch, 3, crop, crop] in -1..1 and how much each pixel counts [batch, 1, crop, crop]."""
    crops, weights = [], []
    for _ in range(training.batch_size):
        if rng.random() < training.photograph_share or not pictures.frames:
            photograph = pictures.photographs[rng.integers(len(pictures.photographs))]
            crop = _scaled_crop(photograph, training.crop, rng)
            weight = np.ones((training.crop, training.crop), np.float32)
        else:
            index = int(rng.integers(len(pictures.frames)))
            crop, weight = _face_crop(pictures.frames[index], pictures.lips[index], training, rng)
        crop = retouched(crop, rng)
        if rng.random() < 0.5:
            crop, weight = crop[:, ::-1], weight[:, ::-1]
        crops.append(crop.transpose(2, 0, 1))
        weights.append(weight[None])
    pixels = torch.from_numpy(np.stack(crops)).contiguous(memory_format=torch.channels_last)
    return pixels, torch.from_numpy(np.stack(weights))


def _scaled_crop(photograph: Bytes, size: int, rng: np.random.Generator) -> Float:
    """A square of random scale: some 1 to 4 source pixels a pixel, rarely magnified."""
    shortest = min(photograph.shape[:2])
    side = int(np.clip(size * 2 ** rng.uniform(-0.5, 2), size // 2, shortest))
    top, left = (int(rng.integers(0, length - side + 1)) for length in photograph.shape[:2])
    square = Image.fromarray(photograph[top : top + side, left : left + side])
    resampling = Image.Resampling.BOX if side > 2 * size else Image.Resampling.BICUBIC
    return np.asarray(square.resize((size, size), resampling), np.float32) / 127.5 - 1


def _face_crop(
    frame: Bytes, lips: Box, training: AutoencoderTraining, rng: np.random.Generator
) -> tuple[Float, Float]:
    size, room = training.crop, frame.shape[0] - training.crop
    weight = np.ones(frame.shape[:2], np.float32)
    left, top, right, bottom = lips
    margin = 0.2 * (right - left)
    rows = slice(max(0, int(top - margin / 2)), max(0, int(bottom + margin * 1.5)))
    columns = slice(max(0, int(left - margin)), max(0, int(right + margin)))
    weight[rows, columns] = training.lip_weight
    if rng.random() < 0.65:
        x = int(np.clip((left + right) / 2 - size / 2 + rng.integers(-30, 31), 0, room))
        y = int(np.clip((top + bottom) / 2 - size / 2 + rng.integers(-30, 31), 0, room))
    else:
        x, y = (int(v) for v in rng.integers(0, room + 1, 2))
    crop = frame[y : y + size, x : x + size].astype(np.float32) / 127.5 - 1
    return crop, weight[y : y + size, x : x + size]


def retouched(crop: Float, rng: np.random.Generator) -> Float:
    """`crop` [h, w, 3] in -1..1 with random tone, colour, blur or sharpness, and grain."""
    if rng.random() < 0.5:
        gain, shift = rng.uniform(0.6, 1.3, (1, 1, 3)), rng.uniform(-0.3, 0.3, (1, 1, 3))
        crop = (crop * gain + shift).astype(np.float32)
    if rng.random() < 0.15:
        crop = np.repeat(crop.mean(2, keepdims=True), 3, axis=2)
    if rng.random() < 0.3:
        soft = _blurred(crop)
        crop = crop + (crop - soft) * np.float32(rng.uniform(-0.9, 1.0))
    if rng.random() < 0.25:
        crop = crop + rng.standard_normal(crop.shape, np.float32) * np.float32(rng.uniform(0, 0.05))
    return np.clip(crop, -1, 1)


def _blurred(crop: Float) -> Float:
    padded = np.pad(crop, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return np.divide(rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:], 4, dtype=np.float32)


def reconstruction_loss(
    decoded: Tensor, pixels: Tensor, weight: Tensor, training: AutoencoderTraining
) -> Tensor:
    """Weighted L1 of pixels and of their differences to neighbours, and L1 of 4 x 4 means."""
    error = decoded - pixels
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    gradients = (across.abs() * weight[..., 1:]).mean() + (down.abs() * weight[..., 1:, :]).mean()
    return (
        (error.abs() * weight).mean()
        + training.gradient_weight * gradients
        + training.pooled_weight * F.avg_pool2d(error, 4).abs().mean()
    )


@dataclass(frozen=True)
class AutoencoderReport:
    """How training stands."""

    step: int
    steps: int
    psnr_db: float  # on the last batches, latent noise included
    latent_std: float
    elapsed_s: float


def train_autoencoder(
    vae: TinyAutoencoder,
    pictures: Pictures,
    training: AutoencoderTraining,
    *,
    on_report: Callable[[AutoencoderReport, TinyAutoencoder], None],
    report_every: int = 100,
) -> TinyAutoencoder:
    """Train `vae`; gives the moving average of its weights, its latents normalised.

    `decoder_only` leaves encoder and normalisation alone.
    """
    torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    vae.requires_grad_(True)  # weights that were read from a file come frozen
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list((vae.decoder if training.decoder_only else vae).parameters())
    optimizer = torch.optim.AdamW(parameters, training.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    average = torch.optim.swa_utils.AveragedModel(
        vae, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(training.ema_decay)
    )
    objective = _objective(vae, training)
    started, errors = time.monotonic(), [1.0]
    for step in range(training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.learning_rate * warmth(step / training.steps, step)
        pixels, weight = random_batch(pictures, training, rng)
        loss, squared_error, deviation = objective(pixels, weight)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update_parameters(vae)
        errors = [*errors[-50:], squared_error.item()]
        if (step + 1) % report_every == 0 or step + 1 == training.steps:
            psnr = 10 * float(np.log10(4 / np.mean(errors)))
            elapsed_s = time.monotonic() - started
            report = AutoencoderReport(step + 1, training.steps, psnr, deviation.item(), elapsed_s)
            on_report(report, _inner(average))
    trained = _inner(average)
    if not training.decoder_only:
        normalise_latents(trained, pictures.frames[:: max(1, len(pictures.frames) // 256)])
    return trained


def _inner(average: torch.optim.swa_utils.AveragedModel) -> TinyAutoencoder:
    assert isinstance(average.module, TinyAutoencoder)
    return average.module


def _objective(
    vae: TinyAutoencoder, training: AutoencoderTraining
) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    def objective(pixels: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            latents = vae.encode_mean(pixels)
            latents = latents.detach() if training.decoder_only else latents
            decoded = vae.decode(latents + torch.randn_like(latents) * training.latent_noise).float()
        small = latents.float().square().mean().clamp(min=1) * 1e-3
        loss = reconstruction_loss(decoded, pixels, weight, training) + small
        return loss, (decoded.detach() - pixels).square().mean(), latents.detach().float().std()

    return torch.compile(objective) if training.compile else objective


def warmth(share: float, step: int) -> float:
    """Share of the learning rate: 50 steps up, level for half of the run, then down to 3 %."""
    return min(1.0, (step + 1) / 50) * min(1.0, max(0.03, 2 - 2 * share))


@torch.no_grad()
def normalise_latents(vae: TinyAutoencoder, frames: Sequence[Bytes]) -> None:
    """Set the buffers of `vae` so that each latent channel has mean 0 and variance 1 over `frames`."""
    pixels = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float() / 127.5 - 1
    latents = torch.cat([vae.encode_mean(part) for part in pixels.split(16)])
    shape = vae.latent_mean.shape
    vae.latent_mean += latents.mean((0, 2, 3)).reshape(shape) * vae.latent_std
    vae.latent_std *= latents.std((0, 2, 3)).reshape(shape)


@torch.no_grad()
def round_trip_psnr(vae: TinyAutoencoder, picture: Bytes) -> float:
    """PSNR in dB of one picture [h, w, 3] against its decoded latents; h and w multiples of 8."""
    pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    decoded = vae.decode(vae.encode_mean(pixels)).clamp(-1, 1)
    return 10 * float(torch.log10(4 / (decoded - pixels).square().mean()))
