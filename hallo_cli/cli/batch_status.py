"""Describes the progress of a batch: counts, current rows, expected end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from hallo_cli.cli.batch_view import describe_worker
from hallo_cli.cli.progress import clock

if TYPE_CHECKING:
    from hallo_cli.batch.running import Running
    from hallo_cli.batch.status import Known

SCHEMA = 1


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
