"""How time and memory grow with clip length, resolution and rows rendered at once, and shrink with fallbacks.

Each point is measured in processes of its own, so that peaks of memory are its own too.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from hallo_cli.jobs.bench_film import film
from hallo_cli.jobs.bench_rig import open_rig
from hallo_cli.jobs.ladder import next_rung
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

CLIP_FRAMES = (4, 8, 12, 16, 24)
SIZES = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the configured size
ROWS = (1, 2, 4)


@dataclass(frozen=True)
class Point:
    """What one measurement renders."""

    curve: str  # clip length, size, rows or fallback
    label: str
    settings: RenderSettings  # settled
    runtime: RuntimeSettings
    kind: str | None = None  # of random weights
    clip_frames: int | None = None
    n_rows: int = 1  # processes that render at the same time
    n_clips: int = 3


@dataclass(frozen=True)
class PointFigures:
    """What one measurement came to."""

    point: Point
    frame_s: float  # seconds of wall time a frame, over all rows
    host_bytes: int | None  # peak of one process; None where the system does not tell
    device_bytes: int | None  # peak of one process; None on devices that do not tell


def plan_points(base: Point, *, clip_frames: int, longest: int, fits: Callable[[int], bool]) -> list[Point]:
    """The points around a base.

    clip_frames is the networks' own, longest the most they take; `fits` says of a size whether they take it.
    """
    change = dataclasses.replace
    points = [
        change(base, curve="clip length", label=f"{count} frames", clip_frames=count)
        for count in sorted({*CLIP_FRAMES, clip_frames})
        if count <= longest
    ]
    size = base.settings.size or 0
    for share in SIZES:
        side = round(share * size)
        if not fits(side):
            continue
        settings = change(base.settings, size=side)
        points.append(change(base, curve="size", label=f"{side} px", settings=settings))
    threads = base.runtime.threads or torch.get_num_threads()
    for count in ROWS:
        runtime = change(base.runtime, threads=max(1, threads // count))
        points.append(change(base, curve="rows", label=f"{count} at once", runtime=runtime, n_rows=count))
    runtime = base.runtime
    while rung := next_rung(runtime):
        runtime = rung.runtime
        points.append(change(base, curve="fallback", label=rung.name, runtime=runtime))
    return points


def measure_scaling(points: list[Point]) -> Iterator[PointFigures]:
    """Measure each point in fresh processes, as many at once as it has rows."""
    for point in points:
        context = multiprocessing.get_context("spawn")
        barrier = context.Barrier(point.n_rows)
        with ProcessPoolExecutor(
            point.n_rows, mp_context=context, initializer=_Together.share, initargs=(barrier,)
        ) as pool:
            rows = [pool.submit(_measure, point) for _ in range(point.n_rows)]
            results = [row.result() for row in rows]
        frames_per_s = sum(row.n_frames / row.seconds for row in results)
        yield PointFigures(
            point,
            frame_s=1 / frames_per_s,
            host_bytes=max((row.host_bytes for row in results if row.host_bytes), default=None),
            device_bytes=max((row.device_bytes for row in results if row.device_bytes), default=None),
        )


def peak_host_bytes() -> int | None:
    """Of this process so far; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True)
class _Row:
    n_frames: int
    seconds: float
    host_bytes: int | None
    device_bytes: int | None


class _Together:
    """Where the processes of one point wait for each other."""

    barrier: ClassVar[Any] = None

    @classmethod
    def share(cls, barrier: Any) -> None:
        """Keep the barrier, in a fresh process."""
        cls.barrier = barrier


def _measure(point: Point) -> _Row:
    rig = open_rig(point.kind, point.settings, point.runtime, point.clip_frames)
    film(rig, point.settings, 1)  # warms up
    _Together.barrier.wait()
    made = film(rig, point.settings, point.n_clips)
    device = rig.animator.execution.device
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return _Row(made.n_frames, made.seconds, peak_host_bytes(), peak)
