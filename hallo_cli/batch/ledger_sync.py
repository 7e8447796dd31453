"""Updates a ledger: to the plan, so that its readers count the same rows as the run, and from the shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.ledger import Ledger, Record, read_records, stored_path
from hallo_cli.batch.states import RENDERED
from hallo_cli.batch.status import read_ledgers
from hallo_cli.errors import ManifestError
from hallo_cli.store.locks import locked
from hallo_cli.store.writing import make_own_folder

if TYPE_CHECKING:
    from hallo_cli.batch.paths import Paths
    from hallo_cli.batch.queue import Queue


def bring_in_step(ledger: Ledger, queue: Queue, ledgers: Sequence[Path], *, now: str) -> None:
    """Record what the manifest and the plan have changed since the ledgers were written.

    Rows that are gone are marked as removed, rows to be rendered again as pending, and rows whose video
    is done under another id or line are entered under their own. Raises OutputError.
    """
    entries = [Record(name, row, "removed", finished=now) for name, row in queue.history.gone()]
    entries += [
        Record(name, row, "pending", stored_path(Path(output), ledger.path), finished=now)
        for name, row, output in queue.history.anew()
    ]
    entries += _moved(ledger, queue, ledgers, now)
    ledger.append(*entries)


def _moved(ledger: Ledger, queue: Queue, ledgers: Sequence[Path], now: str) -> Iterator[Record]:
    moved = {output: (name, row) for name, row, output in queue.history.moved()}
    found: dict[str, Record] = {}
    for path in ledgers if moved else ():
        for record in read_records(path):
            output = str(path.parent.absolute() / record.output)
            if output in moved and record.status in (*RENDERED, "quarantined"):
                found[output] = record
    for output, record in found.items():
        name, row = moved[output]
        place = stored_path(Path(output), ledger.path)
        yield dataclasses.replace(record, id=name, row=row, output=place, finished=now)


def merge(paths: Paths) -> int:
    """Append the shards' records that the merged ledger lacks; returns how many. May be repeated.

    Raises ManifestError if there is no shard's ledger, JobError while the whole batch is being run.
    """
    shards = [path for path in paths.ledgers() if path != paths.merged]
    if not shards:
        raise ManifestError(f"there are no ledgers of shards beside {paths.merged}: run the shards first.")
    make_own_folder(paths.folder)
    with locked(paths.folder / "lock", what="this batch"), Ledger(paths.merged) as ledger:
        known, merged = read_ledgers([*shards, paths.merged]), read_ledgers([paths.merged])
        fresh = [record for name, record in known.records.items() if record != merged.records.get(name)]
        gone = [
            dataclasses.replace(record, status="removed")
            for name, record in merged.records.items()
            if name not in known.records
        ]
        if known.head and (fresh or gone):
            ledger.append(dataclasses.replace(known.head, options={**known.head.options, "shard": "1/1"}))
        ledger.append(*fresh, *gone)
    return len(fresh)
