"""Brings the ledgers of shards together into that of the whole batch; may be repeated."""

import dataclasses
from pathlib import Path

from hallo_cli.batch.ledger import Ledger, Record, Run, last_run, read_records
from hallo_cli.batch.paths import Paths
from hallo_cli.errors import ManifestError
from hallo_cli.store.locks import locked


def merge(paths: Paths) -> int:
    """Append what the shards' ledgers know and the merged one does not; returns how many records.

    Raises ManifestError where there is no shard's ledger, JobError while the whole batch is being run.
    """
    shards = [path for path in paths.ledgers() if path != paths.merged]
    if not shards:
        raise ManifestError(f"there are no ledgers of shards beside {paths.merged}.")
    with locked(paths.folder / "lock", what="this batch"), Ledger(paths.merged) as ledger:
        known = {_key(record) for record in read_records(paths.merged)}
        fresh = [record for path in shards for record in read_records(path) if _key(record) not in known]
        if head := _head(shards):
            ledger.append(head)
        for record in fresh:
            ledger.append(record)
    return len(fresh)


def _key(record: Record) -> Record:
    """A record itself, hashable."""
    return dataclasses.replace(record, quality=tuple(sorted(record.quality.items())))  # type: ignore[arg-type]


def _head(shards: list[Path]) -> Run | None:
    """The options of the first shard's last run, with the rows of all."""
    heads = [head for path in shards if (head := last_run(path))]
    rows = sum(int(str(head.options.get("rows", 0))) for head in heads)
    return Run({**heads[0].options, "shard": "1/1", "rows": rows}, heads[0].started) if heads else None
