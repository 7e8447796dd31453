"""Predicts the time and disk space of a render from earlier measurements on this machine.

Every render and every bench stores its speed in the cache folder; without one, the forecast is a rough guess
and says so.
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from hallo_cli.domain import SAMPLE_RATE
from hallo_cli.errors import OutputError
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store.cache import cache_path
from hallo_cli.store.reading import read_small
from hallo_cli.store.writing import make_folder, write_whole

FILE = "speeds.json"  # in the cache
MAX_SPEEDS = 200
# Seconds for one pass of the denoising UNet over one frame of 256 x 256, where nothing was measured yet, by
# size of the networks (embedded, official) and device. Guesses, good to a factor of a few.
GUESSES = {("small", "cpu"): 0.02, ("small", "cuda"): 0.0005, ("large", "cpu"): 0.6, ("large", "cuda"): 0.002}
SHALLOW_COST = (
    0.28  # cost of a pass without the deep layers relative to a full one, counted for the official networks
)
VIDEO_BITS_PER_PIXEL = 0.12  # of H.264 at crf 18 of faces that hardly move
SPOOL_BYTES_PER_PIXEL = 3
# Of one core of an AMD EPYC with AVX-512: 34 ms for a frame of 256 x 256, 85 ms for one of 512 x 512.
MEASURE_FRAME_S = 0.017
MEASURE_PIXEL_S = 2.6e-7
MEASURED_SIDE = 512

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Workload:
    """What decides how long a frame takes; the settings must be resolved."""

    weights_id: str
    device: str  # cpu, cuda, mps
    dtype: str
    size: int
    passes: float  # of the denoising UNet a frame
    is_large: bool = False  # networks of the official size
    is_compiled: bool = False


@dataclass(frozen=True)
class Estimate:
    """Seconds a frame, and where the number is from: measured, scaled or guess."""

    seconds_per_frame: float
    basis: str

    def seconds(self, n_frames: int) -> float:
        """The time of a job, without loading the networks."""
        return n_frames * self.seconds_per_frame


@dataclass(frozen=True)
class Disk:
    """The disk space that a job needs."""

    output_bytes: int  # the video
    work_bytes: int  # peak of the work files besides it: segments, a spool, the sound


def count_passes(settings: RenderSettings) -> float:
    """The approximate cost of a frame in full passes of the denoising UNet. The settings are resolved.

    One pass a step, two with guidance; a pass without the deep layers counts as SHALLOW_COST.
    """
    assert settings.steps is not None
    assert settings.guidance is not None
    share = max(0.0, settings.guidance_stop - settings.guidance_start) if settings.guidance != 1 else 0.0
    depth = 1 / settings.deep_every
    cost = depth + (1 - depth) * SHALLOW_COST
    return settings.steps * (1 + share) * cost


def estimate(workload: Workload) -> Estimate:
    """Seconds a frame of this workload: measured before, scaled from a similar one, or guessed."""
    known = read_speeds()
    if workload in known:
        return Estimate(known[workload], "measured")
    place = (workload.weights_id, workload.device)
    similar = [one for one in known if (one.weights_id, one.device) == place]
    if similar:
        nearest = min(similar, key=lambda one: _distance(one, workload))
        ratio = (workload.passes * workload.size**2) / (nearest.passes * nearest.size**2)
        return Estimate(known[nearest] * ratio, "scaled")
    size_class = "large" if workload.is_large else "small"
    guess = GUESSES.get((size_class, workload.device), GUESSES[size_class, "cpu"])
    return Estimate(guess * workload.passes * (workload.size / 256) ** 2, "guess")


def remember(workload: Workload, seconds_per_frame: float) -> None:
    """Keep a measurement for later estimates; an unwritable cache is not an error."""
    path = cache_path(FILE)
    if path is None:
        return
    known = read_speeds()
    known.pop(workload, None)
    kept = [*list(known.items())[-MAX_SPEEDS:], (workload, seconds_per_frame)]
    rows = [{"load": asdict(one), "seconds_per_frame": seconds} for one, seconds in kept]
    try:
        make_folder(path.parent)
        write_whole(path, json.dumps(rows, indent=1).encode())
    except OutputError as error:
        logger.debug("speed not remembered: %s", error)


def read_speeds() -> dict[Workload, float]:
    """The measured seconds a frame on this machine, the oldest first; empty without a readable file."""
    path = cache_path(FILE)
    try:
        rows = json.loads(read_small(path)) if path else []
        return {Workload(**row["load"]): float(row["seconds_per_frame"]) for row in rows}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def disk_needed(settings: RenderSettings, n_frames: int, size: tuple[int, int]) -> Disk:
    """The approximate disk space of a job with resolved settings for a video of (width, height)."""
    side = settings.size or min(size)
    video = round(n_frames * size[0] * size[1] * VIDEO_BITS_PER_PIXEL / 8)
    segment_frames = round(settings.segment_s * settings.fps)
    spool = min(n_frames, segment_frames) * side**2 * SPOOL_BYTES_PER_PIXEL
    sound = round(n_frames / settings.fps * SAMPLE_RATE * 4)
    return Disk(video, video + spool + sound)


def measuring_seconds(n_frames: int, size: tuple[int, int]) -> float:
    """The approximate seconds to measure a video of (width, height) on one core while others render.

    In frames above MEASURED_SIDE, only a window of that size is measured.
    """
    longest = max(size)
    scale = min(1.0, MEASURED_SIDE / longest) if longest else 0.0
    pixels = size[0] * size[1] * scale**2
    return n_frames * (MEASURE_FRAME_S + MEASURE_PIXEL_S * pixels)


def free_bytes(path: Path) -> int:
    """The free bytes on the disk of a file with this path."""
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    return shutil.disk_usage(folder).free


def disk_warnings(needed: int, free: int) -> list[str]:
    """What to say where more bytes are needed than are free."""
    if free >= needed:
        return []
    return [f"{needed / 1e9:.1f} GB of disk are needed, {free / 1e9:.1f} GB are free"]


def _distance(some: Workload, other: Workload) -> tuple[bool, float]:
    differs = some.is_compiled != other.is_compiled
    return differs, abs(some.passes - other.passes) + abs(some.size - other.size)
