"""How long a render will take and how much disk it needs, from what this machine has shown before.

Every render and every bench leaves its speed in the cache folder; without one, the guess is a rough one and
says so.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path

from hallo_cli.digest import cache_dir
from hallo_cli.errors import OutputError
from hallo_cli.jobs.files import write_whole
from hallo_cli.settings.schema import RenderSettings

SIZE_LIMIT = 1 << 20  # bytes; a real file of speeds has a few thousand
MAX_SPEEDS = 200
# Seconds for one pass of the denoising UNet over one frame of 256 x 256, where nothing was measured yet, by
# size of the networks (embedded, official) and device. Guesses, good to a factor of a few.
GUESSES = {("small", "cpu"): 0.02, ("small", "cuda"): 0.0005, ("large", "cpu"): 0.6, ("large", "cuda"): 0.002}
SHALLOW_COST = (
    0.28  # of a pass without the deep layers against a whole one, counted for the official networks
)
VIDEO_BITS_PER_PIXEL = 0.12  # of H.264 at crf 18, faces hardly moving
SPOOL_BYTES_PER_PIXEL = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Load:
    """What decides how long a frame takes; the settings must be settled."""

    weights_id: str
    device: str  # cpu, cuda, mps
    dtype: str
    size: int
    passes: float  # of the denoising UNet a frame
    is_large: bool = False  # networks of the official size

    @classmethod
    def of(cls, settings: RenderSettings, *, weights_id: str, device: str, is_large: bool) -> Load:
        """The load of settled settings."""
        assert settings.size is not None
        return cls(weights_id, device, settings.dtype, settings.size, count_passes(settings), is_large)


@dataclass(frozen=True)
class Speed:
    """One measurement."""

    load: Load
    seconds_per_frame: float


@dataclass(frozen=True)
class Estimate:
    """Seconds a frame, and where the number is from: measured, scaled or guess."""

    seconds_per_frame: float
    basis: str


def count_passes(settings: RenderSettings) -> float:
    """Whole passes of the denoising UNet that a frame costs, about. The settings are settled.

    One a step, two where guidance is computed; one without the deep layers counts as SHALLOW_COST.
    """
    assert settings.steps is not None
    assert settings.guidance is not None
    share = max(0.0, settings.guidance_stop - settings.guidance_start) if settings.guidance != 1 else 0.0
    depth = 1 / settings.deep_every
    cost = depth + (1 - depth) * SHALLOW_COST
    return settings.steps * (1 + share) * cost


def estimate(load: Load, *, file: Path | None = None) -> Estimate:
    """Seconds a frame under this load: of the same one measured before, of a similar one, or guessed."""
    known = read_speeds(file)
    same = [speed for speed in known if speed.load == load]
    if same:
        return Estimate(same[-1].seconds_per_frame, "measured")
    similar = [s for s in known if (s.load.weights_id, s.load.device) == (load.weights_id, load.device)]
    if similar:
        nearest = min(similar, key=lambda s: abs(s.load.passes - load.passes) + abs(s.load.size - load.size))
        ratio = (load.passes * load.size**2) / (nearest.load.passes * nearest.load.size**2)
        return Estimate(nearest.seconds_per_frame * ratio, "scaled")
    size_class = "large" if load.is_large else "small"
    guess = GUESSES.get((size_class, load.device), GUESSES[size_class, "cpu"])
    return Estimate(guess * load.passes * (load.size / 256) ** 2, "guess")


def remember(speed: Speed, *, file: Path | None = None) -> None:
    """Keep a measurement for later estimates; a cache that cannot be written is no failure."""
    path = file or _default_file()
    kept = [known for known in read_speeds(path) if known.load != speed.load][-MAX_SPEEDS:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps([asdict(known) for known in [*kept, speed]], indent=1).encode())
    except (OSError, OutputError) as error:
        logger.debug("speed not remembered: %s", error)


def read_speeds(file: Path | None = None) -> list[Speed]:
    """The measurements of this machine, the oldest first; none where there is no readable file."""
    path = file or _default_file()
    try:
        if path.stat().st_size > SIZE_LIMIT:
            return []
        rows = json.loads(path.read_bytes())
        return [Speed(Load(**row["load"]), float(row["seconds_per_frame"])) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return []


def video_bytes(n_frames: int, size: tuple[int, int]) -> int:
    """About how large the video gets."""
    return round(n_frames * size[0] * size[1] * VIDEO_BITS_PER_PIXEL / 8)


def work_bytes(n_frames: int, size: tuple[int, int], *, segment_frames: int, spool_size: int) -> int:
    """About how much disk is in use at most, besides the video itself: its segments, a spool, the sound."""
    spool = min(n_frames, segment_frames) * spool_size**2 * SPOOL_BYTES_PER_PIXEL
    sound = n_frames * 16_000 * 4 // 25
    return video_bytes(n_frames, size) + spool + sound


def _default_file() -> Path:
    return cache_dir() / "speeds.json"
