"""How far a batch is, as its ledgers tell, whether or not it is running."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.batch.ledger import Record, last_run, read_records
from hallo_cli.batch.paths import Paths
from hallo_cli.errors import ManifestError


@dataclass(frozen=True)
class Status:
    """What became of a batch's rows so far."""

    rows: int
    counts: Counter[str]  # rows in the ledger by status
    compute_s: float
    failures: tuple[Record, ...]  # in the order they were written

    @property
    def pending(self) -> int:
        """Rows that no ledger knows."""
        return max(0, self.rows - self.counts.total())


def read_status(paths: Paths) -> Status:
    """Count rows. Raises ManifestError where there is no ledger."""
    records = last_records(paths)
    return Status(
        rows=_count_rows(paths),
        counts=Counter(record.status for record in records),
        compute_s=sum(record.compute_s for record in records),
        failures=tuple(record for record in records if not record.is_rendered or record.status == "fail"),
    )


def last_records(paths: Paths) -> list[Record]:
    """What is known last of each row. Raises ManifestError where there is no ledger."""
    ledgers = require_ledgers(paths)
    return list({record.id: record for path in ledgers for record in read_records(path)}.values())


def require_ledgers(paths: Paths) -> list[Path]:
    """The ledgers there are, as `Paths.ledgers` orders them. Raises ManifestError where there is none."""
    ledgers = paths.ledgers()
    if not ledgers:
        raise ManifestError(f"there is no {paths.merged}: has this batch been run?")
    return ledgers


def _count_rows(paths: Paths) -> int:
    """Rows of the last run of each shard, or of the whole batch where that knows of more."""
    rows = {path: _rows_of(path) for path in paths.ledgers()}
    whole = rows.pop(paths.merged, 0)
    return max(whole, sum(rows.values()))


def _rows_of(ledger: Path) -> int:
    head = last_run(ledger)
    return int(str(head.options.get("rows", 0))) if head else 0
