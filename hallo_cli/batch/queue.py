"""The rows of a batch while it runs, in a temporary database, so that memory does not grow with the rows.

The ledger is authoritative; every run builds this database again and removes it.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from hallo_cli.batch.batch_events import RowPlanned, RowWarned
from hallo_cli.batch.columns import FACE, TEXT, face_of
from hallo_cli.batch.history import History
from hallo_cli.batch.rows import BadRow, Row
from hallo_cli.errors import ManifestError, printable

if TYPE_CHECKING:
    from hallo_cli.batch.task import Task

# What is searched, sorted and summed is in columns of its own; `row` and `task` are pickled.
_SCHEMA = """
CREATE TABLE rows(
  number INTEGER PRIMARY KEY, id TEXT, output TEXT, state TEXT, priority INTEGER, parent INTEGER DEFAULT 0,
  frames INTEGER DEFAULT 0, seconds REAL DEFAULT 0, cost REAL DEFAULT 0,
  kind TEXT DEFAULT '', message TEXT DEFAULT '', notes TEXT DEFAULT '', row BLOB, task BLOB);
"""
_INDEXES = (
    "CREATE INDEX by_state ON rows(state, priority DESC, cost DESC, number); CREATE INDEX by_id ON rows(id);"
)
_ADD = "INSERT INTO rows(number,id,output,state,priority,kind,message,row) VALUES(?,?,?,?,?,?,?,?)"
_ADD_PART = """
INSERT INTO rows(number,id,output,priority,parent) SELECT ?,?,?,priority,number FROM rows WHERE number=?
"""
_ACCEPT = "UPDATE rows SET state=?,frames=?,seconds=?,cost=?,task=? WHERE number=?"
_NEXT = """
SELECT number, task FROM rows WHERE state='ready' ORDER BY priority DESC, cost DESC, number LIMIT 1
"""
_DROP = """
UPDATE rows SET state='elsewhere' WHERE number IN (
  SELECT number FROM (SELECT number, ROW_NUMBER() OVER (ORDER BY number) - 1 AS position FROM rows)
  WHERE position % ? != ?)
