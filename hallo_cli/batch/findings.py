"""Results of checking a batch's pictures and recordings, in a small database beside the ledger.

A finding is looked up by the file's path, size and modification time and the settings that matter, without
reading the file. A new file whose content was found good before is not checked again either.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hallo_cli import __version__
from hallo_cli.errors import InputError, OutputError
from hallo_cli.media.files import require_file
from hallo_cli.store.opening import handle_to_change
from hallo_cli.store.writing import make_own_folder, reporting_write_errors

_CANVAS_KEYS = ("canvas", "fit", "background")
_PORTRAIT_KEYS = ("bundle", "framing", "face_index", "face_expand_ratio", "size", *_CANVAS_KEYS)
WORDS = {"portrait": "portrait", "audio": "recording"}
FACES = "faces"  # that speak, if there are several
_AUDIO_KEYS = ("start", "duration", "audio_track")
_LASTING = ("", "InputError", "PortraitError", "SpeechError")  # errors that the file itself causes
FORMAT = 3
COMMIT_EVERY = 100  # findings
_COLUMNS = "digest, n_samples, width, height, error, message, notes"  # in the order of Finding's fields
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One file to look at."""

    key: str
    kind: str  # portrait or audio
    path: Path
    settings: str  # JSON of the settings


@dataclass(frozen=True)
class Finding:
    """The result of checking one file."""

    digest: str = ""  # SHA-256 of its bytes; empty where it could not be used
    n_samples: int = 0  # of a recording, at 16 kHz
    width: int = 0  # of the video that a portrait gives, in pixels
    height: int = 0
    error: str = ""  # kind of the error; empty: it can be used
    message: str = ""
    notes: tuple[str, ...] = ()  # warnings about a file that can be used


class Checks:
    """The findings so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._n_open = 0  # findings that are not on disk yet

    def __enter__(self) -> Self:
        try:
            self._db = self._open()
        except sqlite3.OperationalError as error:
            raise self._unwritable(error) from error
        except sqlite3.DatabaseError:
            _log.warning("%s is damaged and is created again", self.path)
            self.path.unlink()
            self._db = self._open()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._db.close()
        if isinstance(error, sqlite3.OperationalError):
            raise self._unwritable(error) from error

    def find(self, key: str) -> Finding | None:
        """The finding under a key."""
        query = f"SELECT {_COLUMNS} FROM findings WHERE key=?"  # noqa: S608
        row = self._db.execute(query, (key,)).fetchone()
        return _finding(row) if row else None

    def keep(self, request: Request, finding: Finding) -> None:
        """Keep a finding; it is on disk after `commit`, and every so often."""
        content = content_key(request, finding.digest) if finding.digest else ""
        *values, notes = dataclasses.astuple(finding)
        row = (request.key, content, *values, json.dumps(notes))
        self._db.execute("INSERT OR REPLACE INTO findings VALUES(?,?,?,?,?,?,?,?,?)", row)
        self._n_open += 1
        if self._n_open >= COMMIT_EVERY:  # a long transaction would block readers
            self.commit()

    def want(self, request: Request) -> None:
        """Note a file to look at, once."""
        values = (request.key, request.kind, str(request.path), request.settings)
        self._db.execute("INSERT OR IGNORE INTO wanted VALUES(?,?,?,?)", values)

    def count_wanted(self) -> int:
        """How many files `wanted` gives."""
        query = "SELECT COUNT(*) FROM wanted w LEFT JOIN findings f ON w.key=f.key WHERE f.key IS NULL"
        (count,) = self._db.execute(query).fetchone()
        return int(count)

    def wanted(self) -> Iterator[Request]:
        """The files to look at that are not found yet."""
        query = (
            "SELECT w.key, kind, path, settings FROM wanted w LEFT JOIN findings f ON w.key=f.key "
            "WHERE f.key IS NULL AND w.key>? ORDER BY w.key LIMIT 100"
        )
        last = ""
        while block := self._db.execute(query, (last,)).fetchall():
            for key, kind, path, settings in block:
                yield Request(key, kind, Path(path), settings)
            last = block[-1][0]

    def commit(self) -> None:
        """Put the findings on disk."""
        self._db.commit()
        self._n_open = 0

    def _unwritable(self, error: sqlite3.OperationalError) -> OutputError:
        return OutputError(f"{self.path} cannot be written: {error}. Free some space, then run again.")

    def _open(self) -> sqlite3.Connection:
        make_own_folder(self.path.parent)
        with reporting_write_errors(self.path):
            os.close(handle_to_change(self.path))  # the database would follow a link
        db = sqlite3.connect(self.path)
        if db.execute("PRAGMA user_version").fetchone() != (FORMAT,):
            db.execute("DROP TABLE IF EXISTS findings")
            db.execute(
                "CREATE TABLE findings(key TEXT PRIMARY KEY, content TEXT, digest TEXT, n_samples INTEGER, "
                "width INTEGER, height INTEGER, error TEXT, message TEXT, notes TEXT)"
            )
            db.execute("CREATE INDEX by_content ON findings(content)")
            db.execute(f"PRAGMA user_version={FORMAT}")
        db.execute("CREATE TEMP TABLE wanted(key TEXT PRIMARY KEY, kind TEXT, path TEXT, settings TEXT)")
        db.execute(f"DELETE FROM findings WHERE error NOT IN {_LASTING}")  # noqa: S608
        return db


def request_for(kind: str, path: Path, settings: dict[str, object]) -> Request:
    """What to check, under a key that changes with the file and with the settings that matter.

    Raises InputError if there is no such file, or it is a pipe or device, which may never end.
    """
    status = require_file(path, InputError, WORDS[kind]).stat()
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    key = _digest_of(kind, [str(path), stamp], settings)
    return Request(key, kind, path, json.dumps(settings))


def copy_findings(source: Path, target: Path) -> None:
    """Copy the findings so far, also while a run adds to them; empty if they cannot be read."""
    if not source.is_file():
        return
    try:
        with (
            closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)) as known,
            closing(sqlite3.connect(target)) as copy,
        ):
            known.backup(copy)
    except sqlite3.Error as error:
        _log.debug("%s is not used: %s", source, error)
        target.unlink(missing_ok=True)


def content_key(request: Request, digest: str) -> str:
    """A key of the content and settings, independent of the file's name and place."""
    return _digest_of(request.kind, digest, json.loads(request.settings))


def find_content(database: Path, request: Request, digest: str) -> Finding | None:
    """A good finding of an earlier run about the same content; safe to read while another process writes."""
    query = f"SELECT {_COLUMNS} FROM findings WHERE content=? AND error='' LIMIT 1"  # noqa: S608
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
            row = db.execute(query, (content_key(request, digest),)).fetchone()
    except sqlite3.Error:
        return None  # then the file is checked
    return _finding(row) if row else None


def _finding(row: tuple[str, int, int, int, str, str, str]) -> Finding:
    digest, n_samples, width, height, error, message, notes = row
    return Finding(digest, n_samples, width, height, error, message, tuple(json.loads(notes)))


def _digest_of(kind: str, file: object, settings: Mapping[str, object]) -> str:
    names = _AUDIO_KEYS if kind == "audio" else (*_PORTRAIT_KEYS, *filter(settings.__contains__, [FACES]))
    wanted = {name: settings[name] for name in names}
    parts = json.dumps([__version__, kind, file, wanted], sort_keys=True)
    return hashlib.sha256(parts.encode()).hexdigest()
