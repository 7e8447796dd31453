"""What ledgers say of a batch's outputs and ids, beside its rows in the queue's database."""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hallo_cli.batch.ledger import Record

_SCHEMA = """
CREATE TABLE history(output TEXT PRIMARY KEY, id TEXT, fingerprint TEXT, size INTEGER, is_ours INTEGER,
  status TEXT, ledger INTEGER, finished TEXT);
CREATE TABLE known(id TEXT PRIMARY KEY, output TEXT, row INTEGER, status TEXT, ledger INTEGER, finished TEXT);
"""
# Between two ledgers the later entry counts, within one the last.
_REMEMBER = """
INSERT INTO history VALUES(?,?,?,?,?,?,?,?) ON CONFLICT(output) DO UPDATE SET
  id=excluded.id, status=excluded.status, fingerprint=excluded.fingerprint, size=excluded.size,
  ledger=excluded.ledger, finished=excluded.finished
WHERE excluded.ledger=ledger OR excluded.finished>=finished
"""
_KNOW = """
INSERT INTO known VALUES(?,?,?,?,?,?) ON CONFLICT(id) DO UPDATE SET
  output=excluded.output, row=excluded.row, status=excluded.status, ledger=excluded.ledger,
  finished=excluded.finished
WHERE excluded.ledger=ledger OR excluded.finished>=finished
"""
_GONE = """
SELECT id, row FROM known WHERE status!='removed' AND id NOT IN (SELECT id FROM rows WHERE number>=0)
"""
_ANEW = """
SELECT rows.id, number, rows.output FROM rows JOIN known ON known.id=rows.id
WHERE state IN ('ready','waiting') AND number>=0 AND known.status NOT IN ('pending','removed')
"""
_MOVED = """
SELECT rows.id, number, rows.output FROM rows LEFT JOIN known ON known.id=rows.id
WHERE state IN ('skipped','left out') AND number>=0 AND (known.id IS NULL OR known.output!=rows.output
  OR known.row!=number OR known.status IN ('pending','removed'))
"""


@dataclass(frozen=True)
class Past:
    """The ledger's last entry about an output."""

    id: str
    status: str
    fingerprint: str
    size: int
    is_ours: int  # 1: what has the output's name was rendered by this batch


class History:
    """The last state of each output and each id."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._db.executescript(_SCHEMA)

    def remember(self, records: Iterable[Record], folder: Path, *, ledger: int = 0) -> None:
        """Add the `ledger`-th ledger, which is in `folder`; later records replace earlier ones."""
        for record in records:
            self._remember(record, str(folder / record.output) if record.output else "", ledger)

    def _remember(self, record: Record, output: str, ledger: int) -> None:
        state = (record.status, ledger, record.finished)
        self._db.execute(_KNOW, (record.id, output, record.row, *state))
        if output and record.status != "removed":  # a row that comes back keeps its earlier state
            self._db.execute(_REMEMBER, (output, record.id, record.fingerprint, record.size, 0, *state))
        if record.is_rendered:
            self._db.execute("UPDATE history SET is_ours=1 WHERE output=?", (output,))

    def past(self, output: Path) -> Past | None:
        """The result of earlier runs for an output."""
        found = self._db.execute(
            "SELECT id, status, fingerprint, size, is_ours FROM history WHERE output=?", (str(output),)
        ).fetchone()
        return Past(*found) if found else None

    def gone(self) -> Iterator[tuple[str, int]]:
        """Id and line of each row that ledgers know and the manifest does not, in this share or another."""
        yield from self._db.execute(_GONE)

    def anew(self) -> Iterator[tuple[str, int, str]]:
        """Id, line and output of each row to render for which the ledgers have another state."""
        yield from self._db.execute(_ANEW)

    def moved(self) -> Iterator[tuple[str, int, str]]:
        """Id, line and output of each row whose video is done under another id or line."""
        yield from self._db.execute(_MOVED)
