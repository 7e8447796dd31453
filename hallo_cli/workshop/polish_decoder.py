"""Polishes the decoder of the embedded autoencoder: it learns to draw crisp mouths from what the UNets make.

The UNets' latents are a little unsure, and a decoder that has only ever seen latents of true pictures draws
them as a smear. Here a discriminator shows it what mouths look like, while colours and shapes are held where
they were, and true pictures are redrawn as before. The encoder, and with it every latent, stays as it is, so
that no other network has to learn anew. Fine-tuning a decoder alone is usual (sd-vae-ft-mse); a discriminator
and the balance of the two gradients (equation 7, taken at the pictures here) are from arXiv 2012.09841.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hallo_cli.models.autoencoder import TinyAutoencoder
from hallo_cli.workshop.discriminator import MOMENTS, Discriminator, distance, hinge, weighted
from hallo_cli.workshop.mouth_windows import COARSE, Windows, measure
from hallo_cli.workshop.train_autoencoder import (
    AutoencoderTraining,
    Pictures,
    random_batch,
    reconstruction_loss,
    warmth,
)

LEAST_NORM = 1e-12
REMEMBERED = 50  # steps that a report's means are over


@dataclass(frozen=True)
class PolishSettings:
    """Settings of one run."""

    steps: int = 1600
    batch_size: int = 8  # windows, and as many crops of true pictures
    photograph_share: float = 0.5  # of those crops
    learning_rate: float = 4e-4
    discriminator_rate: float = 4e-4
    discriminator_width: int = 48
    alone: int = 100  # first steps, in which only the discriminator learns from the windows
    adversarial: float = 2.0  # gradient of the adversarial part at the pictures / that of the holding part
    features: float = 1.0  # of the discriminator's features, in the adversarial part
    truth: float = 0.3  # L1 to the true window, beside the coarse one
    grain: float = 0.03  # noise on what the discriminator sees, so that it does not look at rounding
    ema_decay: float = 0.99
    threads: int = 1
    seed: int = 0


@dataclass(frozen=True)
class PolishReport:
    """How a run stands."""

    step: int
    steps: int
    told_apart: float  # share of the patches that the discriminator judges rightly; 0.5: it cannot tell
    psnr_db: float  # of true pictures' crops
    sharpness: float  # of held-out lips, see `mouth_windows.measure`
    distance: float  # of held-out lips, grey levels
    elapsed_s: float


def polish_decoder(
    vae: TinyAutoencoder,
    windows: Windows,
    held_out: Windows,
    pictures: Pictures,
    settings: PolishSettings,
    *,
    on_report: Callable[[PolishReport, TinyAutoencoder], None],
    report_every: int = 100,
) -> TinyAutoencoder:
    """Train the decoder of a copy of `vae` on the CPU; gives the moving average of its weights."""
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    vae = copy.deepcopy(vae).float().requires_grad_(False)
    vae.decoder.requires_grad_(True)
    critic = Discriminator(settings.discriminator_width)
    for network in (vae, critic):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = list(vae.decoder.parameters())
    optimizer = torch.optim.AdamW(parameters, settings.learning_rate, betas=(0.9, 0.99), weight_decay=0)
    opponent = torch.optim.Adam(critic.parameters(), settings.discriminator_rate, betas=MOMENTS)
    average = torch.optim.swa_utils.AveragedModel(
        vae, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.ema_decay)
    )
    polished = average.module
    assert isinstance(polished, TinyAutoencoder)
    started = time.monotonic()
    told_apart: list[float] = []
    errors: list[float] = []
    for step in range(settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * warmth(step / settings.steps, step)
        batch = windows.rows(torch.from_numpy(rng.integers(0, len(windows.made), settings.batch_size)))
        with torch.autocast("cpu", torch.bfloat16):
            drawn = vae.decode(batch.made).float()
        told_apart = [*told_apart[-REMEMBERED:], _learn(critic, opponent, batch, drawn.detach(), settings)]
        optimizer.zero_grad()
        if step >= settings.alone:
            drawn.backward(_pull(critic, batch, drawn, settings))
        errors = [*errors[-REMEMBERED:], _redraw(vae, pictures, settings, rng)]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update_parameters(vae)
        if (step + 1) % report_every == 0 or step + 1 == settings.steps:
            report = PolishReport(
                step + 1,
                settings.steps,
                float(np.mean(told_apart)),
                10 * float(np.log10(4 / np.mean(errors))),
                *measure(polished, held_out),
                time.monotonic() - started,
            )
            on_report(report, polished)
    return polished


def _learn(
    critic: Discriminator,
    optimizer: torch.optim.Optimizer,
    batch: Windows,
    drawn: Tensor,
    settings: PolishSettings,
) -> float:
    """One step of the discriminator; gives the share of patches that it judged rightly."""
    critic.requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        true, _ = critic(_grainy(batch.true, settings))
        made, _ = critic(_grainy(drawn, settings))
    optimizer.zero_grad()
    hinge(true, made, batch.weights).backward()
    optimizer.step()
    right = weighted((true > 0).float(), batch.weights) + weighted((made < 0).float(), batch.weights)
    return float(right) / 2


def _pull(critic: Discriminator, batch: Windows, drawn: Tensor, settings: PolishSettings) -> Tensor:
    """The gradient that the decoder follows, at what it drew."""
    critic.requires_grad_(False)
    coarse = (F.avg_pool2d(drawn, COARSE) - batch.coarse).abs().mean()
    held = coarse + settings.truth * weighted((drawn - batch.true).abs(), batch.weights)
    with torch.autocast("cpu", torch.bfloat16):
        judged, ours = critic(_grainy(drawn, settings))
        with torch.no_grad():
            _, theirs = critic(_grainy(batch.true, settings))
    misled = -weighted(judged, batch.weights) + settings.features * distance(ours, theirs, batch.weights)
    (back,) = torch.autograd.grad(held, drawn, retain_graph=True)
    (forth,) = torch.autograd.grad(misled, drawn, retain_graph=True)
    return back + settings.adversarial * back.norm() / forth.norm().clamp(min=LEAST_NORM) * forth


def _grainy(pictures: Tensor, settings: PolishSettings) -> Tensor:
    return pictures + settings.grain * torch.randn_like(pictures)


def _redraw(
    vae: TinyAutoencoder, pictures: Pictures, settings: PolishSettings, rng: np.random.Generator
) -> float:
    """Add the gradient of redrawing true pictures to the parameters'; gives the squared error."""
    how = AutoencoderTraining(batch_size=settings.batch_size, photograph_share=settings.photograph_share)
    pixels, weight = random_batch(pictures, how, rng)
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            latents = vae.encode_mean(pixels)
        decoded = vae.decode(latents).float()
    reconstruction_loss(decoded, pixels, weight, how).backward()
    return float((decoded.detach() - pixels).square().mean())
