"""The objective: v-prediction over a zero-terminal-SNR schedule, its weights, and dropped conditions.

Free functions of tensors. Randomness comes from the generator that is passed in, so a step can be repeated.
Sources: zero terminal SNR and v-prediction, arXiv 2305.08891 and 2202.00512; min-SNR, arXiv 2303.09556.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from hallo_cli.training.config import DropSettings, ObjectiveSettings, Stage

N_TIMESTEPS = 1000
MAX_SNR_DIVISOR = 1e-8


@dataclass(frozen=True)
class NoisyLatents:
    """A batch between data and noise. All [takes, frames, channels, height, width] but the timesteps."""

    clean: Tensor
    noise: Tensor
    timesteps: Tensor  # [takes, frames] whole numbers
    alphas_cumprod: Tensor  # [takes, frames, 1, 1, 1] at the timesteps

    @property
    def noisy(self) -> Tensor:
        """What the network sees."""
        return self.alphas_cumprod.sqrt() * self.clean + (1 - self.alphas_cumprod).sqrt() * self.noise

    @property
    def velocity(self) -> Tensor:
        """The target, the v of v-prediction (arXiv 2202.00512, section 2.4)."""
        return self.alphas_cumprod.sqrt() * self.noise - (1 - self.alphas_cumprod).sqrt() * self.clean


@dataclass(frozen=True)
class Drops:
    """Conditions left out of this batch. Image drops take the first takes, which are as random as any."""

    n_image: int
    identity: Tensor  # bool [takes]
    audio: Tensor  # bool [takes]
    motion: Tensor  # bool [takes]


def alphas_cumprod(schedule: Literal["linear", "scaled_linear"]) -> Tensor:
    """Cumulated alphas [1000] (betas 0.00085-0.012) at zero terminal SNR (arXiv 2305.08891, algorithm 1)."""
    power = 0.5 if schedule == "scaled_linear" else 1.0
    betas = torch.linspace(0.00085**power, 0.012**power, N_TIMESTEPS, dtype=torch.float64) ** (1 / power)
    root = (1 - betas).cumprod(0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return (root**2).float()


def draw_timesteps(settings: ObjectiveSettings, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Whole timesteps. few_step serves models that are sampled in a few steps."""
    device = generator.device
    if settings.timesteps == "uniform":
        return torch.randint(0, N_TIMESTEPS, shape, generator=generator, device=device)
    middle = torch.randint(*settings.middle_timesteps, shape, generator=generator, device=device)
    is_last = torch.rand(shape, generator=generator, device=device) < settings.last_share
    return torch.where(is_last, N_TIMESTEPS - 1, middle)


def draw_noise(latents: Tensor, settings: ObjectiveSettings, generator: torch.Generator) -> Tensor:
    """Noise for [takes, frames, ...], with the offset of https://www.crosslabs.org/blog/diffusion-with-offset-noise."""
    takes, frames, channels = latents.shape[:3]
    shape = (takes, 1 if settings.shared_noise else frames, *latents.shape[2:])
    noise = torch.randn(shape, generator=generator, device=latents.device).expand(latents.shape)
    if settings.noise_offset:
        offset = torch.randn(takes, 1, channels, 1, 1, generator=generator, device=latents.device)
        noise = noise + settings.noise_offset * offset
    return noise


def add_noise(
    clean: Tensor, schedule: Tensor, *, settings: ObjectiveSettings, stage: Stage, generator: torch.Generator
) -> NoisyLatents:
    """Draw timesteps (one a frame in stage 1, one a clip in stage 2) and noise."""
    takes, frames = clean.shape[:2]
    noise = draw_noise(clean, settings, generator)
    drawn = draw_timesteps(settings, (takes, frames if stage == "stage1" else 1), generator)
    timesteps = drawn.expand(takes, frames)
    return NoisyLatents(clean, noise, timesteps, schedule[timesteps][..., None, None, None])


def roughened(
    latents: Tensor, schedule: Tensor, settings: ObjectiveSettings, draw: torch.Generator
) -> Tensor:
    """Motion frames' latents [takes, frames, ...] with a little noise, as much in all of a take's."""
    if not settings.motion_timesteps:
        return latents
    shape = (latents.shape[0], 1)
    drawn = torch.randint(0, settings.motion_timesteps, shape, generator=draw, device=latents.device)
    alphas = schedule[drawn][..., None, None, None]
    return alphas.sqrt() * latents + (1 - alphas).sqrt() * draw_noise(latents, settings, draw)


def draw_drops(n_takes: int, settings: ObjectiveSettings, stage: Stage, generator: torch.Generator) -> Drops:
    """Which conditions are left out: one draw for the whole batch officially, one a take otherwise."""
    drops: DropSettings = settings.drops
    n_draws = 1 if settings.compat == "official" else n_takes
    chances = torch.tensor([drops.image, drops.identity, drops.audio, drops.motion])
    drawn = torch.rand(4, n_draws, generator=generator, device=generator.device).cpu() < chances[:, None]
    image, identity, audio, motion = drawn.expand(4, n_takes)
    n_image = int(image.sum())
    if stage == "stage1":  # the unconditional picture has no identity either
        identity = identity | (torch.arange(n_takes) < n_image)
    return Drops(n_image, identity, audio, motion)


