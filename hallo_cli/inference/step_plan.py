"""What each denoising step computes anew and what it takes over from an earlier one, known before the first.

With everything at its default every step computes all that it needs; the rest are approximations, whose loss
is to be measured (`hallo bench --pareto`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hallo_cli.settings.schema import RenderSettings


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance (arXiv 2207.12598), and in which share of the steps (arXiv 2404.07724).

    In each run of `every` guided steps the first predicts unconditionally; the others take over how far its
    two predictions were apart.
    """

    scale: float = 3.5
    start: float = 0.0
    stop: float = 1.0
    every: int = 1

    def is_on(self, index: int, n_steps: int) -> bool:
        """Whether step `index` is guided."""
        return self.scale != 1 and self.start * n_steps <= index < self.stop * n_steps


@dataclass(frozen=True)
class DeepReuse:
    """In each run of `every` steps only the first runs the deep layers (`models.blocks.DeepFeatures`)."""

    every: int = 1
    n_layers: int = 1  # of the finest block on the way down that run in every step


@dataclass(frozen=True)
class Step:
    """One step's work."""

    is_guided: bool
    reuses_guidance: bool = False
    reuses_deep: bool = False

    @property
    def is_pair(self) -> bool:
        """Whether both halves of the guidance pair are predicted."""
        return self.is_guided and not self.reuses_guidance


def guidance_of(settings: RenderSettings) -> Guidance:
    """The guidance of settled settings."""
    assert settings.guidance is not None
    return Guidance(
        settings.guidance, settings.guidance_start, settings.guidance_stop, settings.guidance_every
    )


def plan_steps(guidance: Guidance, deep: DeepReuse, n_steps: int) -> tuple[Step, ...]:
    """All steps in order."""
    return tuple(_steps(guidance, deep, n_steps))


def _steps(guidance: Guidance, deep: DeepReuse, n_steps: int) -> Iterator[Step]:
    n_guided = since_deep = 0
    keeps_pair = False
    for index in range(n_steps):
        is_guided = guidance.is_on(index, n_steps)
        step = Step(is_guided, reuses_guidance=is_guided and n_guided % guidance.every != 0)
        n_guided += is_guided
        if since_deep % deep.every != 0 and (keeps_pair or not step.is_pair):
            step = Step(step.is_guided, step.reuses_guidance, reuses_deep=True)
        else:
            since_deep, keeps_pair = 0, step.is_pair
        since_deep += 1
        yield step
