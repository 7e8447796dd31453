"""The plan of a job, made before it starts: its fingerprint, frames and segments.

Pure: this module touches no file and no network, so that a plan can be tested and compared as a value.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hallo_cli.errors import JobError
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.settings.values import canonical
from hallo_cli.store.binding import bind

RENDER_VERSION = 9  # raised when the same inputs and settings give other frames
PLAN_FORMAT = 1
LEEWAY = 0.25  # how far a cut may move towards a pause, as a share of the segment


@dataclass(frozen=True)
class Voice:
    """What one face of a group says."""

    face: int  # counted from the left, from 1
    audio: Path


@dataclass(frozen=True)
class Job:
    """One portrait and one recording that become one video."""

    portrait: Path
    audio: Path
    output: Path
    settings: RenderSettings
    corrects: str = ""  # fingerprint of the earlier render whose frames it takes over
    voices: tuple[Voice, ...] = ()  # of several faces; `audio` then is their mixed sound


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of the job, committed to disk as one file; starts at the start of a clip."""

    index: int
    start: int
    stop: int
    is_taken: bool = False  # copied from an earlier render, see `correction`; may start anywhere

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return self.stop - self.start


@dataclass(frozen=True)
class JobPlan:
    """The whole job as data; written once as plan.json."""

    fingerprint: str
    n_frames: int
    fps: float
    clip_frames: int
    segments: tuple[Segment, ...]

    @property
    def n_taken(self) -> int:
        """Number of frames copied from an earlier render."""
        return sum(segment.n_frames for segment in self.segments if segment.is_taken)

    @property
    def n_clips(self) -> int:
        """Number of clips, the last one possibly cropped."""
        return -(-self.n_frames // self.clip_frames)


def fingerprint(
    *, portrait: str, audio: str, weights_id: str, settings: RenderSettings, more: Sequence[str] = ()
) -> str:
    """The identity of a result: equal if and only if input bytes, weights, settings and version are equal.

    `portrait` and `audio` are digests of the files' bytes; `more`: what else decides.
    """
    parts = [str(RENDER_VERSION), portrait, audio, weights_id, canonical(settings), *more]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def count_frames(duration_s: float, fps: float) -> int:
    """The number of frames that cover a recording; the last one may extend past its end."""
    return max(1, math.ceil(round(duration_s * fps, 6)))


def plan_segments(
    n_frames: int, *, clip_frames: int, segment_frames: int, pauses: Sequence[tuple[int, int]] = ()
) -> tuple[Segment, ...]:
    """Cut [0, n_frames) into segments of about `segment_frames`, each a whole number of clips.

    A job that fits into one segment gets one. A cut moves by up to a quarter of a segment to the nearest clip
    boundary in a pause (half-open ranges of frames), where a join is least visible and audible.
    """
    n_clips = -(-n_frames // clip_frames)
    nominal = max(1, n_clips if n_frames <= segment_frames else round(segment_frames / clip_frames))
    leeway = int(nominal * LEEWAY)
    quiet = {
        clip for start, stop in pauses for clip in range(-(-start // clip_frames), -(-stop // clip_frames))
    }
    cuts = [0]
    while n_clips - cuts[-1] > nominal:
        target = cuts[-1] + nominal
        nearby = range(target - leeway, min(target + leeway, n_clips - 1) + 1)
        in_pause = [clip for clip in nearby if clip in quiet]
        cuts.append(min(in_pause, key=lambda clip: (abs(clip - target), clip), default=target))
    edges = [clip * clip_frames for clip in cuts] + [n_frames]
    return tuple(Segment(i, edges[i], edges[i + 1]) for i in range(len(cuts)))


def to_json(plan: JobPlan) -> str:
    """The text of plan.json."""
    return json.dumps({"format": PLAN_FORMAT, **asdict(plan)}, indent=1) + "\n"


def from_json(text: str) -> JobPlan:
    """The inverse of `to_json`. Raises JobError if the text is something else."""
    try:
        values = json.loads(text)
        if values.pop("format") != PLAN_FORMAT:
            raise ValueError("written by another version")
        return bind(JobPlan, values)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise JobError(f"plan.json cannot be used ({error}); add --no-resume to start again.") from error
