"""UniPC (arXiv 2302.04867) of second order, every coefficient known before sampling starts.

It solves for the data, with B(h) = exp(h) - 1: what diffusers' UniPCMultistepScheduler does by default, but
that computes its coefficients on the latents' device and waits for it in every step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Level(NamedTuple):
    """How much of the data and of the noise the latents hold; the squares sum to one."""

    signal: float
    noise: float

    @property
    def log_ratio(self) -> float:
        """Of signal to noise: the paper's lambda."""
        return math.log(self.signal / self.noise) if self.noise else math.inf


@dataclass(frozen=True)
class UnipcStep:
    """The coefficients of one step; "data" is what the noisy latents come from, says the predicted v."""

    data: tuple[float, float]  # of the latents and of v
    corrector: tuple[float, ...]  # of the last corrected latents, the data now, last and before; at first ()
    predictor: tuple[float, ...]  # of the corrected latents, the data now and last


@dataclass
class UnipcSolver:
    """Corrects each step once the next prediction is there; remembers two steps, so it is for one clip."""

    timesteps: tuple[int, ...]
    steps: tuple[UnipcStep, ...]
    latents: list[Tensor] = field(default_factory=list)  # of the last step, corrected; none before the first
    data: list[Tensor] = field(default_factory=list)  # of the last two steps, the latest first

    def step(self, index: int, prediction: Tensor, latents: Tensor) -> Tensor:
        """See Solver."""
        step = self.steps[index]
        data = [_mixed(step.data, [latents, prediction]), *self.data]
        if step.corrector:
            latents = _mixed(step.corrector, [*self.latents, *data])
        self.latents, self.data = [latents], data[:2]
        return _mixed(step.predictor, [latents, *self.data])


def plan_unipc(alphas: Sequence[float]) -> tuple[UnipcStep, ...]:
    """The steps from cumulated alphas, rising from above 0, to clean latents.

    The first predictor and the last are of first order, and so is the corrector of the first step.
    """
    levels = [Level(alpha**0.5, (1 - alpha) ** 0.5) for alpha in alphas] + [Level(1.0, 0.0)]
    steps: list[UnipcStep] = []
    for index, now in enumerate(levels[:-1]):
        is_outer = index in (0, len(alphas) - 1)
        steps.append(
            UnipcStep(
                (now.signal, -now.noise),
                _corrector(levels[max(index - 2, 0) : index + 1]) if index else (),
                _predictor(levels[index if is_outer else index - 1 : index + 2]),
            )
        )
    return tuple(steps)


def _predictor(levels: Sequence[Level]) -> tuple[float, ...]:
    """UniP to the last level from the one before it, with the data there and, if given, one level earlier."""
    *before, now, then = levels
    h, of_latents, of_data = _first_order(now, then)
    if not before:
        return of_latents, of_data
    slope = of_data * 0.5 * h / (before[0].log_ratio - now.log_ratio)
    return of_latents, of_data - slope, slope


def _corrector(levels: Sequence[Level]) -> tuple[float, ...]:
    """UniC for the last level: what `_predictor` would have given, had the data there been known."""
    *before, last, now = levels
    h, of_latents, of_data = _first_order(last, now)
    if not before:
        return of_latents, 0.5 * of_data, 0.5 * of_data
    distance = (before[0].log_ratio - last.log_ratio) / h  # the paper's r: the other known level, now being 1
    grown = math.expm1(-h)
    phi_2 = -grown / h - 1
    phi_3 = -phi_2 / h - 0.5
    moments = phi_2 / grown, 2 * phi_3 / grown
    # Solved for the weights of both slopes: their sum is the first moment, weighted by distance the second.
    earlier = (moments[0] - moments[1]) / (1 - distance)
    newer = moments[0] - earlier
    slope = earlier / distance
    return of_latents, of_data * newer, of_data * (1 - newer - slope), of_data * slope


def _first_order(now: Level, then: Level) -> tuple[float, float, float]:
    """The step in log ratio; factors of the latents and the data, exact where the data stays the same."""
    h = then.log_ratio - now.log_ratio
    return h, then.noise / now.noise, -then.signal * math.expm1(-h)


def _mixed(coefficients: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """The sum of as many tensors as there are coefficients."""
    terms = [factor * x for factor, x in zip(coefficients, tensors, strict=False)]
    return sum(terms[1:], terms[0])
