"""Timesteps and solvers of the diffusion, over the zero-terminal-SNR schedule.

Both predict v with trailing timesteps (arXiv 2305.08891). Noise schedule and timesteps are diffusers'.
The coefficients of all steps are known before sampling starts, so no step waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.models import compat
from hallo_cli.models.diffusers_parts import DDIMScheduler
from hallo_cli.models.network_config import NetworkConfig

N_TIMESTEPS = 1000
LEAST_ALPHA = 2.0**-24  # where a solver divides by the signal, of which the first timestep has none


class Solver(Protocol):
    """Takes the latents of one clip from noise to data; begin each clip with a fresh one."""

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timestep of each step, falling."""

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents after step `index`, from the predicted v."""


def make_solver(config: NetworkConfig, kind: str, steps: int) -> Solver:
    """A solver by its name in the settings. Raises SettingsError."""
    if kind not in SOLVERS:
        raise SettingsError(f"solver {kind!r}: expected one of {', '.join(SOLVERS)}.")
    if not 1 <= steps <= N_TIMESTEPS:
        raise SettingsError(f"steps {steps}: expected 1 to {N_TIMESTEPS}.")
    return SOLVERS[kind](config, steps)


def alphas_cumprod(config: NetworkConfig, *, training: bool) -> Tensor:
    """Cumulated alphas [1000], falling to exactly 0."""
    scheduler: Any = DDIMScheduler(**_schedule(config, training=training))
    alphas: Tensor = scheduler.alphas_cumprod
    return alphas


@dataclass(frozen=True)
class DdimSolver:
    """DDIM without added noise (arXiv 2010.02502, equation 12)."""

    timesteps: tuple[int, ...]
    coefficients: tuple[tuple[float, float], ...]  # a step: of the latents and of v

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """See Solver."""
        of_latents, of_velocity = self.coefficients[index]
        return of_latents * latents + of_velocity * prediction


@dataclass
class DpmSolver:
    """DPM-Solver++ 2M (arXiv 2211.01095, algorithm 2); it remembers its last data, so it is for one clip."""

    timesteps: tuple[int, ...]
    levels: tuple[tuple[float, float], ...]  # signal and noise before each step and after the last
    coefficients: tuple[tuple[float, float, float], ...]  # a step: of the latents, the data and the last data
    last: list[Tensor] = field(default_factory=list)

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """See Solver."""
        signal, noise = self.levels[index]
        of_latents, of_data, of_last = self.coefficients[index]
        data = signal * latents - noise * prediction
        result = of_latents * latents + of_data * data
        if of_last:
            result = result + of_last * self.last[0]
        self.last = [data]
        return result


def _ddim(config: NetworkConfig, steps: int) -> DdimSolver:
    timesteps = _timesteps(config, steps)
    alphas = alphas_cumprod(config, training=False).double().tolist()
    coefficients = []
    for now, then in zip(timesteps, compat.previous_timesteps(config, timesteps), strict=True):
        signal, noise = alphas[now] ** 0.5, (1 - alphas[now]) ** 0.5
        left = alphas[then] if then >= 0 else 1.0
        next_signal, next_noise = left**0.5, (1 - left) ** 0.5
        # x0 = signal x - noise v, eps = noise x + signal v, x' = next_signal x0 + next_noise eps
        of_latents = next_signal * signal + next_noise * noise
        coefficients.append((of_latents, next_noise * signal - next_signal * noise))
    return DdimSolver(timesteps, tuple(coefficients))


def _dpm(config: NetworkConfig, steps: int) -> DpmSolver:
    timesteps = _timesteps(config, steps)
    alphas = alphas_cumprod(config, training=False).double().clamp(min=LEAST_ALPHA).tolist()
    levels = [(alphas[t] ** 0.5, (1 - alphas[t]) ** 0.5) for t in timesteps] + [(1.0, 0.0)]
    ratios = [math.log(signal / noise) if noise else math.inf for signal, noise in levels]
    strides = [after - before for before, after in pairwise(ratios)]  # the paper's h
    coefficients = []
    for index, h in enumerate(strides):
        of_data = -levels[index + 1][0] * math.expm1(-h)
        # The first step knows no earlier data; to the last, from which no noise is left, they add nothing.
        share = 0.0 if index in (0, steps - 1) else h / strides[index - 1] / 2
        of_latents = levels[index + 1][1] / levels[index][1]
        coefficients.append((of_latents, of_data * (1 + share), -of_data * share))
    return DpmSolver(timesteps, tuple(levels), tuple(coefficients))


def _timesteps(config: NetworkConfig, steps: int) -> tuple[int, ...]:
    scheduler: Any = DDIMScheduler(**_schedule(config))
    scheduler.set_timesteps(steps)
    return tuple(int(t) for t in scheduler.timesteps)


def _schedule(config: NetworkConfig, *, training: bool = False) -> dict[str, Any]:
    return {
        "num_train_timesteps": N_TIMESTEPS,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": compat.beta_schedule(config, training=training),
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
        "prediction_type": "v_prediction",
    }


SOLVERS: dict[str, Callable[[NetworkConfig, int], Solver]] = {
    "ddim": _ddim,
    "dpm++": _dpm,
}
