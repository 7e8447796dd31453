"""The progress of a batch, counted from its events; terminal, log and status all use it."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from hallo_cli.batch import batch_events
from hallo_cli.batch.ledger import Record
from hallo_cli.batch.states import STATES, Counts


@dataclass
class AtWork:
    """What a worker does."""

    doing: str = "loading"  # loading, waiting or rendering
    id: str = ""  # of the row that is rendered
    frames_done: int = 0
    n_frames: int = 0
    measuring: str = ""  # id of the row before it, which is measured meanwhile


@dataclass
class Tally:
    """Counts events; `add` each of them once."""

    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    rendering_since: float | None = None  # the first row's start; networks are loaded before it
    rows: int = 0
    done: int = 0
    failed: int = 0
    refused: int = 0
    frames: int = 0  # to render in all
    frames_done: int = 0  # of rows that are finished
    frames_now: int = 0  # rendered by this run, current rows included
    workers: dict[str, AtWork] = field(default_factory=dict)

    def add(self, event: batch_events.Event) -> None:
        """Count one event."""
        match event:
            case batch_events.BatchPlanned():
                self._begin(event)
            case batch_events.WorkerLost(is_replaced=False):
                self.workers.pop(event.worker, None)
            case batch_events.WorkerLoading() | batch_events.WorkerLost():
                self.workers[event.worker] = AtWork()
            case batch_events.WorkerReady():
                self.workers[event.worker] = AtWork("waiting")
            case batch_events.RowStarted():
                self._start(event)
            case batch_events.RowMeasured():
                self._measure(event)
            case batch_events.RowAdvanced():
                self._advance(event.worker, event.frames_done, event.n_frames)
            case batch_events.RowRetried():
                self._give_back(event.id)
            case batch_events.RowEnded():
                self._end(event.record)

    @property
    def counts(self) -> Counts:
        """All rows by their results, in this run or before."""
        return Counts(self.rows, self.done, self.failed, self.refused)

    @property
    def fps(self) -> float:
        """Frames a second of all workers together."""
        since = self.began if self.rendering_since is None else self.rendering_since
        return self.frames_now / max(self.clock() - since, 1e-6)

    @property
    def frames_in_hand(self) -> int:
        """Frames of rows that are being rendered."""
        return sum(worker.frames_done for worker in self.workers.values())

    @property
    def seconds_left(self) -> float | None:
        """Until the last row; None before the first frames."""
        left = max(0, self.frames - self.frames_done - self.frames_in_hand)
        return left / self.fps if self.frames_now else None

    def _begin(self, plan: batch_events.BatchPlanned) -> None:
        self.began, self.rendering_since = self.clock(), None
        self.rows, self.frames = plan.rows, plan.frames
        self.done, self.failed, self.refused = plan.skipped, plan.left_out, plan.invalid

    def _start(self, event: batch_events.RowStarted) -> None:
        if self.rendering_since is None:
            self.rendering_since = self.clock()
        measuring = self._work_of(event.worker).measuring
        self.workers[event.worker] = AtWork("rendering", event.id, 0, event.frames, measuring)

    def _measure(self, event: batch_events.RowMeasured) -> None:
        work = self._work_of(event.worker)
        if work.id == event.id:
            self.frames_done += work.frames_done
            work = AtWork("waiting")
        self.workers[event.worker] = dataclasses.replace(work, measuring=event.id)

    def _work_of(self, worker: str) -> AtWork:
        return self.workers.get(worker, AtWork())

    def _advance(self, name: str, frames_done: int, n_frames: int) -> None:
        worker = self.workers.get(name)
        if worker is not None:
            self.frames_now += max(0, frames_done - worker.frames_done)
            worker.frames_done, worker.n_frames = frames_done, n_frames

    def _give_back(self, name: str) -> None:
        for worker, work in self.workers.items():
            if work.id == name:
                self.workers[worker] = AtWork("waiting", measuring=work.measuring)

    def _end(self, record: Record) -> None:
        group = STATES[record.status]
        self.done += group == "done"
        self.failed += group == "failed"  # refused rows were counted with the plan
        work = self._work_of(record.worker)
        if work.measuring == record.id:
            work.measuring = ""
        elif work.id == record.id:
            self.frames_done += work.n_frames
            self.workers[record.worker] = AtWork("waiting", measuring=work.measuring)
