"""The progress of a batch from its ledgers, running or not."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.batch.ledger import Record, Run, read_ledger
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.states import STATES, Counts
from hallo_cli.errors import ManifestError


@dataclass(frozen=True)
class Known:
    """The content of a batch's ledgers."""

    records: Mapping[str, Record]  # the last record of each row, by id
    head: Run | None  # of the last run

    @property
    def statuses(self) -> Counter[str]:
        """How many rows have each status."""
        return Counter(record.status for record in self.records.values())

    @property
    def counts(self) -> Counts:
        """The rows by result."""
        sums = Counter(STATES[record.status] for record in self.records.values())
        rows = self.head.options.get("rows", 0) if self.head else 0
        known = sums["done"] + sums["failed"] + sums["refused"]
        return Counts(
            max(rows if isinstance(rows, int) else 0, known), sums["done"], sums["failed"], sums["refused"]
        )

    @property
    def compute_s(self) -> float:
        """The compute time of all rendered rows."""
        return sum(record.compute_s for record in self.records.values())

    @property
    def failures(self) -> list[Record]:
        """The rows that failed or were refused, in the manifest's order."""
        return [record for record in self.in_order if STATES[record.status] in ("failed", "refused")]

    @property
    def in_order(self) -> list[Record]:
        """All entries in the manifest's order."""
        return sorted(self.records.values(), key=lambda record: record.row)


def read_known(paths: Paths) -> Known:
    """Read all ledgers of a batch once. Raises ManifestError if there is none, JobError."""
    return read_ledgers(require_ledgers(paths))


def read_ledgers(ledgers: Sequence[Path], *, only_rendered: bool = False) -> Known:
    """Read these: between ledgers, the later entry of a row counts; within one, the last. Raises JobError.

    only_rendered: leave out what happened to a row since its video was made.
    """
    records: dict[str, Record] = {}
    head: Run | None = None
    for ledger in ledgers:
        own: dict[str, Record] = {}
        for entry in read_ledger(ledger):
            if isinstance(entry, Record):
                if entry.is_rendered or not only_rendered:
                    own[entry.id] = entry
            elif head is None or entry.started >= head.started:
                head = entry
        records |= {name: one for name, one in own.items() if _is_later(one, records.get(name))}
    return Known({name: one for name, one in records.items() if one.status != "removed"}, head)


def require_ledgers(paths: Paths) -> list[Path]:
    """The ledgers there are, as `Paths.ledgers` orders them. Raises ManifestError if there is none."""
    ledgers = paths.ledgers()
    if not ledgers:
        raise ManifestError(f"there is no {paths.merged}: has this batch been run?")
    return ledgers


def _is_later(record: Record, other: Record | None) -> bool:
    return other is None or record.finished >= other.finished
