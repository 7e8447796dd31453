"""The rows of a batch while it runs, in a temporary database, so that memory does not grow with the rows.

The ledger is authoritative; every run builds this database again and removes it.
"""

import dataclasses
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from hallo_cli.batch.events import RowPlanned
from hallo_cli.batch.history import History
from hallo_cli.batch.rows import TEXT, BadRow, Row, face_of
from hallo_cli.batch.task import Task
from hallo_cli.errors import ManifestError
from hallo_cli.media.addresses import bare_address
from hallo_cli.printable import printable

_SCHEMA = """
CREATE TABLE rows(
  number INTEGER PRIMARY KEY, id TEXT, portrait TEXT, audio TEXT, output TEXT, preset TEXT, given TEXT,
  state TEXT, settings TEXT, fingerprint TEXT, frames INTEGER, seconds REAL, cost REAL,
  attempts INTEGER DEFAULT 0, is_alone INTEGER DEFAULT 0, seed_offset INTEGER DEFAULT 0,
  may_replace INTEGER DEFAULT 0, parent INTEGER DEFAULT 0, parts TEXT DEFAULT '', parts_dir TEXT DEFAULT '',
  kind TEXT DEFAULT '', message TEXT DEFAULT '', own TEXT DEFAULT '{}', notes TEXT DEFAULT '',
  portrait_sha256 TEXT DEFAULT '', audio_sha256 TEXT DEFAULT '', width INTEGER DEFAULT 0,
  height INTEGER DEFAULT 0, priority INTEGER DEFAULT 0, far TEXT DEFAULT '{}',
  voices TEXT DEFAULT '{}', said TEXT DEFAULT '[]');
"""
_INDEXES = (
    "CREATE INDEX by_state ON rows(state, priority DESC, cost DESC, number); CREATE INDEX by_id ON rows(id);"
)
_READ = "SELECT number,id,portrait,audio,output,preset,given,own,priority,far,voices FROM rows NOT INDEXED"
_READ_BAD = "SELECT number,id,message,output,own,kind FROM rows NOT INDEXED WHERE state='invalid'"
_ACCEPT = (
    "UPDATE rows SET state=?,settings=?,fingerprint=?,frames=?,seconds=?,cost=?,may_replace=?,parts=?,"
    "parts_dir=?,portrait_sha256=?,audio_sha256=?,width=?,height=?,seed_offset=?,said=? WHERE number=?"
)
_TAKE = """
SELECT number,id,portrait,audio,output,settings,preset,fingerprint,frames,seconds,cost,
  attempts,is_alone,seed_offset,may_replace,parent,parts,parts_dir,own,portrait_sha256,audio_sha256,
  width,height,priority,said,far
FROM rows"""
_NEXT = f"{_TAKE} WHERE state='ready' ORDER BY priority DESC, cost DESC, number LIMIT ?"
_PUT_BACK = """
UPDATE rows SET state='ready', attempts=?, is_alone=?, seed_offset=?, may_replace=? WHERE number=?
"""
_DROP = """
UPDATE rows SET state='elsewhere' WHERE number IN (
  SELECT number FROM (SELECT number, ROW_NUMBER() OVER (ORDER BY number) - 1 AS position FROM rows)
  WHERE position % ? != ?)
"""
_PLANNED = """
SELECT number, id, state, portrait, audio, output, COALESCE(seconds, 0), width, height, COALESCE(cost, 0),
  message, far, voices, own FROM rows NOT INDEXED WHERE number>=0 AND state!='elsewhere'
"""
_NOTED = "SELECT number,id,notes FROM rows WHERE notes!=''"
_CACHE_KIB = 16 * 1024
_BLOCK = 1000  # rows moved at a time