"""
_CACHE_KIB = 16 * 1024
_PAGE = 1000  # rows read at a time


@dataclass(frozen=True)
class Totals:
    """The sums over rows of one state."""

    rows: int = 0
    frames: int = 0
    seconds: float = 0.0
    cost: float = 0.0


class Queue:
    """Rows by state: new, then ready, skipped or invalid, then running, then finished."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a private file that SQLite removes at exit
        self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._db.execute("PRAGMA journal_mode=OFF")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self.history = History(self._db)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def add_rows(self, rows: Iterable[Row | BadRow]) -> None:
        """Add a manifest's rows. Raises ManifestError if two rows write one file or share an id."""
        self._db.executemany(_ADD, map(_values, rows))
        self._db.executescript(_INDEXES)
        self._refuse_repeats("output", "would both write")
        self._refuse_repeats("id", "both have the id")

    def keep_share(self, index: int, count: int) -> None:
        """Keep every `count`-th row from position `index` (from 0) on; leave the others to other shards."""
        if count > 1:
            self._db.execute(_DROP, (count, index))

    def keep_chosen(self, patterns: Sequence[str]) -> None:
        """Leave out rows whose ids match none of the patterns (* and ?). Raises ManifestError."""
        if not patterns:
            return
        unlike = " AND ".join(["id NOT GLOB ?"] * len(patterns))
        self._db.execute(f"UPDATE rows SET state='elsewhere' WHERE {unlike}", list(patterns))  # noqa: S608
        if not self._db.execute("SELECT COUNT(*) FROM rows WHERE state!='elsewhere'").fetchone()[0]:
            raise ManifestError(f"no row's id matches {' or '.join(map(repr, patterns))}; see --only.")

    def planned(self) -> Iterator[RowPlanned]:
        """Every row of this run as it was planned, in the manifest's order."""
        query = "SELECT number, state, message, row, task FROM rows WHERE number>=0 AND state!='elsewhere'"
        for _, state, message, row, task in self._paged(query):
            yield _planned(_loaded(row), _loaded(task) if task else None, state, message)

    def n_in(self, *states: str) -> int:
        """How many rows are in these states."""
        return sum(total.rows for state, total in self.totals().items() if state in states)

    def rows(self, state: str) -> Iterator[Row]:
        """The rows of a state in the manifest's order, as they were read."""
        query = "SELECT number, row FROM rows WHERE state=?"
        return (_loaded(row) for _, row in self._paged(query, state))

    def row(self, number: int) -> Row:
        """The row of a line of the manifest, as it was read."""
        (row,) = self._db.execute("SELECT row FROM rows WHERE number=?", (number,)).fetchone()
        return _loaded(row)  # type: ignore[no-any-return]

    def bad_rows(self) -> Iterator[tuple[BadRow, str]]:
        """The rows that cannot be rendered, each with the kind of its error."""
        query = "SELECT number, id, message, output, row, kind FROM rows WHERE state='invalid'"
        for number, name, message, output, row, kind in self._paged(query):
            yield BadRow(number, name, message, output, _loaded(row).own), kind

    def place(self, row: Row) -> None:
        """Set where the inputs of a row are, once they have been fetched or mixed."""
        self._db.execute("UPDATE rows SET row=? WHERE number=?", (pickle.dumps(row), row.number))

    def accept(self, task: Task, state: str = "ready") -> None:
        """Set what checking found out about a row, or put a running row back with its counts."""
        values = (state, task.frames, task.seconds, task.cost, pickle.dumps(task), task.number)
        self._db.execute(_ACCEPT, values)

    def add_parts(self, whole: Task, parts: Sequence[Task]) -> None:
        """Have a row wait until its parts are rendered."""
        self.accept(whole, "waiting")
        (lowest,) = self._db.execute("SELECT MIN(0, MIN(number)) FROM rows").fetchone()
        for number, part in enumerate(parts, lowest - len(parts)):  # negative: no line of a manifest
            self._db.execute(_ADD_PART, (number, part.id, str(part.output), whole.number))
            self.accept(dataclasses.replace(part, number=number))

    def finish_part(self, part: Task) -> None:
        """Note that a part is rendered; the last one makes its row ready."""
        self.set_state(part.number, "finished")
        (left,) = self._db.execute(
            "SELECT COUNT(*) FROM rows WHERE parent=? AND state!='finished'", (part.parent,)
        ).fetchone()
        if not left:
            self._db.execute(
                "UPDATE rows SET state='ready' WHERE number=? AND state='waiting'", (part.parent,)
            )

    def give_up_parts(self, part: Task) -> Task | None:
        """Drop the unrendered parts of a part's row; returns the row, unless it was dropped before."""
        self._db.execute("UPDATE rows SET state='finished' WHERE parent=? AND state='ready'", (part.parent,))
        self.set_state(part.number, "finished")
        query = "SELECT task FROM rows WHERE number=? AND state='waiting'"
        found = self._db.execute(query, (part.parent,)).fetchone()
        return _loaded(found[0]) if found else None

    def refuse(self, number: int, kind: str, message: str) -> None:
        """Mark a row as one that cannot be rendered."""
        self._db.execute(
            "UPDATE rows SET state='invalid', kind=?, message=? WHERE number=?",
            (kind, printable(message), number),
        )

    def note(self, number: int, notes: Sequence[str]) -> None:
        """Keep the warnings about a row that can be rendered."""
        self._db.execute("UPDATE rows SET notes=? WHERE number=?", (json.dumps(notes), number))

    def warnings(self) -> Iterator[RowWarned]:
        """The warnings about rows that can be rendered."""
        for number, name, notes in self._paged("SELECT number, id, notes FROM rows WHERE notes!=''"):
            yield from (RowWarned(name, number, note) for note in json.loads(notes))

    def set_state(self, number: int, state: str) -> None:
        """Move a row on."""
        self._db.execute("UPDATE rows SET state=? WHERE number=?", (state, number))

    def take(self) -> Task | None:
        """The costliest ready row, which is running from now on."""
        found = self._db.execute(_NEXT).fetchone()
        if found is None:
            return None
        number, task = found
        self.set_state(number, "running")
        return _loaded(task)  # type: ignore[no-any-return]

    def totals(self) -> dict[str, Totals]:
        """The sums by state; rows that wait for their parts are among those that are ready."""
        state = "CASE state WHEN 'waiting' THEN 'ready' ELSE state END"
        sums = "COUNT(*), TOTAL(frames), TOTAL(seconds), TOTAL(cost)"
        query = f"SELECT {state}, {sums} FROM rows WHERE number>=0 GROUP BY 1"  # noqa: S608
        return {
            state: Totals(rows, int(frames), seconds, cost)
            for state, rows, frames, seconds, cost in self._db.execute(query)
        }

    def _paged(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        """The answers to a query by number, which comes first; their rows may change meanwhile."""
        last, page = -1, f"{query} AND number>? ORDER BY number LIMIT {_PAGE}"
        while block := self._db.execute(page, (*values, last)).fetchall():
            yield from block
            last = block[-1][0]

    def _refuse_repeats(self, column: str, what: str) -> None:
        found = self._db.execute(
            f"SELECT {column}, MIN(number), MAX(number) FROM rows WHERE {column}!='' AND kind='' "  # noqa: S608
            f"GROUP BY {column} HAVING COUNT(*)>1 ORDER BY 2 LIMIT 1"
        ).fetchone()
        if found:
            raise ManifestError(
                f"rows {found[1]} and {found[2]} {what} {found[0]}; give each its own id or output."
            )


def _values(row: Row | BadRow) -> tuple[object, ...]:
    if isinstance(row, BadRow):
        why = ("ManifestError", printable(row.message))
        return (row.number, row.id, row.output, "invalid", 0, *why, pickle.dumps(row))
    return (row.number, row.id, str(row.output), "new", row.priority, "", "", pickle.dumps(row))


def _loaded(pickled: bytes) -> Any:
    return pickle.loads(pickled)  # noqa: S301 - from this process's own database


def _planned(row: Row | BadRow, task: Task | None, state: str, message: str) -> RowPlanned:
    shown = {"portrait": "", "audio": ""} if isinstance(row, BadRow) else row.shown
    said = " ".join(f"{face_of(column)}={file}" for column, file in shown.items() if FACE.fullmatch(column))
    return RowPlanned(
        row=row.number,
        id=row.id,
        state=state,
        portrait=shown["portrait"],
        audio=row.own.get(TEXT) or said or shown["audio"],
        output=str(row.output),
        seconds=task.seconds if task else 0.0,
        width=task.width if task else 0,
        height=task.height if task else 0,
        compute_s=task.cost if task else 0.0,
        message=message,
    )
