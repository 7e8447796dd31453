"""What each denoising step computes anew and what it takes over from an earlier one, known before the first.

By default every step computes all that it needs; the rest is an approximation, whose loss is to be measured
(`hallo bench --against`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hallo_cli.settings.schema import RenderSettings


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
class DeepReuse:
    """In each run of `every` steps only the first runs the deep layers (`models.blocks.DeepFeatures`)."""

    every: int = 1
    n_layers: int = 1  # of the finest block on the way down that run in every step


@dataclass(frozen=True)
class Step:
    """One step's work."""

    is_guided: bool  # predicts both halves of the guidance pair
    reuses_deep: bool = False


def guidance_of(settings: RenderSettings) -> Guidance:
    """The guidance of resolved settings."""
    assert settings.guidance is not None
    return Guidance(settings.guidance, settings.guidance_start, settings.guidance_stop)


def plan_steps(guidance: Guidance, deep: DeepReuse, n_steps: int) -> Iterator[Step]:
    """All steps in order."""
    since_deep, keeps_pair = 0, False
    for index in range(n_steps):
        is_guided = guidance.is_on(index, n_steps)
        reuses_deep = since_deep % deep.every != 0 and (keeps_pair or not is_guided)
        if not reuses_deep:
            since_deep, keeps_pair = 0, is_guided
        since_deep += 1
        yield Step(is_guided, reuses_deep)
