"""The optimizer: which weights learn, the learning rate, and their moving average."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from hallo_cli.errors import SettingsError
from hallo_cli.training.checkpoint import Progress
from hallo_cli.training.config import (
    STAGE_PARTS,
    ObjectiveSettings,
    OptimizerSettings,
    Part,
    RunSettings,
    Stage,
)

_BY_PREFIX: dict[str, Part] = {
    "reference_unet": "reference",
    "face_locator": "locator",
    "imageproj": "identity",
    "audioproj": "audio_projection",
}


def part_of(name: str) -> Part:
    """The part of the model that a parameter of the published name belongs to."""
    for prefix, part in _BY_PREFIX.items():
        if name.startswith(prefix):
            return part
    if ".audio_modules." in name:
        return "audio"
    return "motion" if ".motion_modules." in name else "spatial"


def choose_trained(module: nn.Module, objective: ObjectiveSettings, stage: Stage) -> dict[str, nn.Parameter]:
    """Let the run's parts learn, freeze the others; gives the parameters that learn by name."""
    parts = objective.train or STAGE_PARTS[stage]
    trained = {}
    for name, value in module.named_parameters():
        value.requires_grad_(part_of(name) in parts)
        if value.requires_grad:
            trained[name] = value
    return trained


def make_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings) -> torch.optim.Optimizer:
    """AdamW in one fused kernel, or with moments of eight bits. Raises SettingsError."""
    common: dict[str, Any] = {
        "lr": settings.lr,
        "betas": settings.betas,
        "eps": settings.eps,
        "weight_decay": settings.weight_decay,
    }
    if settings.bits == 32:
        return torch.optim.AdamW(parameters, fused=True, **common)
    try:
        import bitsandbytes
    except ImportError:
        raise SettingsError(
            "optimizer.bits = 8 needs bitsandbytes: pip install 'hallo-cli[eight-bit]'"
        ) from None
    optimizer: torch.optim.Optimizer = bitsandbytes.optim.AdamW8bit(parameters, **common)
    return optimizer


def learning_rate(settings: OptimizerSettings, run: RunSettings, progress: Progress) -> float:
    """The rate of the step after `progress`: linear warm-up, then constant until it decays to `final`.

    Where the run is limited in time, its end is what comes first, so that the decay is never cut off.
    """
    share = share_done(run, progress)
    factor = min(1.0, (progress.step + 1) / max(settings.warmup, 1))
    if settings.schedule != "constant":
        falling = min(max((share - settings.decay_from) / (1 - settings.decay_from), 0.0), 1.0)
        factor *= settings.final + (1 - settings.final) * _remaining(settings, falling)
    return settings.lr * factor


def _remaining(settings: OptimizerSettings, falling: float) -> float:
    """How much of the rate is left, 1 to 0, where that share of the decay is done; as diffusers has it."""
    if settings.schedule == "linear":
        return 1 - falling
    if settings.schedule == "polynomial":
        return float((1 - falling) ** settings.power)
    cycles = settings.cycles if settings.schedule == "cosine_with_restarts" else 1
    done = falling * cycles % 1.0 if falling < 1 else 1.0
    return 0.5 + 0.5 * math.cos(math.pi * done)


def share_done(run: RunSettings, progress: Progress) -> float:
    """How much of a run is behind it, 0 to 1, by steps or minutes, whichever ends it first."""
    share = progress.step / run.steps
    if run.max_minutes:
        share = max(share, progress.seconds / (60 * run.max_minutes))
    return min(share, 1.0)


class MovingAverage:
    """Exponential moving average of parameters, faster at the start to forget the initial weights."""

    def __init__(self, parameters: dict[str, nn.Parameter], decay: float) -> None:
        self.decay, self._parameters = decay, parameters
        self.values = {name: value.detach().clone() for name, value in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters as they are after that many steps."""
        average = get_ema_multi_avg_fn(min(self.decay, step / (step + 1)))
        average(list(self.values.values()), list(self._parameters.values()), step)

    @torch.no_grad()
    def restore(self, values: dict[str, Tensor]) -> None:
        """Continue from saved values."""
        for name, value in self.values.items():
            value.copy_(values[name])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Meanwhile the parameters have the averaged values."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(kept)
