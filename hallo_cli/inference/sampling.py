"""From noise to latents: guided prediction, the denoising loop, and where the noise comes from.

The loop knows neither pixels nor audio; it synchronises with the device nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from hallo_cli.inference.schedule import Solver
from hallo_cli.models.context import ClipContext
from hallo_cli.trace import span

Shape = tuple[int, int, int, int]  # frames, channels, height, width


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598), and in which share of the steps (arXiv 2404.07724)."""

    scale: float = 3.5
    start: float = 0.0
    stop: float = 1.0

    def is_on(self, index: int, n_steps: int) -> bool:
        """Whether step `index` needs the unconditional prediction."""
        return self.scale != 1 and self.start * n_steps <= index < self.stop * n_steps


@dataclass(frozen=True)
class Predictor:
    """Predicts v for the latents of one clip under a guidance pair of conditions."""

    unet: Callable[[Tensor, Tensor, ClipContext], Tensor]  # a DenoisingUNet, or its compiled form
    pair: ClipContext
    guidance: Guidance
    dtype: torch.dtype
    is_split: bool = False  # one half of the pair after the other: the same numbers from half the memory
    halves: tuple[ClipContext, ClipContext] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "halves", self.pair.halves())

    def __call__(self, latents: Tensor, timestep: Tensor, *, is_guided: bool) -> Tensor:
        """Latents [frames, channels, height, width] and timestep [1] -> v in the latents' dtype."""
        x = latents.to(self.dtype)
        if not is_guided:
            return self.unet(x, timestep, self.halves[1]).to(latents.dtype)
        if self.is_split:
            predictions = [self.unet(x, timestep, half) for half in self.halves]
        else:
            predictions = list(self.unet(torch.cat([x, x]), timestep, self.pair).chunk(2))
        unconditional, conditional = (prediction.to(latents.dtype) for prediction in predictions)
        return unconditional + self.guidance.scale * (conditional - unconditional)


def denoise(predictor: Predictor, solver: Solver, noise: Tensor) -> Iterator[Tensor]:
    """The latents after every step; the last are the result. Stop iterating to cancel."""
    latents, n_steps = noise, len(solver.timesteps)
    timesteps = torch.tensor(solver.timesteps, device=noise.device)
    for index in range(n_steps):
        is_guided = predictor.guidance.is_on(index, n_steps)
        with span("denoising step"):
            prediction = predictor(latents, timesteps[index : index + 1], is_guided=is_guided)
            latents = solver.step(index, prediction, latents)
        yield latents


class Noise(Protocol):
    """Where a clip's first latents come from."""

    def __call__(self, clip: int, shape: Shape) -> Tensor:
        """Standard normal numbers of this shape, float32 on the CPU; ask for clips in rising order."""
        ...


@dataclass(frozen=True)
class IndependentNoise:
    """Each clip's noise is a function of seed and clip alone, so a job can begin anywhere."""

    seed: int

    def __call__(self, clip: int, shape: Shape) -> Tensor:
        """See Noise."""
        words = np.random.SeedSequence((self.seed, clip)).generate_state(1, np.uint64)
        return torch.randn(shape, generator=torch.Generator().manual_seed(int(words[0])))


@dataclass(frozen=True)
class SharedNoise:
    """One noise for all frames of all clips: what differs between frames is then what was said."""

    seed: int

    def __call__(self, clip: int, shape: Shape) -> Tensor:
        """See Noise."""
        return IndependentNoise(self.seed)(0, (1, *shape[1:])).expand(shape)


class PublishedNoise:
    """The published program's: one generator for the whole video, drawn in the networks' dtype."""

    def __init__(self, seed: int, dtype: torch.dtype) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.dtype = dtype
        self.n_drawn = 0

    def __call__(self, clip: int, shape: Shape) -> Tensor:
        """See Noise; clips that were left out are drawn and thrown away."""
        frames, channels, height, width = shape
        while True:
            drawn = torch.randn(
                1, channels, frames, height, width, generator=self.generator, dtype=self.dtype
            )
            self.n_drawn += 1
            if self.n_drawn > clip:
                return drawn[0].transpose(0, 1).float()
