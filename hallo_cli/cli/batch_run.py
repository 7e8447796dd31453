"""Runs a batch and says what becomes of its rows, to people and to programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hallo_cli.cli import batch_view
from hallo_cli.cli.batch_options import Telling
from hallo_cli.cli.check import describe_disk
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.progress import Shown, Style, clock
from hallo_cli.cli.signals import obeying_signals

if TYPE_CHECKING:
    from hallo_cli.batch.events import BatchPlanned, Event
    from hallo_cli.batch.run import Batch, OpenBatch
    from hallo_cli.batch.tally import Tally


def run(batch: Batch, shown: Shown, telling: Telling = Telling()) -> None:
    """Check, then render; the last line says what became of the rows. Ends with status 1 if some failed."""
    from hallo_cli.batch.run import opened

    shown.start_log()
    style = Style.none if shown.as_json else shown.progress
    with (
        opened(batch, is_dry=telling.is_dry) as open_batch,
        obeying_signals(open_batch.stop, in_hand="the clips in hand"),
    ):
        with batch_view.checking(style, is_quiet=shown.is_quiet) as show:
            for n_done in open_batch.check():
                show(n_done, open_batch.n_files)
        if telling.is_dry:
            is_clean = _tell_plan(open_batch, telling.gpu_hour_price, as_json=shown.as_json)
        else:
            is_clean = _render(open_batch, batch.paths.results, shown, telling)
    if not is_clean:
        raise typer.Exit(1)


def _render(open_batch: OpenBatch, results: Path, shown: Shown, telling: Telling) -> bool:
    """Render, telling every event; returns whether all rows are done."""
    began = time.monotonic()
    tally = open_batch.tally
    style = Style.none if shown.as_json else shown.progress
    try:
        with batch_view.showing(style, tally, is_quiet=shown.is_quiet) as show:
            for event in open_batch.run():
                show(event)
                _tell_program(event, shown, telling)
    finally:
        _tell_end(tally, time.monotonic() - began, results)
    return not (tally.failed or tally.refused)


def _tell_program(event: Event, shown: Shown, telling: Telling) -> None:
    from hallo_cli.batch import events

    if shown.as_json:
        answer(events.to_json(event))
    if telling.as_porcelain and isinstance(event, events.RowEnded):
        answer(*batch_view.porcelain(event.record))


def _tell_plan(open_batch: OpenBatch, gpu_hour_price: float, *, as_json: bool) -> bool:
    """Say what would be rendered; returns whether every row can be."""
    plan = open_batch.summary()
    if as_json:
        from hallo_cli.batch.events import to_json

        answer(to_json(plan))
    for bad, kind in open_batch.bad_rows():
        say(f"row {bad.number} ({bad.id}): {kind}: {bad.message}")
    for line in plan_lines(plan, gpu_hour_price):
        (say if as_json else answer)(line)
    return not plan.invalid


def plan_lines(plan: BatchPlanned, gpu_hour_price: float) -> Iterator[str]:
    """A plan for people."""
    hours = plan.compute_s / 3600
    yield batch_view.describe_plan(plan)
    yield f"about {clock(plan.compute_s)} of compute ({hours:.2f} hours of one worker)"
    if plan.measure_s:
        yield f"about {clock(plan.measure_s)} of measuring on one core, beside it"
    if gpu_hour_price:
        yield f"about {hours * gpu_hour_price:.2f} at {gpu_hour_price:g} an hour"
    yield f"about {describe_disk(plan.disk_bytes, plan.work_bytes)}"


def _tell_end(tally: Tally, seconds: float, results: Path) -> None:
    if not tally.rows:
        return  # the batch did not begin; the error says why
    is_clean = not (tally.failed or tally.refused)
    where = "" if is_clean else f"; see {results}, or `hallo batch report`"
    say(f"{tally.counts} in {clock(seconds)}{where}")
