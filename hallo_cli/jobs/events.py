"""Events that a job reports while it runs, for progress displays, logs and ledgers."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

EVENTS_VERSION = 1


@dataclass(frozen=True)
class StageStarted:
    """A part of the job began: analyse, load, render, join or send."""

    stage: str


@dataclass(frozen=True)
class Warned:
    """A warning about inputs that can be used."""

    message: str


@dataclass(frozen=True)
class Planned:
    """The planned work, and how much of it an earlier run has done."""

    n_frames: int
    fps: float
    n_clips: int
    n_segments: int
    frames_done: int
    work_dir: Path


@dataclass(frozen=True)
class StepRendered:
    """One denoising step of one clip has finished."""

    clip: int
    step: int  # 1..n_steps
    n_steps: int


@dataclass(frozen=True)
class ClipRendered:
    """One clip's frames are safe on disk."""

    clip: int
    frames_done: int
    n_frames: int


@dataclass(frozen=True)
class SegmentCommitted:
    """One segment's video is complete on disk."""

    segment: int
    n_segments: int


@dataclass(frozen=True)
class FellBack:
    """Memory ran out; the job continues with a fallback that is slower and needs less."""

    fallback: str
    reason: str


@dataclass(frozen=True)
class Finished:
    """The video is complete at its final path."""

    output: Path
    sidecar: Path
    n_frames: int
    seconds: float
    was_done: bool  # an earlier run had finished it


Event = StageStarted | Warned | Planned | StepRendered | ClipRendered | SegmentCommitted | FellBack | Finished
Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Listen to nothing."""


def to_json(event: Event) -> str:
    """One line: the version, the event's name in snake case, its fields."""
    return to_line(event, dataclasses.asdict(event))


def to_line(event: object, values: Mapping[str, object]) -> str:
    """Any event as one line of JSON, with these values."""
    name = "".join("_" + c.lower() if c.isupper() else c for c in type(event).__name__).lstrip("_")
    return json.dumps({"version": EVENTS_VERSION, "event": name, **values}, default=str)
