"""Tasks from the scheduler to its workers, and messages from them; all can be pickled."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.failure import Failure

if TYPE_CHECKING:
    from hallo_cli.jobs.plan import Voice
    from hallo_cli.settings.schema import RenderSettings

N_SEEDS = 2**32


@dataclass(frozen=True)
class Part:
    """Frames [start, stop) of a row; `lead` frames before them are rendered too, to be blended."""

    start: int
    stop: int
    lead: int

    @property
    def n_frames(self) -> int:
        """Frames to render."""
        return self.stop - self.start + self.lead


@dataclass(frozen=True)
class Task:
    """A row that can be rendered: checked, priced, and how often it was tried."""

    number: int
    id: str
    portrait: Path
    audio: Path
    output: Path
    settings: RenderSettings
    preset: str  # that the row names; empty: none
    fingerprint: str
    frames: int
    seconds: float  # of video
    cost: float  # seconds of compute, predicted
    attempts: int = 0  # that failed so far
    is_alone: bool = False  # share the worker with no other row, since one of them killed it
    seed_offset: int = 0  # the quality gate refused this many seeds
    may_replace: bool = False  # an existing output may be replaced
    parent: int = 0  # of a part: the number of its row
    parts: tuple[Part, ...] = ()  # of a row that is rendered in parts
    parts_dir: str = ""  # where those parts are
    own: Mapping[str, str] = field(default_factory=dict, hash=False)  # cells of the user's own columns
    portrait_sha256: str = ""  # of the inputs as they were checked
    audio_sha256: str = ""
    width: int = 0  # of the video, in pixels
    height: int = 0
    voices: tuple[Voice, ...] = ()  # what each of several faces says
    voices_sha256: tuple[str, ...] = ()  # of their recordings
    far: Mapping[str, str] = field(default_factory=dict, hash=False)  # addresses of inputs by column

    def __str__(self) -> str:
        return f"row {self.number} ({self.id})"

    def tried(self, *, is_alone: bool = False) -> Task:
        """The task with one more attempt counted."""
        return dataclasses.replace(self, attempts=self.attempts + 1, is_alone=is_alone or self.is_alone)

    def with_other_seed(self) -> Task:
        """The task with the next seed; its video replaces the existing one."""
        return dataclasses.replace(self, seed_offset=self.seed_offset + 1, may_replace=True)


@dataclass(frozen=True)
class Rendered:
    """A complete video at its final path; the ledger's record takes over all fields."""

    frames: int
    seconds: float
    seed: int
    sha256: str = ""
    size: int = 0
    compute_s: float = 0.0
    status: str = "done"  # the quality gate's verdict: done, warn or fail
    quality: Mapping[str, float] = field(default_factory=dict)
    objections: tuple[str, ...] = ()
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the figures that were judged


@dataclass(frozen=True)
class Up:
    """A worker has loaded its weights."""


@dataclass(frozen=True)
class Broken:
    """A worker cannot work at all: its weights or its device are missing."""

    kind: str
    message: str
    exit_status: int


@dataclass(frozen=True)
class Began:
    """A row entered a stage of its worker: prepare, wait, render or measure."""

    number: int
    stage: str
    log_offset: int = 0  # bytes of the worker's log so far


@dataclass(frozen=True)
class Advanced:
    """Frames of a row that are safe on disk."""

    number: int
    frames_done: int
    n_frames: int


@dataclass(frozen=True)
class Ended:
    """A row left its worker; if `is_leaving`, the worker ends, too, and no other row fails."""

    number: int
    result: Rendered | Failure
    is_leaving: bool = False


@dataclass(frozen=True)
class Died:
    """A worker died without a message; another one takes its place."""

    reason: str


Message = Up | Broken | Began | Advanced | Ended | Died
