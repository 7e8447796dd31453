"""Runs a batch and reports its rows to people and programs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hallo_cli.batch.batch_events import (
    BatchPlanned,
    BudgetSpent,
    Event,
    FilesChecked,
    RowEnded,
    RowPlanned,
    to_json,
)
from hallo_cli.batch.tally import Tally
from hallo_cli.cli import batch_view
from hallo_cli.cli.batch_hooks import HookRunner, Hooks
from hallo_cli.cli.batch_options import Telling
from hallo_cli.cli.batch_plan import PLAN, csv_line, plan_cells, plan_table, price_of, priced
from hallo_cli.cli.check import describe_disk
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.progress import Shown, clock
from hallo_cli.cli.signals import obeying_signals
from hallo_cli.errors import SettingsError

if TYPE_CHECKING:
    from hallo_cli.batch.run import Batch, OpenBatch

FAILED = 1
BUDGET_SPENT = 75  # "temporary failure; try again later", as mail programs say


def run(
    batch: Batch, shown: Shown, hooks: Hooks, telling: Telling = Telling(), *, gpu_hour_price: float = 0.0
) -> None:
    """Check, then render; the last line counts the rows. Ends with status 1 if some failed."""
    from hallo_cli.batch.run import opened

    if telling.as_csv and not telling.is_dry:
        raise SettingsError("--csv needs --dry-run; hallo batch report writes a CSV of the results.")
    if telling.sheet and not telling.is_dry:
        raise SettingsError("--sheet needs --dry-run; hallo batch report writes a page of the results.")
    if telling.sheet and telling.sheet.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"--sheet {str(telling.sheet)!r} must end in .html.")
    shown.start_log()
    runner = HookRunner(hooks)
    with (
        opened(batch, is_dry=telling.is_dry) as open_batch,
        obeying_signals(open_batch.stop, in_hand="the current clips"),
        runner,
    ):
        with batch_view.showing(shown, open_batch.tally) as show:
            for n_done in open_batch.check():
                show(FilesChecked(n_done, open_batch.planner.n_files))
        _warn_of_disk(open_batch.planner.summary())
        if telling.is_dry:
            status = _tell_plan(open_batch, shown, telling, gpu_hour_price)
        else:
            status = _render(open_batch, batch.paths.results, shown, telling, runner)
    if status:
        raise typer.Exit(status)


def _warn_of_disk(plan: BatchPlanned) -> None:
    from hallo_cli.jobs.forecast import disk_warnings

    if plan.free_bytes is not None:
        for warning in disk_warnings(plan.disk_bytes + plan.work_bytes, plan.free_bytes):
            say(f"warning: {warning}")


def _render(open_batch: OpenBatch, results: Path, shown: Shown, telling: Telling, hooks: HookRunner) -> int:
    """Render and show every event; returns the exit status."""
    began = time.monotonic()
    tally = open_batch.tally
    left = 0
    try:
        with batch_view.showing(shown, tally) as show:
            for event in open_batch.run():
                show(event)
                _tell_program(event, shown, telling)
                if isinstance(event, RowEnded):
                    hooks.row_ended(to_json(event))
                if isinstance(event, BudgetSpent):
                    left = event.left
    finally:
        _tell_end(tally, time.monotonic() - began, results)
        hooks.batch_ended(
            {**dataclasses.asdict(tally.counts), "pending": tally.counts.pending, "ledger": str(results)}
        )
    if left:
        say(f"the budget is spent: {left} {'row is' if left == 1 else 'rows are'} left for another run")
    return FAILED if tally.failed or tally.refused else BUDGET_SPENT if left else 0


def _tell_program(event: Event, shown: Shown, telling: Telling) -> None:
    if shown.as_json:
        answer(to_json(event))
    if telling.as_porcelain and isinstance(event, RowEnded):
        answer(*batch_view.porcelain(event.record))


def _tell_plan(open_batch: OpenBatch, shown: Shown, telling: Telling, price: float) -> int:
    """Show what would be rendered, for each row and in total; returns the exit status."""
    plan = open_batch.planner.summary()
    if price:
        plan = dataclasses.replace(plan, price=price_of(plan.compute_s, price))
    is_for_program = shown.as_json or telling.as_porcelain or telling.as_csv
    _tell_rows(
        (priced(row, price) for row in open_batch.queue.planned()), shown, telling, has_prices=bool(price)
    )
    if shown.as_json:
        answer(to_json(plan))
    if telling.sheet:
        _write_sheet(telling.sheet, open_batch, price)
    for bad, kind in open_batch.queue.bad_rows():
        say(f"row {bad.number} ({bad.id}): {kind}: {bad.message}")
    for warning in open_batch.queue.warnings():
        say(batch_view.describe(warning))
    for line in plan_lines(plan, price):
        (say if is_for_program else answer)(line)
    return FAILED if plan.invalid else 0


def _write_sheet(page: Path, open_batch: OpenBatch, price: float) -> None:
    from hallo_cli.batch.sheet import write_sheet

    planner = open_batch.planner
    rows = (priced(row, price) for row in open_batch.queue.planned())
    lines = list(plan_lines(planner.summary(), price))
    n_pictures = write_sheet(page, rows, planner.still, title=planner.batch.paths.base.name, lines=lines)
    say(f"{page}: {n_pictures} rows with a picture")


def _tell_rows(rows: Iterator[RowPlanned], shown: Shown, telling: Telling, *, has_prices: bool) -> None:
    if shown.as_json:
        for row in rows:
            answer(to_json(row))
    elif telling.as_porcelain:
        for row in rows:
            answer(*plan_cells(row))
    elif telling.as_csv:
        answer(csv_line(PLAN))
        for row in rows:
            answer(csv_line(plan_cells(row)))
    else:
        for line in plan_table(rows, has_prices=has_prices):
            answer(line)


def plan_lines(plan: BatchPlanned, gpu_hour_price: float) -> Iterator[str]:
    """A plan for people."""
    hours = plan.compute_s / 3600
    yield batch_view.describe_plan(plan)
    if not plan.ready:
        return
    yield f"about {clock(plan.compute_s)} of compute ({hours:.2f} hours of one worker)"
    if plan.measure_s:
        yield f"about {clock(plan.measure_s)} to measure the videos, on one core at the same time"
    if gpu_hour_price:
        yield f"about {price_of(plan.compute_s, gpu_hour_price):.2f} at {gpu_hour_price:g} an hour"
    yield f"about {describe_disk(plan.disk_bytes, plan.work_bytes)}"


def _tell_end(tally: Tally, seconds: float, results: Path) -> None:
    if not tally.rows:
        return  # the batch did not begin; the error says why
    is_clean = not (tally.failed or tally.refused)
    where = "" if is_clean else f"; see {results}, or `hallo batch report`"
    say(f"{tally.counts} in {clock(seconds)}{where}")
