"""The record of a batch: one JSON object a line, only ever appended, on disk before anyone relies on it.

What the last line of a row says is true; a line that a crash tore apart is skipped.
"""

import dataclasses
import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from hallo_cli.errors import JobError, OutputError

LEDGER_VERSION = 1
DONE = frozenset(("done", "warn", "fail"))  # a whole video lies under its final name
STATUSES = ("done", "warn", "fail", "error", "invalid", "quarantined")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """What became of one row."""

    id: str
    row: int  # its line in the manifest
    status: str  # done; warn, fail: rendered, the quality gate objects; error; invalid; quarantined
    output: str = ""  # relative to the ledger's folder where it lies inside it
    fingerprint: str = ""  # content of the inputs, weights and settings: what makes a rerun skip the row
    sha256: str = ""
    size: int = 0  # bytes of the output
    frames: int = 0
    seconds: float = 0.0  # of video
    compute_s: float = 0.0
    attempts: int = 0
    seed: int | None = None
    worker: str = ""
    error: str = ""  # kind of the error
    message: str = ""
    quality: Mapping[str, float] = field(default_factory=dict)
    objections: tuple[str, ...] = ()  # what the quality gate says
    own: Mapping[str, str] = field(default_factory=dict)  # cells of the user's own columns
    finished: str = ""  # wall-clock time, for people; nothing is decided by it

    @property
    def is_rendered(self) -> bool:
        """Whether a whole video was written."""
        return self.status in DONE


@dataclass(frozen=True)
class Run:
    """The head of each run in the ledger: with which options `retry` runs the batch again."""

    options: Mapping[str, object]
    started: str = ""


class Ledger:
    """An open ledger that this process alone appends to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = -1

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._sync_folder()
        except OSError as error:
            raise OutputError(f"ledger {self.path} cannot be written: {error.strerror}.") from error
        self._is_torn = not _ends_whole(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def append(self, entry: Record | Run) -> None:
        """Write one entry and wait until the disk has it. Raises OutputError."""
        line = to_line(entry)
        data = (b"\n" if self._is_torn else b"") + line.encode()
        try:
            self._is_torn = True  # until all of it is there
            while data:
                data = data[os.write(self._file, data) :]
            self._is_torn = False
            os.fsync(self._file)
        except OSError as error:
            raise OutputError(
                f"ledger {self.path} cannot be written: {error.strerror}. "
                "Free some space, then run the same command again."
            ) from error

    def _sync_folder(self) -> None:
        if os.name == "posix":
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def to_line(entry: Record | Run) -> str:
    """The entry as one line of JSON; empty fields are left out."""
    kind = "run" if isinstance(entry, Run) else "row"
    fields = {name: value for name, value in dataclasses.asdict(entry).items() if value not in ("", (), {})}
    return json.dumps({"v": LEDGER_VERSION, "type": kind, **fields}, ensure_ascii=False) + "\n"


def read_ledger(path: Path) -> Iterator[Record | Run]:
    """The entries in order, in constant memory; torn and foreign lines are skipped with a warning.

    Raises JobError where the file was written by a newer version.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                entry = _entry(json.loads(line))
            except (ValueError, TypeError, KeyError):
                if line.strip():
                    _log.warning("%s: line %d is not a whole entry and was skipped", path, number)
                continue
            yield entry


def read_records(path: Path) -> Iterator[Record]:
    """The rows' entries in order."""
    return (entry for entry in read_ledger(path) if isinstance(entry, Record))


def last_run(path: Path) -> Run | None:
    """The head of the last run, if any."""
    run = None
    for entry in read_ledger(path):
        run = entry if isinstance(entry, Run) else run
    return run


def stored_path(output: Path, ledger: Path) -> str:
    """The output as the ledger names it, so that a batch's folder can be moved as a whole."""
    folder = ledger.parent.absolute()
    return str(output.relative_to(folder)) if output.is_relative_to(folder) else str(output)


def _entry(fields: dict[str, object]) -> Record | Run:
    version = fields.pop("v")
    if isinstance(version, int) and version > LEDGER_VERSION:
        raise JobError(f"the ledger is of version {version}, made by a newer hallo; update hallo to read it.")
    kind = fields.pop("type")
    if kind == "run":
        return Run(**fields)  # type: ignore[arg-type]
    fields["objections"] = tuple(fields.get("objections", ()))  # type: ignore[arg-type]
    record = Record(**fields)  # type: ignore[arg-type]
    if record.status not in STATUSES:
        raise ValueError(record.status)
    return record


def _ends_whole(file: int) -> bool:
    size = os.fstat(file).st_size
    return size == 0 or os.pread(file, 1, size - 1) == b"\n"
