"""Consent files: which portraits and voices may be used, by whose consent and until when.

A consent file is CSV. It names files by the SHA-256 of their content, so another file under the same name
has no consent. A synthetic voice is named by the command that speaks it.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hallo_cli.errors import SettingsError, printable
from hallo_cli.store.writing import write_whole

COLUMNS = ("sha256", "speak", "who", "until", "note", "file")
LIMIT = 32 << 20  # bytes of a consent file
MAX_TEXT = 4096  # characters of a cell
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Consent:
    """A consent that a video was made with, as its mark tells it."""

    of: str  # portrait or voice
    entry: str  # SHA-256 of the consent file's entry
    until: str = ""  # its last day, as in 2027-12-31; empty: without end
    who: str = ""  # empty: not told


@dataclass(frozen=True)
class Entry:
    """One consent: a person lets one file or one synthetic voice be used."""

    who: str
    sha256: str = ""  # of a picture or a recording; empty: the entry is about a synthetic voice
    speak: str = ""  # the text-to-speech command, as --speak takes it
    until: datetime.date | None = None  # the last day; None: without end
    note: str = ""
    file: str = ""  # a name for people

    @property
    def last_day(self) -> str:
        """As in 2027-12-31; empty: without end."""
        return self.until.isoformat() if self.until else ""

    @property
    def digest(self) -> str:
        """SHA-256 of what the entry says, its file name left out."""
        said = [self.sha256, self.speak, self.who, self.last_day, self.note]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def consent(self, of: str) -> Consent:
        """The consent for a portrait or a voice."""
        return Consent(of, self.digest, self.last_day, self.who)

    def is_valid(self, day: datetime.date) -> bool:
        """Whether it holds on this day."""
        return self.until is None or day <= self.until

    def is_like(self, other: Entry) -> bool:
        """Whether another entry is of the same person about the same file or voice."""
        return (self.sha256, self.speak, self.who) == (other.sha256, other.speak, other.who)


def read_entries(file: Path) -> tuple[Entry, ...]:
    """The entries of a consent file, in order. Raises SettingsError."""
    try:
        status = file.stat()
        if status.st_size > LIMIT:
            raise ValueError("it is too large")
        return _read(file, (status.st_mtime_ns, status.st_size, status.st_ino))
    except (OSError, ValueError, csv.Error) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        reason = error.strerror or error if isinstance(error, OSError) else reason
        raise SettingsError(
            f"the consent file {printable(file)!r} cannot be used: {reason}. See `hallo docs provenance`."
        ) from error


def write_entries(file: Path, entries: Iterable[Entry]) -> None:
    """Write a consent file. Raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([entry.sha256, entry.speak, entry.who, entry.last_day, entry.note, entry.file])
    write_whole(file, text.getvalue().encode("utf-8", "replace"))


def read_day(text: str) -> datetime.date | None:
    """A date such as 2027-12-31; None for an empty text. Raises ValueError."""
    if not text.strip():
        return None
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text.strip()):
        raise ValueError(f"{text[:40]!r} is not a date such as 2027-12-31")
    try:
        return datetime.date.fromisoformat(text.strip())
    except ValueError as error:
        raise ValueError(f"{text[:40]!r} is not a day of the calendar") from error


@lru_cache(8)
def _read(file: Path, _state: tuple[int, ...]) -> tuple[Entry, ...]:
    text = file.read_text(encoding="utf-8-sig")
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = [name.strip().lower() for name in next(rows, [])]
    _require_columns(names)
    entries = []
    for cells in rows:
        if any(cell.strip() for cell in cells):
            entries.append(_entry(names, cells, rows.line_num))
    return tuple(entries)


def _require_columns(names: list[str]) -> None:
    known = ", ".join(COLUMNS)
    for name in names:
        if name not in COLUMNS or names.count(name) > 1:
            raise ValueError(f"its column {printable(name[:40])!r} is unknown or repeated; known are {known}")
    if "who" not in names or not {"sha256", "speak"} & {*names}:
        raise ValueError(f"its first line must name the columns: who, and sha256 or speak (of {known})")


def _entry(names: list[str], cells: list[str], line: int) -> Entry:
    if len(cells) > len(names) or any(len(cell) > MAX_TEXT for cell in cells):
        raise ValueError(f"line {line} has more than {len(names)} cells, or a cell that is too long")
    found: Mapping[str, str] = dict(zip(names, map(str.strip, cells), strict=False))
    sha256, speak, who = found.get("sha256", "").lower(), found.get("speak", ""), found.get("who", "")
    if not who:
        raise ValueError(f"line {line} does not say who consents")
    if bool(sha256) == bool(speak):
        raise ValueError(f"line {line} must have either sha256 or speak")
    if sha256 and not _DIGEST.fullmatch(sha256):
        raise ValueError(f"line {line}: sha256 {printable(sha256[:20])!r} is not 64 hexadecimal digits")
    try:
        until = read_day(found.get("until", ""))
    except ValueError as error:
        raise ValueError(f"line {line}: until {error}") from error
    return Entry(who, sha256, speak, until, found.get("note", ""), found.get("file", ""))
