"""Trains the anchored autoencoder on windows with exact motion.

A photometric loss alone leaves the latents unused. So flow, mask and paint are supervised with what the
rasteriser knows: flow where the portrait shows the point, the mask where it does not and inside the mouth.
What encoder and decoder see is recoloured differently, so that latents tell motion and not appearance. Later
a perceptual loss and a discriminator on frozen features make the painted mouths and lids crisp.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hallo_cli.errors import InputError
from hallo_cli.models.anchored import Motion, Truth, compose
from hallo_cli.models.autoencoder import AnchoredAutoencoder
from hallo_cli.training.dataset import prefetched
from hallo_cli.training.takes import Take
from hallo_cli.workshop.features import FrozenFeatures, ProjectedDiscriminator, perceptual_distance
from hallo_cli.workshop.motion_windows import FOCUS, Windows, whole, window_batches

SHARPER = 2  # the windows have so many times the pixels each way that the networks see
LID_WEIGHT = 2.0  # lids are moved, not painted: what flow and mask do there counts more
GREY_SHARE = 0.12  # of the recolourings
FINAL_RATE = 0.04  # of the learning rate, reached at the end
DECAY_FROM = 0.5  # share of the run
EMA_DECAY = 0.995
GRADIENT_WEIGHT = 0.7
FLOW_WEIGHT = 0.15  # a pixel of 256
MASK_WEIGHT = 0.08
PAINT_WEIGHT = 0.5
REST_WEIGHT = 0.05  # latents of nothing: no flow, no paint
SIZE_WEIGHT = 1e-4  # of the latents
DISCRIMINATOR_RATE = 4e-4


@dataclass(frozen=True)
class AnchoredTraining:
    """Settings of one run."""

    minutes: float = 30.0
    batch_size: int = 16
    learning_rate: float = 1.5e-3
    latent_noise: float = 0.02  # the decoder must forgive what the denoiser gets slightly wrong
    perceptual_weight: float = 0.0
    adversarial_weight: float = 0.0
    recoloured_share: float = 0.8  # of the decoder's windows; less makes its paint truer to natural colours
    unknown_share: float = 0.1  # of the windows whose latents are made from pixels alone
    decoder_only: bool = False  # keep the latents as they are, for UNets that have learnt them
    held_out: int = 24  # last takes, which are only measured
    threads: int = 2
    seed: int = 0


@dataclass(frozen=True)
class AnchoredReport:
    """How a run stands."""

    step: int
    elapsed_s: float
    losses: dict[str, float]  # means since the last report
    psnr_db: float  # of held-out frames
    still_db: float  # of the portrait in their place


def train_anchored(
    autoencoder: AnchoredAutoencoder,
    takes: list[Take],
    training: AnchoredTraining,
    *,
    on_report: Callable[[AnchoredReport, AnchoredAutoencoder], None],
    report_every: int = 200,
) -> AnchoredAutoencoder:
    """Train on the CPU for some minutes; gives the moving average, its latents normalised."""
    torch.set_num_threads(training.threads)
    torch.manual_seed(training.seed)
    rng = np.random.default_rng(training.seed)
    learned, held_out = takes[: -training.held_out], takes[-training.held_out :]
    if len(learned) < training.held_out:
        raise InputError(f"{len(takes)} takes are too few: make at least {2 * training.held_out}")
    run = _Run(autoencoder, training)
    batches = window_batches(learned, rng, batch_size=training.batch_size)
    for windows in prefetched(lambda _: next(batches), itertools.count(), 3):
        if run.progress >= 1:
            break
        run.learn(windows)
        if run.step % report_every == 0:
            on_report(run.report(held_out), run.result)
    if not training.decoder_only:
        run.result.normalise_latents(_latents_of(run.result, takes))
    on_report(run.report(held_out), run.result)
    return run.result


class _Run:
    """The state of one run."""

    def __init__(self, autoencoder: AnchoredAutoencoder, training: AnchoredTraining) -> None:
        self.training, self.step, self.started = training, 0, time.monotonic()
        self.network = autoencoder.train().requires_grad_(True)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if training.decoder_only:
            self.network.encoder.requires_grad_(False)
            self.network.portrait_encoder.requires_grad_(False)
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, training.learning_rate, weight_decay=1e-4)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA_DECAY)
        )
        self.critic = _Critic(training) if training.perceptual_weight else None
        self.losses: list[dict[str, float]] = []

    @property
    def elapsed_s(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.started

    @property
    def progress(self) -> float:
        """Share of the run, 0..1."""
        return self.elapsed_s / (60 * self.training.minutes)

    @property
    def result(self) -> AnchoredAutoencoder:
        """The moving average."""
        found = self.average.module
        assert isinstance(found, AnchoredAutoencoder)
        return found

    def learn(self, windows: Windows) -> None:
        """One step."""
        training = self.training
        late = max(0.0, self.progress - DECAY_FROM) / (1 - DECAY_FROM)
        rate = min(1.0, (self.step + 1) / 100) * max(FINAL_RATE, 1 - late)
        for group in self.optimizer.param_groups:
            group["lr"] = training.learning_rate * rate
        made, true, parts = _losses(self.network, windows, training, noise=min(1.0, self.step / 500))
        if self.critic is not None:
            parts |= self.critic.losses(made, true, windows)
        total = torch.stack(list(parts.values())).sum()
        self.optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step += 1
        self.average.update_parameters(self.network)
        self.losses.append({name: float(value.detach()) for name, value in parts.items()})

    def report(self, held_out: list[Take]) -> AnchoredReport:
        """Measure the average."""
        recent, self.losses = self.losses or [{}], []
        means = {name: float(np.mean([loss[name] for loss in recent])) for name in recent[0]}
        return AnchoredReport(self.step, self.elapsed_s, means, *_measure(self.result, held_out))


def _losses(
    network: AnchoredAutoencoder, windows: Windows, training: AnchoredTraining, *, noise: float
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """What a step made [n, 3, side, side], what it should have made, and the losses by name."""
    n = len(windows.portrait)
    seen_by_encoder, seen_by_decoder = _Tint.draw(n), _Tint.draw(n, training.recoloured_share)
    portrait, frame = seen_by_decoder(windows.portrait), seen_by_decoder(windows.frame)
    with torch.autocast("cpu", torch.bfloat16):
        given = seen_by_encoder(_smaller(windows.portrait))
        truth = Truth(windows.flow, 1 - windows.seen, windows.inner)
        known = truth.maps() * (torch.rand(n, 1, 1, 1) >= training.unknown_share)
        raw = network.encoder(seen_by_encoder(_smaller(windows.frame)), given, known)
        at_rest = network.encoder(given[:4], given[:4])
        anchor = network.portrait_encoder(_smaller(portrait))
        latents = raw + noise * training.latent_noise * torch.randn_like(raw)
        motion = network.decoder(latents, anchor)
        some = anchor.rows(torch.arange(4))
        still = network.decoder(training.latent_noise * torch.randn_like(raw[:4]), some)
    lids = F.interpolate(windows.lids, motion.mask.shape[-2:], mode="nearest")
    made = compose(portrait, replace(motion, mask=motion.mask * (1 - lids)))  # there the flow does it all
    parts = _picture_losses(made, frame, windows) | _motion_losses(motion, frame, windows)
    rest = still.flow.abs().mean() * network.config.image_size + still.mask.mean()
    parts["rest"] = REST_WEIGHT * rest + 0.002 * at_rest.float().square().mean()
    parts["size"] = SIZE_WEIGHT * raw.float().square().mean()
    return made, frame, parts


def _picture_losses(made: Tensor, true: Tensor, windows: Windows) -> dict[str, Tensor]:
    edges = sum(
        ((made.diff(dim=axis) - true.diff(dim=axis)).abs().mean() for axis in (-1, -2)), made.new_zeros(())
    )
    return {
        "picture": ((made - true).abs() * windows.weight).mean(),
        "edges": GRADIENT_WEIGHT * edges,
    }


def _motion_losses(motion: Motion, true: Tensor, windows: Windows) -> dict[str, Tensor]:
    weight = F.avg_pool2d(windows.weight, windows.weight.shape[-1] // windows.seen.shape[-1])
    apart = (motion.flow - windows.flow).abs().sum(1, keepdim=True) * 256  # pixels as the networks see them
    mask = F.avg_pool2d(motion.mask, motion.mask.shape[-1] // windows.seen.shape[-1]).clamp(1e-4, 1 - 1e-4)
    hidden = (1 - windows.seen) * windows.inner  # elsewhere warping what is near may do as well as paint
    unpainted = windows.seen * (0.3 + LID_WEIGHT * windows.lids)
    surprise = 2 * hidden * mask.log() + unpainted * (1 - mask).log()
    followed = windows.seen * weight * (1 + LID_WEIGHT * windows.lids)
    unseen = F.interpolate(1 - windows.seen, true.shape[-2:], mode="nearest")
    return {
        "flow": FLOW_WEIGHT * (apart * followed).mean(),
        "mask": -MASK_WEIGHT * (surprise * weight).mean(),
        "paint": PAINT_WEIGHT * ((motion.paint - true).abs() * unseen * windows.weight).mean(),
    }


class _Critic:
    """The perceptual loss and the discriminator, on squares that show a mouth or an eye."""

    def __init__(self, training: AnchoredTraining) -> None:
        self.training = training
        self.features = FrozenFeatures.load().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.discriminator = ProjectedDiscriminator()
        self.optimizer = torch.optim.Adam(
            self.discriminator.parameters(), DISCRIMINATOR_RATE, betas=(0.5, 0.99)
        )

    def losses(self, made: Tensor, true: Tensor, windows: Windows) -> dict[str, Tensor]:
        """What the autoencoder is to lower; the discriminator learns on the way."""
        half = slice(0, len(made) // 2)
        made, true = (_squares(pictures[half], windows.focus[half]) for pictures in (made, true))
        with torch.autocast("cpu", torch.bfloat16):
            ours = self.features(made)
            with torch.no_grad():
                theirs = self.features(true)
        parts = {"perceptual": self.training.perceptual_weight * perceptual_distance(ours, theirs)}
        if self.training.adversarial_weight:
            self._learn([one.detach() for one in ours], theirs)
            with torch.autocast("cpu", torch.bfloat16):
                misled = torch.stack([-level.float().mean() for level in self.discriminator(ours)]).sum()
            parts["adversarial"] = self.training.adversarial_weight * misled
        return parts

    def _learn(self, ours: list[Tensor], theirs: list[Tensor]) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            pairs = zip(self.discriminator(theirs), self.discriminator(ours), strict=True)
        loss = torch.stack(
            [(1 - true.float()).relu().mean() + (1 + made.float()).relu().mean() for true, made in pairs]
        ).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _squares(pictures: Tensor, corners: Tensor) -> Tensor:
    parts = [
        picture[:, top : top + FOCUS, left : left + FOCUS]
        for picture, (left, top) in zip(pictures, corners.tolist(), strict=True)
    ]
    return torch.stack(parts)


@dataclass(frozen=True)
class _Tint:
    """A random change of colours, the same for portrait and frame."""

    mix: Tensor  # [n, 3, 3]
    gain: Tensor  # [n, 3]
    gamma: Tensor  # [n]

    @classmethod
    def draw(cls, n: int, strong_share: float = 0.8) -> _Tint:
        """Strong for a share; some are grey."""
        strong = (torch.rand(n, 1, 1) < strong_share).float()
        mix = torch.eye(3)[None] + 0.25 * strong * torch.randn(n, 3, 3)
        mix = mix / mix.sum(2, keepdim=True).clamp(min=0.5)
        grey = (torch.rand(n, 1, 1) < GREY_SHARE).float()
        mix = torch.lerp(mix, torch.full((1, 3, 3), 1 / 3), grey)
        spread = 0.3 + 0.7 * strong  # of brightness and contrast
        gain = torch.exp(0.15 * spread[:, 0] * torch.randn(n, 3))
        return cls(mix, gain, torch.exp(0.3 * spread[:, 0, 0] * torch.randn(n)))

    def __call__(self, pictures: Tensor) -> Tensor:
        """[n, 3, height, width] in -1..1."""
        flat = torch.bmm(self.mix, (pictures.flatten(2) + 1) / 2) * self.gain[:, :, None]
        curved = flat.clamp(1e-4, 1).pow(self.gamma[:, None, None])
        return curved.unflatten(2, pictures.shape[-2:]) * 2 - 1


def _smaller(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(pictures, SHARPER).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _measure(network: AnchoredAutoencoder, takes: list[Take]) -> tuple[float, float]:
    errors, still = [], []
    for portrait, frame, raw in _encoded(network, takes):
        with torch.autocast("cpu", torch.bfloat16):
            motion = network.decoder(raw, network.portrait_encoder(_smaller(portrait)))
        errors.append(float((compose(portrait, motion) - frame).square().mean()))
        still.append(float((portrait - frame).square().mean()))
    return _decibels(errors), _decibels(still)


def _decibels(errors: list[float]) -> float:
    return float(np.mean([10 * np.log10(4 / max(error, 1e-9)) for error in errors]))


@torch.no_grad()
def _latents_of(network: AnchoredAutoencoder, takes: list[Take]) -> Tensor:
    some = takes[:: max(1, len(takes) // 200)]
    return torch.cat([raw.float() for _, _, raw in _encoded(network, some)])


def _encoded(network: AnchoredAutoencoder, takes: list[Take]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Portrait, frame and raw latents of one frame of each take."""
    for number, take in enumerate(takes):
        portrait, frame, truth = whole(take, number % len(take.frames))
        with torch.autocast("cpu", torch.bfloat16):
            raw = network.encoder(_smaller(frame), _smaller(portrait), truth.maps())
        yield portrait, frame, raw
