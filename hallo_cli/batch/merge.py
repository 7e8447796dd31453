"""Merges the ledgers of shards into the batch's ledger; may be repeated."""

import dataclasses

from hallo_cli.batch.ledger import Ledger
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.status import read_ledgers
from hallo_cli.errors import ManifestError
from hallo_cli.store.locks import locked
from hallo_cli.store.writing import make_own_folder


def merge(paths: Paths) -> int:
    """Append the shards' records that the merged ledger lacks; returns how many.

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
