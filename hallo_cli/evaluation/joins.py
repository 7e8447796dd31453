"""Tests whether a video jumps at the joins of its clips, compared with other frames (permutation test).

Knows series of numbers only; where they come from is decided in `measure.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hallo_cli.domain import Float

Indices = npt.NDArray[np.int64]

PLACEMENTS = 1000
CHANCE_PERCENTILE = 95
BLOCK = 1 << 20  # numbers drawn at a time, so that memory does not grow with the video


@dataclass(frozen=True)
class JoinFigure:
    """Motion at joins relative to motion inside clips, and its significance."""

    n_joins: int
    seam_jump: float  # median change at the joins / median at all other frames
    seam_chance: float | None  # 95th percentile of the jump with moved joins; None: no frame to move one to
    seam_share: float | None  # share of those jumps that are at least as high as the real one, 0..1


def seam_jump(change: Float, joins: Sequence[int]) -> JoinFigure | None:
    """Compare the `change` [frames] from the previous frame (NaN: unknown) at the joins with that elsewhere.

    Speech moves the mouth in bursts: the mean change is nearly twice the median, so medians are compared. A
    few joins may coincide with bursts. A permutation test allows for this: each join is moved a thousand
    times (with a fixed seed) to a frame that is nearer to it than to any other join, so that louder and
    quieter passages keep their weight. None without a join, or if nothing moves between them.
    """
    known = np.flatnonzero(np.isfinite(change))
    values, at = change[known], np.flatnonzero(np.isin(known, joins))
    inside = np.delete(values, at)
    if not len(at) or not len(inside) or np.median(inside) < 1e-6:
        return None
    usual = np.median(inside)
    jump = np.median(values[at]) / usual
    elsewhere = np.array([median / usual for medians in _moved(values, at) for median in medians])
    return JoinFigure(
        n_joins=len(at),
        seam_jump=float(jump),
        seam_chance=float(np.percentile(elsewhere, CHANCE_PERCENTILE)) if len(elsewhere) else None,
        seam_share=float(np.mean(elsewhere >= jump)) if len(elsewhere) else None,
    )


def _moved(values: Float, at: Indices) -> Iterator[Float]:
    """Medians of the values at moved joins, PLACEMENTS in all; none if a join cannot be moved."""
    middles = (np.concatenate([[0], at]) + np.append(at, len(values)) + 1) // 2
    first, n_others = middles[:-1], np.diff(middles) - 1
    if n_others.min() < 1:
        return
    rng = np.random.default_rng(0)
    step = max(1, BLOCK // len(at))
    for start in range(0, PLACEMENTS, step):
        n_rows = min(step, PLACEMENTS - start)
        frames = first + rng.integers(0, n_others, (n_rows, len(at)))
        yield np.median(values[frames + (frames >= at)], axis=1)
