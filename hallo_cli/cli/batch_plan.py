"""Shows the plan of a batch: a line for each row, then what all of it takes and costs."""

from __future__ import annotations

import csv
import dataclasses
import io
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from hallo_cli.batch.batch_events import RowPlanned
from hallo_cli.cli.batch_view import shorten
from hallo_cli.cli.progress import clock

PLAN = ("id", "state", "portrait", "length", "size", "compute_s", "price", "output", "message")
TO_RENDER = ("ready", "waiting")
STATES = {
    "ready": "to render",
    "waiting": "to render",
    "skipped": "done before",
    "left out": "failed before",
    "invalid": "refused",
}
_WIDTHS = {"id": 20, "state": 13, "portrait": 20, "length": 8, "size": 9, "compute": 8, "price": 8}


def priced(row: RowPlanned, gpu_hour_price: float) -> RowPlanned:
    """The row with its price, if it is rendered and hours have one."""
    if not gpu_hour_price or row.state not in TO_RENDER:
        return row
    return dataclasses.replace(row, price=price_of(row.compute_s, gpu_hour_price))


def price_of(compute_s: float, gpu_hour_price: float) -> float:
    """What so many seconds of a worker cost; hundredths of a cent are the smallest part."""
    return round(compute_s / 3600 * gpu_hour_price, 4)


def plan_table(rows: Iterable[RowPlanned], *, has_prices: bool) -> Iterator[str]:
    """Aligned lines for people, as wide as the terminal."""
    widths = {name: width for name, width in _WIDTHS.items() if name != "price" or has_prices}
    room = max(20, shutil.get_terminal_size((120, 24)).columns - sum(widths.values()) - len(widths))
    yield " ".join([*(f"{name:<{width}}" for name, width in widths.items()), "output"])
    for row in rows:
        cells = {
            "id": row.id,
            "state": STATES.get(row.state, row.state),
            "portrait": Path(row.portrait).name,
            "length": clock(row.seconds) if row.seconds else "",
            "size": f"{row.width}x{row.height}" if row.width else "",
            "compute": clock(row.compute_s) if row.compute_s else "",
            "price": "" if row.price is None else f"{row.price:.2f}",
        }
        line = [f"{shorten(cells[name], width):<{width}}" for name, width in widths.items()]
        yield " ".join([*line, shorten(row.message or Path(row.output).name, room)]).rstrip()


def plan_cells(row: RowPlanned) -> list[str]:
    """The cells of PLAN, for programs."""
    size = f"{row.width}x{row.height}" if row.width else ""
    length, compute = f"{row.seconds:.3f}", f"{row.compute_s:.3f}"
    cost = "" if row.price is None else f"{row.price:.4f}"
    state = STATES.get(row.state, row.state)
    return [row.id, state, row.portrait, length, size, compute, cost, row.output, row.message]


def csv_line(cells: Iterable[str]) -> str:
    """One line of CSV without its end; no cell is taken for a formula."""
    from hallo_cli.batch.report import harmless

    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(map(harmless, cells))
    return text.getvalue()
