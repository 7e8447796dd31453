"""Events that a batch reports while it runs, for progress displays and logs."""

import dataclasses
from dataclasses import dataclass

from hallo_cli.batch.ledger import Record
from hallo_cli.jobs.events import to_line


@dataclass(frozen=True)
class FilesChecked:
    """Files were looked at before anything is rendered."""

    n_done: int
    n_files: int


@dataclass(frozen=True)
class BatchPlanned:
    """All rows are checked; nothing has been rendered by this run."""

    rows: int
    ready: int
    skipped: int  # done by earlier runs
    left_out: int  # put into quarantine or failed by the quality gate in earlier runs
    invalid: int
    frames: int  # to render
    seconds: float  # of video to render
    compute_s: float  # predicted, of one worker
    disk_bytes: int  # predicted, of the videos
    work_bytes: int  # predicted peak of work files, besides the videos
    measure_s: float = 0.0  # predicted, on one core, in parallel with the renders
    elsewhere: int = 0  # rows that other shards render; not among `rows`
    free_bytes: int | None = None  # where the videos go: on the fullest disk; None: nothing to render
    price: float | None = None  # of `compute_s`; None: no price of an hour was given


@dataclass(frozen=True)
class RowPlanned:
    """What a run would do with a row."""

    row: int
    id: str
    state: str  # ready or waiting: to render; skipped: done before; left out: failed before; invalid: refused
    portrait: str
    audio: str  # the recording; the text that is spoken; 1=FILE 2=FILE of several faces
    output: str
    seconds: float  # of video
    width: int
    height: int
    compute_s: float  # predicted
    message: str  # why it is refused
    price: float | None = None  # of `compute_s`; None: not rendered, or no price of an hour was given


@dataclass(frozen=True)
class BudgetSpent:
    """The run ends because of its budget."""

    left: int  # rows that are still to be rendered


@dataclass(frozen=True)
class WorkerLoading:
    """A worker begins to load its weights."""

    worker: str


@dataclass(frozen=True)
class RowWarned:
    """A warning about a row's inputs, which can be used."""

    id: str
    row: int
    message: str


@dataclass(frozen=True)
class WorkerReady:
    """A worker has loaded its weights."""

    worker: str


@dataclass(frozen=True)
class WorkerLost:
    """A worker died, or cannot work at all."""

    worker: str
    reason: str
    is_replaced: bool  # another one takes its place


@dataclass(frozen=True)
class RowStarted:
    """A row is being rendered."""

    id: str
    row: int
    worker: str
    attempt: int
    frames: int


@dataclass(frozen=True)
class RowAdvanced:
    """Frames of a row that are safe on disk."""

    id: str
    worker: str
    frames_done: int
    n_frames: int


@dataclass(frozen=True)
class RowMeasured:
    """A row is rendered and is being measured while the next one is rendered."""

    id: str
    row: int
    worker: str


@dataclass(frozen=True)
class RowRetried:
    """A row goes back into the queue."""

    id: str
    row: int
    reason: str


@dataclass(frozen=True)
class RowEnded:
    """A row is in the ledger."""

    record: Record


WorkerEvent = WorkerLoading | WorkerReady | WorkerLost
RowEvent = RowWarned | RowStarted | RowAdvanced | RowMeasured | RowRetried | RowEnded
Event = FilesChecked | BatchPlanned | RowPlanned | BudgetSpent | WorkerEvent | RowEvent


def to_json(event: Event) -> str:
    """One line: the version, the event's name in snake case, its fields; of a finished row, its record's."""
    return to_line(event, dataclasses.asdict(event.record if isinstance(event, RowEnded) else event))