@dataclass(frozen=True)
class Totals:
    """The sums over rows of one state."""

    rows: int = 0
    frames: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.rows + other.rows,
            self.frames + other.frames,
            self.seconds + other.seconds,
            self.cost + other.cost,
        )


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
        columns = "number,id,portrait,audio,output,preset,given,state,kind,message,own,priority,far,voices"
        marks = ",".join("?" for _ in columns.split(","))
        for block in _blocks(map(_values, rows)):
            self._db.executemany(f"INSERT INTO rows({columns}) VALUES({marks})", block)
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
        for *row, addresses, voices, own in self._paged(_PLANNED):
            planned = RowPlanned(*row)
            faces = json.loads(voices)
            files = {"portrait": planned.portrait, "audio": planned.audio, **faces}
            files |= {column: bare_address(address) for column, address in json.loads(addresses).items()}
            said = " ".join(f"{face_of(column)}={files[column]}" for column in faces)
            heard = json.loads(own).get(TEXT) or said or files["audio"]
            yield dataclasses.replace(planned, portrait=files["portrait"], audio=heard)

    def n_in(self, *states: str) -> int:
        """How many rows are in these states."""
        return sum(total.rows for state, total in self.totals().items() if state in states)

    def rows(self, state: str) -> Iterator[Row]:
        """The rows of a state in the manifest's order, as they were read."""
        return map(_row, self._paged(f"{_READ} WHERE state=?", state))

    def row(self, number: int) -> Row | None:
        """The row of a line of the manifest, as it was read."""
        found = self._db.execute(f"{_READ} WHERE number=?", (number,)).fetchone()
        return _row(found) if found else None

    def bad_rows(self) -> Iterator[tuple[BadRow, str]]:
        """The rows that cannot be rendered, each with the kind of its error."""
        for number, name, message, output, own, kind in self._paged(_READ_BAD):
            yield BadRow(number, name, message, output, json.loads(own)), kind

    def place(self, row: Row) -> None:
        """Set where the inputs of a row are, once they have been fetched or mixed."""
        voices = {column: str(path) for column, path in row.voices.items()}
        values = (str(row.portrait), str(row.audio), json.dumps(voices), json.dumps(dict(row.settings)))
        self._db.execute(
            "UPDATE rows SET portrait=?, audio=?, voices=?, given=? WHERE number=?", (*values, row.number)
        )

    def accept(self, tasks: Iterable[Task], state: str = "ready") -> None:
        """Set what checking found out about rows."""
        values = (
            (
                *(state, t.settings, t.fingerprint, t.frames, t.seconds, t.cost, t.may_replace),
                *(t.parts, t.parts_dir, t.portrait_sha256, t.audio_sha256, t.width, t.height),
                *(t.seed_offset, t.voices, t.number),
            )
            for t in tasks
        )
        for block in _blocks(values):
            self._db.executemany(_ACCEPT, block)

    def add_parts(self, whole: Task, parts: Sequence[Task]) -> None:
        """Have a row wait until its parts are rendered."""
        self.accept([whole], "waiting")
        (lowest,) = self._db.execute("SELECT MIN(0, MIN(number)) FROM rows").fetchone()
        for number, part in enumerate(parts, lowest - len(parts)):  # negative: no line of a manifest
            self._db.execute(
                "INSERT INTO rows(number,id,portrait,audio,output,preset,parent,priority) "
                "VALUES(?,?,?,?,?,?,?,?)",
                (
                    number,
                    part.id,
                    *map(str, (part.portrait, part.audio, part.output)),
                    part.preset,
                    whole.number,
                    whole.priority,
                ),
            )
            self.accept([dataclasses.replace(part, number=number)])

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
        row = self._db.execute(f"{_TAKE} WHERE number=? AND state='waiting'", (part.parent,)).fetchone()
        return _task(row) if row else None

    def refuse(self, number: int, kind: str, message: str) -> None:
        """Mark a row as one that cannot be rendered."""
        self._db.execute(
            "UPDATE rows SET state='invalid', kind=?, message=? WHERE number=?",
            (kind, printable(message), number),
        )

    def note(self, number: int, notes: Sequence[str]) -> None:
        """Keep the warnings about a row that can be rendered."""
        self._db.execute("UPDATE rows SET notes=? WHERE number=?", (json.dumps(notes), number))

    def noted_rows(self) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Number, id and notes of the rows that have some."""
        for number, name, notes in self._paged(_NOTED):
            yield number, name, tuple(json.loads(notes))

    def set_state(self, number: int, state: str) -> None:
        """Move a row on."""
        self._db.execute("UPDATE rows SET state=? WHERE number=?", (state, number))

    def take(self, n: int) -> list[Task]:
        """Up to `n` ready rows, the costliest first, which are running from now on."""
        found = self._db.execute(_NEXT, (n,)).fetchall()
        self._db.executemany("UPDATE rows SET state='running' WHERE number=?", [row[:1] for row in found])
        return [_task(row) for row in found]

    def put_back(self, task: Task) -> None:
        """Make a running row ready again, with its counts as they stand now."""
        self._db.execute(
            _PUT_BACK,
            (task.attempts, task.is_alone, task.seed_offset, task.may_replace, task.number),
        )

    def totals(self) -> dict[str, Totals]:
        """The sums by state."""
        sums = "COUNT(*), TOTAL(frames), TOTAL(seconds), TOTAL(cost)"
        query = f"SELECT state, {sums} FROM rows WHERE number>=0 GROUP BY state"  # noqa: S608
        return {
            state: Totals(rows, int(frames), seconds, cost)
            for state, rows, frames, seconds, cost in self._db.execute(query)
        }

    def _paged(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        """The answers to a query by number, which comes first; their rows may change meanwhile."""
        last, page = -1, f"{query} AND number>? ORDER BY number LIMIT {_BLOCK}"
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


def _row(found: tuple[Any, ...]) -> Row:
    number, name, portrait, audio, output, preset, given, own, priority, far, voices = found
    paths = (Path(portrait), Path(audio), Path(output))
    heard = {column: Path(path) for column, path in json.loads(voices).items()}
    row = Row(number, name, *paths, preset or None, json.loads(given), json.loads(own), priority)
    return dataclasses.replace(row, far=json.loads(far), voices=heard)


def _values(row: Row | BadRow) -> tuple[object, ...]:
    if isinstance(row, BadRow):
        bad = ("invalid", "ManifestError", printable(row.message), json.dumps(dict(row.own)), 0, "{}", "{}")
        return (row.number, row.id, "", "", row.output, "", "{}", *bad)
    given, own = json.dumps(dict(row.settings)), json.dumps(dict(row.own))
    paths = (str(row.portrait), str(row.audio), str(row.output))
    voices = {column: str(path) for column, path in row.voices.items()}
    more = (given, "new", "", "", own, row.priority, json.dumps(dict(row.far)), json.dumps(voices))
    return (row.number, row.id, *paths, row.preset or "", *more)


def _task(row: tuple[Any, ...]) -> Task:
    number, name, portrait, audio, output, *rest = row
    return Task(number, name, Path(portrait), Path(audio), Path(output), *rest)


def _blocks(values: Iterable[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    iterator = iter(values)
    while block := list(itertools.islice(iterator, _BLOCK)):
        yield block
