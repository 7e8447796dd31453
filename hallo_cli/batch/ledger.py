"""The record of a batch: one JSON object a line, append-only, flushed to disk before anything relies on it.

The last line of a row counts. A line that a crash cut, or that is not an entry, is reported and skipped.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, BinaryIO, Self

from annotated_types import Interval

from hallo_cli.batch.states import RENDERED, STATES
from hallo_cli.errors import JobError, OutputError, printable
from hallo_cli.store.binding import bind
from hallo_cli.store.opening import flush_folder, handle_to_append, open_to_read
from hallo_cli.store.writing import make_folder, write_all

LEDGER_VERSION = 1
MAX_LINE = 4 << 20  # bytes
_MOST = 10**15  # larger than any count or measurement here
Count = Annotated[int, Interval(ge=-_MOST, le=_MOST)]
Seconds = Annotated[float, Interval(ge=-_MOST, le=_MOST)]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """The result of one row."""

    id: str
    row: Count  # its line in the manifest
    status: str  # one of states.STATES
    output: str = ""  # relative to the ledger's folder where it lies inside it
    fingerprint: str = ""  # digest of inputs, weights and settings: if equal, a rerun skips the row
    sha256: str = ""
    size: Count = 0  # bytes of the output
    frames: Count = 0
    seconds: Seconds = 0.0  # of video
    compute_s: Seconds = 0.0
    attempts: Count = 0
    seed: Count | None = None
    worker: str = ""
    error: str = ""  # kind of the error
    message: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    objections: tuple[str, ...] = ()  # the quality gate's objections
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # of the figures that it judged
    own: Mapping[str, str] = field(default_factory=dict)  # cells of the user's own columns
    finished: str = ""  # wall-clock time, for people only

    @property
    def is_rendered(self) -> bool:
        """Whether a complete video was written."""
        return self.status in RENDERED


@dataclass(frozen=True)
class Run:
    """The head of each run in the ledger; `retry` uses its options."""

    options: Mapping[str, object]
    started: str = ""


_KINDS: dict[str, type[Record | Run]] = {"row": Record, "run": Run}


class Ledger:
    """An open ledger that this process alone appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1

    def __enter__(self) -> Self:
        try:
            make_folder(self.path.parent)
            self._file = handle_to_append(self.path)
            flush_folder(self.path.parent)
        except OSError as error:
            raise OutputError(f"ledger {self.path} cannot be written: {error.strerror}.") from error
        self._is_torn = not _ends_whole(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def append(self, *entries: Record | Run) -> None:
        """Write entries and wait until the disk has them. Raises OutputError."""
        if not entries:
            return
        lines = "".join(map(to_line, entries))
        data = (b"\n" if self._is_torn else b"") + lines.encode()
        try:
            self._is_torn = True  # until all of it is there
            write_all(self._file, data)
            self._is_torn = False
        except OSError as error:
            raise OutputError(
                f"ledger {self.path} cannot be written: {error.strerror}. "
                "Free some space, then run the same command again."
            ) from error


def to_line(entry: Record | Run) -> str:
    """The entry as one line of JSON; empty fields are left out."""
    kind = "run" if isinstance(entry, Run) else "row"
    fields = {name: value for name, value in dataclasses.asdict(entry).items() if value not in ("", (), {})}
    if isinstance(entry, Record):
        fields |= {"message": printable(entry.message)} if entry.message else {}
    text = json.dumps({"v": LEDGER_VERSION, "type": kind, **fields}, ensure_ascii=False)
    if not text.isprintable():  # the codes of JSON stand for the same characters
        text = "".join(c if c == printable(c) else json.dumps(c)[1:-1] for c in text)
    return f"{text}\n"


def read_ledger(path: Path) -> Iterator[Record | Run]:
    """The entries in order, in constant memory; cut and foreign lines are skipped with a warning.

    Raises JobError if it is not a regular file or was written by a newer version.
    """
    if not path.exists():
        return
    try:
        file = open_to_read(path)
    except OSError as error:
        raise JobError(
            f"ledger {path} cannot be read: {error.strerror}. It must be a regular file, not a link or pipe."
        ) from error
    with file:
        for number, line in enumerate(_lines(file), 1):
            try:
                entry = _entry(line)
            except ValueError as error:
                if line.strip():
                    _log.warning("%s: line %d is not an entry and is skipped: %s", path, number, error)
                continue
            yield entry


def read_records(path: Path) -> Iterator[Record]:
    """The rows' entries in order."""
    return (entry for entry in read_ledger(path) if isinstance(entry, Record))


def stored_path(output: Path, ledger: Path) -> str:
    """The output as the ledger names it, so that a batch's folder can be moved as a whole."""
    folder = ledger.parent.absolute()
    return str(output.relative_to(folder)) if output.is_relative_to(folder) else str(output)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; a line longer than any entry is cut just above that limit."""
    while line := file.readline(MAX_LINE):
        yield line
        while line and not line.endswith(b"\n"):
            line = file.readline(MAX_LINE)


def _entry(line: bytes) -> Record | Run:
    """The entry in a line. Raises ValueError, and JobError if it is of a newer version."""
    if len(line) == MAX_LINE:
        raise ValueError(f"it is longer than {MAX_LINE >> 20} MiB")
    try:
        fields = json.loads(line)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    kind = _KINDS.get(str(fields.get("type"))) if isinstance(fields, dict) else None
    if kind is None:
        raise ValueError("it is not an entry of a row or the head of a run")
    version = fields.get("v")
    if type(version) is not int or version < 1:
        raise ValueError("it has no version")
    if version > LEDGER_VERSION:
        raise JobError(f"the ledger has version {version}, made by a newer hallo; update hallo to read it.")
    entry = bind(kind, fields, skips_unknown=True)
    if isinstance(entry, Record) and entry.status not in STATES:
        raise ValueError(f"its status is {entry.status!r}")
    return entry


def _ends_whole(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