def timestep_weights(settings: ObjectiveSettings, alphas: Tensor) -> Tensor:
    """Loss weight at each cumulated alpha.

    min_snr: min(SNR + 1, clamp) / (SNR + 1), as the published training computes it for v-prediction.
    x0: 1 - a, which makes the velocity's error that of the clean latents.
    """
    if settings.weighting == "none":
        return torch.ones_like(alphas)
    if settings.weighting == "x0":
        return 1 - alphas
    shifted = alphas / (1 - alphas).clamp(min=MAX_SNR_DIVISOR) + 1
    return shifted.clamp(max=settings.snr_clamp) / shifted


def velocity_loss(
    prediction: Tensor,
    noisy: NoisyLatents,
    settings: ObjectiveSettings,
    stage: Stage,
    region_weights: Tensor | None = None,
) -> Tensor:
    """The weighted mean squared error of the velocity; region_weights [takes, frames | 1, height, width].

    Officially stage 2 averages the error over the whole batch before the timesteps' weights multiply it.
    """
    error = (prediction.float() - noisy.velocity) ** 2
    if region_weights is not None:
        error = error * region_weights.unsqueeze(2)
    weights = timestep_weights(settings, noisy.alphas_cumprod.flatten(2)[..., 0])
    if settings.compat == "official" and stage == "stage2":
        return error.mean() * weights.mean()
    return (error.mean((2, 3, 4)) * weights).mean()


def region_weights(noisy: NoisyLatents, boxes: Tensor, settings: ObjectiveSettings) -> Tensor | None:
    """Weights of the errors by place: [takes, frames | 1, height, width], or None if all are equal.

    boxes [takes, 3, 4] as in Batch.
    """
    height, width = noisy.clean.shape[-2:]
    weights = None
    if settings.regions is not None:
        face, lips = boxes[:, 1], boxes[:, 2]
        everywhere, lower, lip, eyes = settings.regions
        grid = (height, width)
        weights = everywhere + lower * soft_box(lower_face(face, lips), *grid, softness=0.01)
        weights = weights + lip * soft_box(lip_region(face, lips), *grid, softness=0.015)
        weights = (weights + eyes * soft_box(eye_region(face), *grid, softness=0.015))[:, None]
    if settings.change_weight:
        change = noisy.clean.abs().mean(2)
        change = settings.change_weight * change / change.mean().clamp(min=1e-6)
        weights = change + (1 if weights is None else weights)
    return weights


def lower_face(face: Tensor, lips: Tensor) -> Tensor:
    """Below the nose, cheek to cheek, and a little under the chin: boxes [takes, 4] in 0..1."""
    left, top, right, bottom = face.unbind(1)
    width, height = right - left, bottom - top
    upper = torch.minimum(top + 0.60 * height, lips[:, 1] - 0.06 * height)
    under = (bottom + 0.10 * height).clamp(max=0.995)
    return torch.stack([left + 0.04 * width, upper, right - 0.04 * width, under], 1)


def lip_region(face: Tensor, lips: Tensor) -> Tensor:
    """The lips with room to open: boxes [takes, 4] in 0..1."""
    face_height = face[:, 3] - face[:, 1]
    width, height = lips[:, 2] - lips[:, 0], lips[:, 3] - lips[:, 1]
    x, y = (lips[:, 0] + lips[:, 2]) / 2, (lips[:, 1] + lips[:, 3]) / 2
    upper, under = 0.10 * face_height + 0.5 * height, 0.20 * face_height + 0.3 * height
    return torch.stack([x - 0.85 * width, y - upper, x + 0.85 * width, y + under], 1)


def eye_region(face: Tensor) -> Tensor:
    """Both eyes with their lids: boxes [takes, 4] in 0..1."""
    left, top, right, bottom = face.unbind(1)
    width, height = right - left, bottom - top
    return torch.stack(
        [left + 0.08 * width, top + 0.22 * height, right - 0.08 * width, top + 0.46 * height], 1
    )


def soft_box(boxes: Tensor, height: int, width: int, *, softness: float) -> Tensor:
    """Boxes [takes, 4] as maps [takes, height, width] that fall off smoothly at the edges."""
    device = boxes.device
    x = (torch.arange(width, device=device) + 0.5) / width
    y = (torch.arange(height, device=device) + 0.5) / height
    left, top, right, bottom = (edge[:, None] for edge in boxes.unbind(1))
    across = torch.sigmoid((x - left) / softness) * torch.sigmoid((right - x) / softness)
    down = torch.sigmoid((y - top) / softness) * torch.sigmoid((bottom - y) / softness)
    return down[:, :, None] * across[:, None, :]
