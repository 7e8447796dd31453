"""From noise to latents: guided prediction, the denoising loop, and where the noise comes from.

The loop knows neither pixels nor audio; it synchronises with the device nowhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import torch
from torch import Tensor

from hallo_cli.inference.schedule import Solver
from hallo_cli.inference.step_plan import DeepReuse, Guidance, Step, plan_steps
from hallo_cli.models.blocks import DeepFeatures
from hallo_cli.models.context import ClipContext
from hallo_cli.models.denoising_unet import DenoisingUNet

Shape = tuple[int, int, int, int]  # frames, channels, height, width
Noise = Callable[[int, Shape], Tensor]  # a clip's first latents: standard normal numbers, float32 on the CPU
Deep = DeepFeatures | int | None  # features to reuse; or behind how many layers to keep them; or neither
Carried = list[DeepFeatures | None]  # by either half of the guidance pair, from step to step
UNetPass = Callable[[DenoisingUNet, Tensor, Tensor, ClipContext, Deep], tuple[Tensor, DeepFeatures | None]]


def run_unet(
    unet: DenoisingUNet, latents: Tensor, timestep: Tensor, context: ClipContext, deep: Deep
) -> tuple[Tensor, DeepFeatures | None]:
    """One pass: v for latents [rows, channels, height, width] at timestep [1], features for later ones."""
    if isinstance(deep, DeepFeatures):
        return unet.forward_shallow(latents, timestep, context, deep), None
    if deep is None:
        return unet(latents, timestep, context), None
    return unet.forward_keeping(latents, timestep, context, deep)


@cache
def compiled_pass() -> UNetPass:
    """`run_unet` compiled, on CUDA as CUDA graphs. They belong to the thread that runs them first."""
    compiled = torch.compile(run_unet, mode="reduce-overhead", dynamic=False)

    def run(
        unet: DenoisingUNet, latents: Tensor, timestep: Tensor, context: ClipContext, deep: Deep
    ) -> tuple[Tensor, DeepFeatures | None]:
        torch.compiler.cudagraph_mark_step_begin()
        prediction, kept = compiled(unet, latents, timestep, context, deep)
        # copies: the next pass overwrites what a CUDA graph returned
        return prediction.clone(), kept and kept._replace(maps=kept.maps.clone())

    return run


@dataclass(frozen=True)
class Predictor:
    """Predicts v for the latents of one clip under a guidance pair of conditions."""

    unet: DenoisingUNet
    pair: ClipContext
    guidance: Guidance
    dtype: torch.dtype
    is_split: bool = False  # one half of the pair after the other: the same numbers from half the memory
    deep: DeepReuse = field(default_factory=DeepReuse)
    run: UNetPass = run_unet
    halves: tuple[ClipContext, ClipContext] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "halves", self.pair.halves())

    def __call__(self, latents: Tensor, timestep: Tensor, step: Step, carried: Carried) -> Tensor:
        """Latents [frames, channels, height, width] and timestep [1] -> v in the latents' dtype."""
        x = latents.to(self.dtype)
        if not step.is_guided:
            conditional, deep = self._pass(x, timestep, self.halves[1], step, carried[1])
            carried[:] = carried[0] if step.reuses_deep else None, deep
            return conditional.to(latents.dtype)
        predictions = self._both(x, timestep, step, carried)
        unconditional, conditional = (prediction.to(latents.dtype) for prediction in predictions)
        return unconditional + self.guidance.scale * (conditional - unconditional)

    def _both(self, x: Tensor, timestep: Tensor, step: Step, carried: Carried) -> Iterable[Tensor]:
        """The halves' predictions."""
        if self.is_split:
            passes = [
                self._pass(x, timestep, half, step, kept)
                for half, kept in zip(self.halves, carried, strict=True)
            ]
            carried[:] = (deep for _, deep in passes)
            return [prediction for prediction, _ in passes]
        kept = _joined(*carried) if step.reuses_deep else None
        pair, deep = self._pass(torch.cat([x, x]), timestep, self.pair, step, kept)
        if deep is not None:
            carried[:] = deep.halves()
        return pair.chunk(2)

    def _pass(
        self, x: Tensor, timestep: Tensor, context: ClipContext, step: Step, kept: DeepFeatures | None
    ) -> tuple[Tensor, DeepFeatures | None]:
        n_kept = None if self.deep.every == 1 else self.deep.n_layers
        prediction, deep = self.run(self.unet, x, timestep, context, kept if step.reuses_deep else n_kept)
        return prediction, kept if step.reuses_deep else deep


def denoise(predictor: Predictor, solver: Solver, noise: Tensor) -> Iterator[Tensor]:
    """The latents after every step; the last are the result. Stop iterating to cancel."""
    latents, carried = noise, Carried((None, None))
    timesteps = torch.tensor(solver.timesteps, device=noise.device)
    for index, step in enumerate(plan_steps(predictor.guidance, predictor.deep, len(solver.timesteps))):
        prediction = predictor(latents, timesteps[index : index + 1], step, carried)
        latents = solver.step(index, prediction, latents)
        yield latents


def _joined(unconditional: DeepFeatures | None, conditional: DeepFeatures | None) -> DeepFeatures:
    assert unconditional is not None
    assert conditional is not None
    return conditional._replace(maps=torch.cat([unconditional.maps, conditional.maps]))


def independent_noise(seed: int, clip: int, shape: Shape) -> Tensor:
    """Each clip's noise is a function of seed and clip alone, so a job can begin anywhere."""
    words = np.random.SeedSequence((seed, clip)).generate_state(1, np.uint64)
    return torch.randn(shape, generator=torch.Generator().manual_seed(int(words[0])))


def shared_noise(seed: int, clip: int, shape: Shape) -> Tensor:
    """One noise for all frames of all clips: frames then differ only by their conditions."""
    return independent_noise(seed, 0, (1, *shape[1:])).expand(shape)


def published_noise(seed: int, dtype: torch.dtype) -> Noise:
    """The published program's: one generator for the complete video, drawn in the networks' dtype.

    Clips are asked for in rising order; those that were left out are drawn and thrown away.
    """
    generator, n_drawn = torch.Generator().manual_seed(seed), itertools.count(1)

    def draw(clip: int, shape: Shape) -> Tensor:
        frames, channels, height, width = shape
        while True:
            drawn = torch.randn(1, channels, frames, height, width, generator=generator, dtype=dtype)
            if next(n_drawn) > clip:
                return drawn[0].transpose(0, 1).float()

    return draw
