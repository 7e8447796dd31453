"""What each row of a batch asks for; the report shows it, also for rows that are still to be rendered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.batch.columns import TEXT, face_of
from hallo_cli.batch.ledger import Record, stored_path
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.media.addresses import bare_address


@dataclass(frozen=True)
class Asked:
    """What one row asks for, as people read it."""

    portrait: str = ""
    recording: str = ""  # its file, or the text that is spoken
    settings: str = ""  # as in "preset=still steps=4"; empty: those of all rows


def read_asked(
    rows: Iterable[Row | BadRow], known: Iterable[Record], ledger: Path
) -> tuple[list[Record], dict[str, Asked]]:
    """The records in the manifest's order, with one of status "pending" for each row that has none yet.

    And what the rows ask for, by id. Raises ManifestError if the manifest cannot be read.
    """
    records = {record.id: record for record in known}
    asked: dict[str, Asked] = {}
    for row in rows:
        output = stored_path(Path(row.output), ledger) if row.output else ""
        records.setdefault(row.id, Record(row.id, row.number, "pending", output, own=row.own))
        if isinstance(row, Row):
            asked[row.id] = _asked(row)
    return sorted(records.values(), key=lambda record: record.row), asked


def _asked(row: Row) -> Asked:
    settings: Mapping[str, object] = {
        **({"preset": row.preset} if row.preset else {}),
        **row.settings,
        **{name: bare_address(address) for name, address in row.far.items() if name in row.settings},
    }
    shown = row.shown
    heard = " ".join(f"{face_of(name)}={Path(shown[name]).name}" for name in row.voices) or shown["audio"]
    texts = " ".join(f"{key}={value}" for key, value in settings.items())
    return Asked(shown["portrait"], row.own.get(TEXT, heard), texts)
