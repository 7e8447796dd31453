"""Hands rows to workers and records their results; the only writer of the ledger.

A row is finished when its record is on disk. If a process dies before that, the row is tried again. A row
that kills its worker on every attempt is put into quarantine.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.batch_events import (
    BudgetSpent,
    Event,
    RowAdvanced,
    RowEnded,
    RowMeasured,
    RowRetried,
    RowStarted,
    WorkerLoading,
    WorkerLost,
    WorkerReady,
)
from hallo_cli.batch.ledger import Ledger, Record, stored_path
from hallo_cli.batch.quarantine import keep_log, put_aside, read_log
from hallo_cli.batch.task import (
    Advanced,
    Began,
    Broken,
    Died,
    Ended,
    Message,
    Rendered,
    Task,
    Up,
)
from hallo_cli.errors import HalloError, Interrupted, OutputError

if TYPE_CHECKING:
    from hallo_cli.batch.budget import Allowance
    from hallo_cli.batch.failure import Failure
    from hallo_cli.batch.queue import Queue
    from hallo_cli.batch.worker_pool import Pool

_POLL_S = 0.5
_STOP_S = 20.0  # containers kill what has not stopped after 30 s
_FINISHED_AT_STOP = frozenset({"render", "measure"})  # up to the end of the clip
_AHEAD = 2  # rows a worker holds: the one in hand and the next, being prepared


@dataclass(frozen=True)
class Policy:
    """How to react to failures."""

    retries: int = 2  # after the first attempt
    other_seeds: int = 0  # to try where the quality gate says fail
    is_fail_fast: bool = False


@dataclass
class _Held:
    """A row that is with a worker."""

    task: Task
    stage: str = "wait"
    log_offset: int = 0


@dataclass
class Scheduler:
    """Drives one pool through one queue."""

    queue: Queue
    pool: Pool
    ledger: Ledger
    policy: Policy
    allowance: Allowance
    folder: Path  # of the batch, for logs and quarantine

    def __post_init__(self) -> None:
        self._held: dict[str, dict[int, _Held]] = {slot: {} for slot in self.pool.slots}
        self._stop_status: int | None = None
        self._trouble: HalloError | None = None  # ends the batch once the current rows have stopped
        self._has_stopped = False
        self._give_up_at = math.inf  # monotonic time

    def stop(self, exit_status: int) -> None:
        """Hand out no more rows and let the current clips finish; safe in a signal handler."""
        self._stop_status = exit_status

    def run(self) -> Iterator[Event]:
        """Run until every row is in the ledger. Raises Interrupted, OutputError or a worker's HalloError."""
        for slot in self._held:
            yield WorkerLoading(slot)
        while True:
            self._obey_stop()
            self._fill()
            if self._has_ended():
                break  # closing the pool ends workers that are still busy; their clips are kept
            for slot, message in self.pool.wait(_POLL_S):
                yield from self._handle(slot, message)
        for slot in self._held:
            self._release(slot)
        if self._trouble:
            raise self._trouble
        if (left := self.queue.n_in("ready", "over budget")) and self._stop_status is None:
            yield BudgetSpent(left)
        if self._stop_status is not None:
            raise Interrupted(
                "stopped; finished work is kept, and the same command resumes.",
                exit_status=self._stop_status,
            )

    @property
    def _is_stopping(self) -> bool:
        return self._stop_status is not None or self._trouble is not None or self.allowance.is_over

    def _obey_stop(self) -> None:
        if self._is_stopping and not self._has_stopped:
            self._has_stopped = True
            self._give_up_at = time.monotonic() + _STOP_S
            self.pool.stop()

    def _has_ended(self) -> bool:
        """Whether no row is left; once the batch stops, whether none has anything worth finishing."""
        stages = {row.stage for held in self._held.values() for row in held.values()}
        if self._has_stopped:
            return time.monotonic() > self._give_up_at or not stages & _FINISHED_AT_STOP
        return not stages

    def _fill(self) -> None:
        """Give each worker up to two rows, shortest queue first; a suspect is alone with its worker."""
        if self._is_stopping:
            return
        for depth in range(_AHEAD):
            for slot, held in self._held.items():
                if len(held) == depth and self._may_take_more(held):
                    task = self._next(held)
                    if task is None:
                        return
                    self.allowance.promise(task.number, task.cost)
                    held[task.number] = _Held(task)
                    self.pool.send(slot, task)

    def _may_take_more(self, held: dict[int, _Held]) -> bool:
        return not any(row.task.is_alone for row in held.values())

    def _next(self, held: dict[int, _Held]) -> Task | None:
        """The next ready row that the budget allows; suspects only for a worker without rows."""
        ahead_s = sum(row.task.cost for row in held.values())
        while task := self.queue.take():
            if task.is_alone and held:
                self.queue.accept(task)
                return None
            if self.allowance.fits(task.cost, ahead_s=ahead_s):
                return task
            self.queue.set_state(task.number, "over budget")
        return None

    def _handle(self, slot: str, message: Message) -> Iterator[Event]:
        match message:
            case Up():
                yield WorkerReady(slot)
            case Broken():
                yield from self._lose(slot, message)
            case Began():
                yield from self._begin(slot, message)
            case Advanced():
                if held := self._held[slot].get(message.number):
                    yield RowAdvanced(held.task.id, slot, message.frames_done, message.n_frames)
            case Ended():
                yield from self._end(slot, message)
            case Died():
                yield from self._bury(slot, message)

    def _begin(self, slot: str, message: Began) -> Iterator[Event]:
        held = self._held[slot].get(message.number)
        if held is None:
            return
        held.stage = message.stage
        if message.stage == "prepare":
            held.log_offset = message.log_offset
        if message.stage == "render":
            task = held.task
            yield RowStarted(task.id, task.number, slot, task.attempts + 1, task.frames)
        if message.stage == "measure":
            yield RowMeasured(held.task.id, held.task.number, slot)

    def _end(self, slot: str, message: Ended) -> Iterator[Event]:
        held = self._held[slot].pop(message.number)
        used_s = message.result.compute_s if isinstance(message.result, Rendered) else 0.0
        self.allowance.note_end(message.number, used_s)
        if isinstance(message.result, Rendered):
            yield from self._accept(slot, held.task, message.result)
        else:
            yield from self._fail(slot, held, message.result)
        if message.is_leaving:
            self._release(slot)

    def _accept(self, slot: str, task: Task, rendered: Rendered) -> Iterator[Event]:
        if rendered.status == "fail" and task.seed_offset < self.policy.other_seeds:
            self.queue.accept(task.with_other_seed())
            yield RowRetried(task.id, task.number, "; ".join(rendered.objections) + "; trying another seed")
            return
        if task.parent:
            self.queue.finish_part(task)
            return
        record = dataclasses.replace(self._record(slot, task, rendered.status), **vars(rendered))
        yield self._write(record)
        if record.status == "fail" and self.policy.is_fail_fast:
            self._stop_after_failure(record)

    def _fail(self, slot: str, held: _Held, failure: Failure) -> Iterator[Event]:
        task = held.task
        if failure.is_interrupt:
            self.queue.accept(task)
        elif failure.ends_batch:
            self.queue.accept(task)
            self._trouble = self._trouble or OutputError(failure.message)
        elif not failure.is_final and task.attempts < self.policy.retries and not self._is_stopping:
            self.queue.accept(task.tried())
            yield RowRetried(task.id, task.number, failure.message)
        else:
            for ended in self._give_up(slot, task, "error", failure.kind, failure.message):
                keep_log(self.folder, ended.record.row, self.pool.log(slot), held.log_offset)
                yield ended

    def _bury(self, slot: str, death: Died) -> Iterator[Event]:
        """Count a failure for rows that a dead worker was busy with; waiting rows go back unchanged."""
        yield WorkerLost(slot, death.reason, is_replaced=True)
        busy = [held for held in self._held[slot].values() if held.stage != "wait"]
        self._release(slot, keep=busy)
        for held in busy:
            task = held.task.tried(is_alone=True)
            reason = f"worker {slot} died: {death.reason}"
            if self._is_stopping or len(busy) > 1 or held.task.attempts < self.policy.retries:
                self.queue.accept(task)
                yield RowRetried(task.id, task.number, reason)
            else:
                log = read_log(self.pool.log(slot), held.log_offset)
                place = put_aside(self.folder, held.task, reason, log)
                message = f"{reason}; its inputs and log are in {place}"
                yield from self._give_up(slot, held.task, "quarantined", "WorkerDied", message)

    def _release(self, slot: str, keep: list[_Held] | None = None) -> None:
        """Put the rows of a lost worker back into the queue."""
        for held in self._held[slot].values():
            if held not in (keep or []):
                self.queue.accept(held.task)
            self.allowance.note_end(held.task.number, 0.0)
        self._held[slot].clear()

    def _give_up(self, slot: str, task: Task, status: str, kind: str, message: str) -> Iterator[RowEnded]:
        if task.parent:
            message = f"{task.id}: {message}"
            whole = self.queue.give_up_parts(task)
            if whole is None:
                return
            task = dataclasses.replace(whole, attempts=task.attempts)
        record = dataclasses.replace(self._record(slot, task, status), error=kind, message=message)
        yield self._write(record)
        if self.policy.is_fail_fast:
            self._stop_after_failure(record)

    def _stop_after_failure(self, record: Record) -> None:
        reason = record.message or "; ".join(record.objections)
        self._trouble = self._trouble or HalloError(
            f"row {record.row} ({record.id}) failed and --fail-fast stopped the batch: {reason}"
        )

    def _record(self, slot: str, task: Task, status: str) -> Record:
        return Record(
            id=task.id,
            row=task.number,
            status=status,
            output=stored_path(task.output, self.ledger.path),
            fingerprint=task.fingerprint,
            attempts=task.attempts + task.seed_offset + 1,
            worker=slot,
            own=task.own,
        )

    def _write(self, record: Record) -> RowEnded:
        record = dataclasses.replace(record, finished=now())
        self.ledger.append(record)
        self.queue.set_state(record.row, "finished")
        return RowEnded(record)

    def _lose(self, slot: str, broken: Broken) -> Iterator[Event]:
        """Continue without a worker that cannot work; raise its error if it was the last one."""
        yield WorkerLost(slot, broken.message, is_replaced=False)
        self._release(slot)
        del self._held[slot]
        if not self._held:
            error = HalloError(broken.message)
            error.exit_status = broken.exit_status
            raise error


def now() -> str:
    """Wall-clock time, for people."""
    return datetime.now(UTC).isoformat(timespec="seconds")
