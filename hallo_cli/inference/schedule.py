"""When to denoise and how a step is taken: solvers of the diffusion over the zero-terminal-SNR schedule.

All predict v with trailing timesteps (arXiv 2305.08891). The noise schedule, the timesteps and DPM++ are
diffusers'; DDIM's step is one line here, its two coefficients known before sampling starts, as UniPC's are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from diffusers import DDIMScheduler
from torch import Tensor

from hallo_cli.errors import SettingsError
from hallo_cli.inference.unipc import UnipcSolver, plan_unipc
from hallo_cli.models import compat
from hallo_cli.models.config import NetworkConfig

N_TIMESTEPS = 1000
LEAST_ALPHA = 2.0**-24  # where a solver divides by the signal, of which the first timestep has none


class Solver(Protocol):
    """Takes the latents of one clip from noise to data; begin each clip with a fresh one."""

    @property
    def timesteps(self) -> tuple[int, ...]:
        """The timestep of each step, falling."""
        ...

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents after step `index`, from the predicted v."""
        ...


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


class DpmSolver:
    """diffusers' DPM-Solver++ of second order (arXiv 2211.01095); it remembers its last prediction."""

    def __init__(self, config: NetworkConfig, steps: int) -> None:
        from diffusers import DPMSolverMultistepScheduler  # loads scipy.stats, which the others do without

        scheduler: Any = DPMSolverMultistepScheduler(
            algorithm_type="dpmsolver++", solver_order=2, **_schedule(config)
        )
        with warnings.catch_warnings():  # diffusers hands tensors to numpy in a way that numpy 2 deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            scheduler.set_timesteps(steps)
        self.scheduler = scheduler
        self.timesteps = tuple(int(t) for t in scheduler.timesteps)

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """See Solver."""
        result: Tensor = self.scheduler.step(prediction, self.timesteps[index], latents).prev_sample
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


def _unipc(config: NetworkConfig, steps: int) -> UnipcSolver:
    timesteps = _timesteps(config, steps)
    alphas = alphas_cumprod(config, training=False).double().clamp(min=LEAST_ALPHA).tolist()
    return UnipcSolver(timesteps, plan_unipc([alphas[t] for t in timesteps]))


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
    "dpm++": DpmSolver,
    "unipc": _unipc,
}
