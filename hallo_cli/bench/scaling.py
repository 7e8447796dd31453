"""How time and memory grow with clip length, resolution and rows rendered at once, and shrink with fallbacks.

Each point is measured in processes of its own, so that peaks of memory are its own too, and that one which
fails ends no other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Barrier, BrokenBarrierError

import torch

from hallo_cli.bench.clips import film
from hallo_cli.bench.example import open_rig
from hallo_cli.errors import JobError
from hallo_cli.jobs.fallbacks import next_rung
from hallo_cli.settings.schema import RenderSettings, RuntimeSettings

CLIP_FRAMES = (4, 8, 12, 16, 24)
SIZES = (0.5, 0.75, 1.0, 1.5, 2.0)  # of the configured size
ROWS = (1, 2, 4)
LEAST_WAIT_S = 60.0  # for a point's other processes, which began together and do the same work,
WAIT_FACTOR = 2.0  # or so many times what one's own work took


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


@dataclass(frozen=True)
class PointFailure:
    """A measurement that came to nothing."""

    point: Point
    reason: str


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


def measure_scaling(points: list[Point]) -> Iterator[PointFigures | PointFailure]:
    """Measure each point in fresh processes, as many at once as it has rows."""
    for point in points:
        try:
            rows = _measure(point)
        except (JobError, OSError) as error:
            yield PointFailure(point, str(error))
            continue
        frames_per_s = sum(row.n_frames / row.seconds for row in rows)
        yield PointFigures(
            point,
            frame_s=1 / frames_per_s,
            host_bytes=max((row.host_bytes for row in rows if row.host_bytes), default=None),
            device_bytes=max((row.device_bytes for row in rows if row.device_bytes), default=None),
        )


def peak_host_bytes() -> int | None:
    """Of this process so far; None where the system does not tell.

    What `resource` says counts on Linux from the process that started this one, so that is asked last.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
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


def _measure(point: Point) -> list[_Row]:
    """What each process came to. Raises JobError as soon as one has failed, and OSError; ends the others."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(point.n_rows)
    running: dict[Connection, BaseProcess] = {}
    try:
        for _ in range(point.n_rows):
            near, far = context.Pipe(duplex=False)
            process: BaseProcess = context.Process(target=send_row, args=(point, barrier, far))
            process.start()
            far.close()  # now only the process holds it, so that its end shows
            running[near] = process
        return list(_received(running))
    finally:
        for process in running.values():
            process.kill()  # where one has failed, others may wait for it
            process.join()


def _received(running: dict[Connection, BaseProcess]) -> Iterator[_Row]:
    """The processes' results as they come."""
    pending = dict(running)
    while pending:
        for near in set(pending).intersection(wait(list(pending))):
            yield _result(near, pending.pop(near))


def _result(near: Connection, process: BaseProcess) -> _Row:
    try:
        result = near.recv()
    except (EOFError, OSError):
        process.join()
        raise JobError(f"a process ended with status {process.exitcode} and no result") from None
    if isinstance(result, str):
        raise JobError(result)
    assert isinstance(result, _Row)
    return result


def send_row(point: Point, barrier: Barrier, far: Connection) -> None:
    """Measure one row of a point, beginning with the others, in a process of its own; send it or what failed.

    The reason is sent as text, since not every exception can be read in another process.
    """
    try:
        far.send(_row(point, barrier))
    except BrokenBarrierError:
        far.send("another process of this point did not get ready")
    except Exception as error:  # noqa: BLE001 - a point is to a bench what a job is to a batch
        far.send(f"{type(error).__name__}: {error}")


def _row(point: Point, barrier: Barrier) -> _Row:
    start = time.perf_counter()
    rig = open_rig(point.kind, point.settings, point.runtime, point.clip_frames)
    film(rig, point.settings, 1)  # warms up
    barrier.wait(max(LEAST_WAIT_S, WAIT_FACTOR * (time.perf_counter() - start)))
    made = film(rig, point.settings, point.n_clips)
    device = rig.animator.execution.device
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return _Row(made.n_frames, made.seconds, peak_host_bytes(), peak)
