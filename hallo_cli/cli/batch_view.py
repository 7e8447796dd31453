"""Shows what a batch does: a live table for terminals, plain lines for logs, JSON or tabs for programs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hallo_cli.batch.batch_events import (
    BatchPlanned,
    Event,
    FilesChecked,
    RowAdvanced,
    RowEnded,
    RowRetried,
    RowWarned,
    WorkerLost,
    to_json,
)
from hallo_cli.batch.ledger import Record
from hallo_cli.batch.running import Running
from hallo_cli.batch.status import Known
from hallo_cli.batch.tally import AtWork, Tally
from hallo_cli.cli.console import plain, say
from hallo_cli.cli.progress import Shown, chosen, clock

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PORCELAIN = ("id", "status", "output", "frames", "seconds", "compute_s", "attempts", "message")
PLAIN_INTERVAL_S = 30.0
SCHEMA = 1  # of the status for programs
SPARE = 4  # columns at the right end: ^C is shown there, and must not wrap


@contextmanager
def showing(shown: Shown, tally: Tally) -> Iterator[Callable[[Event], None]]:
    """A listener that shows events on standard error, once the tally has counted them."""
    style = "none" if shown.as_json else chosen(shown.progress)
    if style == "json":
        yield Lines(tally, as_json=True).show
    elif style == "none" or shown.is_quiet:
        yield lambda event: None
    elif style == "plain":
        yield Lines(tally).show
    else:
        from rich.console import Console
        from rich.live import Live

        view = View(tally, Console(stderr=True))
        with Live(view, console=view.console, transient=True):
            yield view.show


@dataclass
class Lines:
    """A line for each event that people want to know, or JSON for each; of counts one every half minute."""

    tally: Tally
    as_json: bool = False
    last: float = field(default_factory=time.monotonic)

    def show(self, event: Event) -> None:
        """Show one event."""
        is_frames = isinstance(event, RowAdvanced) and not self.as_json
        if (is_frames or isinstance(event, FilesChecked)) and not self._is_due():
            return
        if self.as_json:
            say(to_json(event))
        elif text := line_of(self.tally) if is_frames else describe(event):
            say(text)

    def _is_due(self) -> bool:
        now = self.tally.clock()
        if now - self.last < PLAIN_INTERVAL_S:
            return False
        self.last = now
        return True


@dataclass
class View:
    """What a terminal shows: the files that were checked, then the batch and its workers."""

    tally: Tally
    console: Console
    checked: FilesChecked | None = None

    def show(self, event: Event) -> None:
        """Take one event into account."""
        if isinstance(event, FilesChecked):
            self.checked = event
        elif isinstance(event, RowWarned):
            self.console.print(plain(describe(event)))

    def __rich__(self) -> Table:
        if self.tally.rows:
            return table(self.tally, self.console.width)
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        grid = Table.grid(padding=(0, 1))
        if self.checked is None:
            grid.add_row("checking", ProgressBar(width=20, pulse=True), "reading the rows")
        else:
            done, of = self.checked.n_done, self.checked.n_files
            grid.add_row("checking", ProgressBar(of, done, width=20), f"{done} of {of} files")
        return grid


def line_of(tally: Tally, width: int = 200) -> str:
    """As in "12 of 40 rows done, 1 failed, 27 pending, 24.0 frames/s, 0:03:10 left", or as much as fits."""
    left = tally.seconds_left
    if left is None:
        return str(tally.counts)
    ends = f", {clock(left)} left"
    longest = f"{tally.counts}, {tally.fps:.1f} frames/s{ends}"
    return longest if len(longest) <= width else f"{str(tally.counts)[: width - len(ends)]}{ends}"


def table(tally: Tally, width: int) -> Table:
    """The live view, no line longer than the terminal: the whole batch, then one line a worker."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    names = sorted(tally.workers)
    name_width = min(16, max(map(len, ["all", *names])))
    bar_width = min(30, max(8, width // 6))
    text_width = max(10, width - name_width - bar_width - 2 - SPARE)
    grid = Table.grid(padding=(0, 1))
    for column_width in (name_width, bar_width, text_width):
        grid.add_column(width=column_width, no_wrap=True, overflow="ellipsis")
    done = tally.frames_done + tally.frames_in_hand
    bar = ProgressBar(total=max(1, tally.frames), completed=done, width=bar_width)
    grid.add_row("all", bar, plain(line_of(tally, text_width)))
    for name in names:
        worker = tally.workers[name]
        bar = ProgressBar(total=max(1, worker.n_frames), completed=worker.frames_done, width=bar_width)
        is_rendering = worker.doing == "rendering"
        grid.add_row(plain(name), bar if is_rendering else "", plain(describe_worker(worker, text_width)))
    return grid


def describe_worker(worker: AtWork, width: int = 200) -> str:
    """What a worker does, ids shortened to fit."""
    if worker.doing == "rendering":
        start = f"{worker.frames_done}/{worker.n_frames} frames of "
        room = width - len(start)
        meanwhile = ", measuring " if worker.measuring else ""
        room = (room - len(meanwhile)) // 2 if meanwhile else room
        return start + shorten(worker.id, room) + meanwhile + shorten(worker.measuring, room)
    if worker.measuring:
        return "measuring " + shorten(worker.measuring, width - 10)
    return {"loading": "loading the networks", "waiting": "waiting"}.get(worker.doing, worker.doing)


def shorten(text: str, width: int) -> str:
    """The text, shortened in its middle if it is too long: ids mostly differ at their ends."""
    if len(text) <= width:
        return text
    room = max(2, width - 1)
    return f"{text[: room - room // 2]}…{text[-(room // 2) :]}"


def describe(event: Event) -> str:
    """One event for people; empty where it is not worth a line."""
    match event:
        case FilesChecked():
            said = f"checked {event.n_done} of {event.n_files} files"
        case BatchPlanned():
            said = describe_plan(event)
        case RowWarned():
            said = f"row {event.row} ({event.id}): warning: {event.message}"
        case WorkerLost():
            after = "a new worker replaces it" if event.is_replaced else "it is not replaced"
            said = f"worker {event.worker}: {event.reason}; {after}"
        case RowRetried():
            said = f"row {event.row} ({event.id}) is tried again: {event.reason}"
        case RowEnded():
            said = describe_record(event.record)
        case _:
            said = ""
    return said


def describe_plan(plan: BatchPlanned) -> str:
    """As in "12 rows: 9 to render (0:01:10 of video), 2 done before, 1 refused"."""
    parts = [f"{plan.ready} to render ({clock(plan.seconds)} of video)"]
    parts += [f"{plan.skipped} done before"] if plan.skipped else []
    parts += [f"{plan.left_out} waiting for `hallo batch retry`"] if plan.left_out else []
    parts += [f"{plan.invalid} refused"] if plan.invalid else []
    return f"{plan.rows} {'row' if plan.rows == 1 else 'rows'}: {', '.join(parts)}"


def describe_record(record: Record) -> str:
    """The result of a row, on one line."""
    what = f"row {record.row} ({record.id}): {record.status}"
    if record.is_rendered:
        what += f", {record.seconds:.1f} s of video in {record.compute_s:.1f} s on {record.worker}"
    said = record.message or "; ".join(record.objections)
    return f"{what}: {said}" if said else what


def porcelain(record: Record) -> list[str]:
    """The cells of one line whose columns never change: see PORCELAIN."""
    cells = {**vars(record), "message": record.message or "; ".join(record.objections)}
    return [" ".join(str(cells[name]).split()) for name in PORCELAIN]


def running_lines(running: Sequence[Running]) -> Iterator[str]:
    """The unfinished runs, for people."""
    if not running:
        yield "not running"
    for one in running:
        yield f"running as process {one.process}" if one.process else "running"
        for name, worker in sorted(one.workers.items()):
            yield f"  {name}: {describe_worker(worker)}"
        if one.ends is not None and one.seconds_left is not None:
            end = one.ends.astimezone().isoformat(" ", "minutes")
            yield f"  expected end {end} ({clock(one.seconds_left)} left)"


def status_values(known: Known, running: Sequence[Running]) -> dict[str, object]:
    """All of it for programs."""
    counts = known.counts
    return {
        "schema": SCHEMA,
        **dataclasses.asdict(counts),
        "pending": counts.pending,
        "statuses": known.statuses,
        "compute_s": round(known.compute_s, 3),
        "running": [
            {**dataclasses.asdict(one), "expected_end": one.ends.isoformat() if one.ends else None}
            for one in running
        ],
    }
