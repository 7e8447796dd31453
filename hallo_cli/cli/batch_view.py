"""Shows what a batch does: a live table for terminals, plain lines for logs, JSON or tabs for programs."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hallo_cli.cli.console import plain, say
from hallo_cli.cli.progress import Style, clock

if TYPE_CHECKING:
    from rich.console import Group

    from hallo_cli.batch.events import BatchPlanned, Event
    from hallo_cli.batch.ledger import Record

PORCELAIN = ("id", "status", "output", "frames", "seconds", "compute_s", "attempts", "message")
PLAIN_INTERVAL_S = 30.0
Listener = Callable[["Event"], None]


@dataclass
class InHand:
    """A row that a worker renders."""

    id: str
    frames_done: int = 0
    n_frames: int = 0


@dataclass
class Tally:
    """What a batch has done so far, counted from its events."""

    clock: Callable[[], float] = time.monotonic
    began: float = 0.0
    rows: int = 0
    to_render: int = 0
    skipped: int = 0
    left_out: int = 0
    rendered: int = 0
    failed: int = 0
    frames: int = 0  # to render in all
    frames_done: int = 0  # of rows that are finished
    frames_now: int = 0  # rendered by this run, rows in hand included
    workers: dict[str, InHand | None] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Count one event."""
        from hallo_cli.batch import events

        match event:
            case events.BatchPlanned():
                self._begin(event)
            case events.WorkerLost(is_replaced=False):
                self.workers.pop(event.worker, None)
            case events.WorkerReady() | events.WorkerLost():
                self.workers[event.worker] = None
            case events.RowStarted():
                self.workers[event.worker] = InHand(event.id, 0, event.frames)
            case events.RowAdvanced():
                self._advance(event.worker, event.frames_done, event.n_frames)
            case events.RowEnded():
                self._end(event.record)

    @property
    def fps(self) -> float:
        """Frames a second of all workers together."""
        return self.frames_now / max(self.clock() - self.began, 1e-6)

    @property
    def seconds_left(self) -> float | None:
        """Until the last row; None before the first frames."""
        in_hand = sum(row.frames_done for row in self.workers.values() if row)
        left = max(0, self.frames - self.frames_done - in_hand)
        return left / self.fps if self.frames_now else None

    def line(self) -> str:
        """As in "12 of 40 rows rendered, 1 failed, 24.0 frames/s, 0:03:10 left"."""
        left = self.seconds_left
        speed = f", {self.fps:.1f} frames/s, {clock(left)} left" if left is not None else ""
        return f"{self.rendered} of {self.to_render} rows rendered, {self.failed} failed{speed}"

    def _begin(self, plan: BatchPlanned) -> None:
        self.began = self.clock()
        self.rows, self.to_render, self.frames = plan.rows, plan.ready, plan.frames
        self.skipped, self.left_out = plan.skipped, plan.left_out

    def _advance(self, worker: str, frames_done: int, n_frames: int) -> None:
        row = self.workers.get(worker)
        if row is not None:
            self.frames_now += max(0, frames_done - row.frames_done)
            row.frames_done, row.n_frames = frames_done, n_frames

    def _end(self, record: Record) -> None:
        self.rendered += record.is_rendered and record.status != "fail"
        self.failed += not record.is_rendered or record.status == "fail"
        self.frames_done += record.frames
        row = self.workers.get(record.worker)
        if row is not None and row.id == record.id:
            self.workers[record.worker] = None


@contextmanager
def showing(style: Style, tally: Tally, *, is_quiet: bool) -> Iterator[Listener]:
    """A listener that counts events and shows them on standard error."""
    if style is Style.auto:
        style = Style.bar if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else Style.plain
    if style is Style.json:
        yield JsonLines(tally).show
    elif style is Style.none or is_quiet:
        yield tally.add
    elif style is Style.plain:
        yield Plain(tally).show
    else:
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(get_renderable=lambda: table(tally), console=console, transient=True):
            yield tally.add


@dataclass
class JsonLines:
    """One versioned JSON object for each event."""

    tally: Tally

    def show(self, event: Event) -> None:
        """Count and show one event."""
        from hallo_cli.batch.events import to_json

        self.tally.add(event)
        say(to_json(event))


@dataclass
class Plain:
    """A line for each row that ends and for each trouble, and one every half minute."""

    tally: Tally
    last: float = 0.0

    def show(self, event: Event) -> None:
        """Count and show one event."""
        from hallo_cli.batch import events

        self.tally.add(event)
        text = describe(event)
        is_due = isinstance(event, events.RowAdvanced) and self._is_due()
        if is_due:
            text = self.tally.line()
        if text:
            say(text)

    def _is_due(self) -> bool:
        now = self.tally.clock()
        if now - max(self.last, self.tally.began) < PLAIN_INTERVAL_S:
            return False
        self.last = now
        return True


def table(tally: Tally) -> Group:
    """The live view: the whole batch, then one line a worker."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    in_hand = sum(row.frames_done for row in tally.workers.values() if row)
    grid = Table.grid(padding=(0, 1))
    whole = ProgressBar(total=max(1, tally.frames), completed=tally.frames_done + in_hand, width=30)
    grid.add_row("all", whole, plain(tally.line()))
    for worker, row in sorted(tally.workers.items()):
        if row is None:
            grid.add_row(plain(worker), "", "waiting")
        else:
            bar = ProgressBar(total=max(1, row.n_frames), completed=row.frames_done, width=30)
            grid.add_row(plain(worker), bar, plain(f"{row.frames_done}/{row.n_frames} frames of {row.id}"))
    return Group(grid)


def describe(event: Event) -> str:
    """One event for people; empty where it is not worth a line."""
    from hallo_cli.batch import events

    match event:
        case events.BatchPlanned():
            return describe_plan(event)
        case events.WorkerLost():
            after = "another one takes its place" if event.is_replaced else "it is not replaced"
            return f"worker {event.worker}: {event.reason}; {after}"
        case events.RowRetried():
            return f"row {event.row} ({event.id}) is tried again: {event.reason}"
        case events.RowEnded():
            return describe_record(event.record)
        case _:
            return ""


def describe_plan(plan: BatchPlanned) -> str:
    """As in "12 rows: 9 to render (0:01:10 of video), 2 done before, 1 refused"."""
    parts = [f"{plan.ready} to render ({clock(plan.seconds)} of video)"]
    parts += [f"{plan.skipped} done before"] if plan.skipped else []
    parts += [f"{plan.left_out} left out until `hallo batch retry`"] if plan.left_out else []
    parts += [f"{plan.invalid} refused"] if plan.invalid else []
    return f"{plan.rows} rows: {', '.join(parts)}"


def describe_record(record: Record) -> str:
    """What became of a row, on one line."""
    what = f"row {record.row} ({record.id}): {record.status}"
    if record.is_rendered:
        what += f", {record.seconds:.1f} s of video in {record.compute_s:.1f} s on {record.worker}"
    said = record.message or "; ".join(record.objections)
    return f"{what}: {said}" if said else what


def porcelain(record: Record) -> list[str]:
    """The cells of one line whose columns never change: see PORCELAIN."""
    cells = {**vars(record), "message": record.message or "; ".join(record.objections)}
    return [" ".join(str(cells[name]).split()) for name in PORCELAIN]
