"""A batch's videos and ledger in a folder of an object store, so that another machine can go on.

Videos are rendered into a local folder. A row's record and video are put into the far folder before the row
is in the ledger; the ledger's lines follow at once, in parts of a limited size, since stores cannot append.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hallo_cli.batch.ledger import Ledger, Record, Run, read_ledger, to_line
from hallo_cli.jobs.containers import mark_path
from hallo_cli.jobs.record import sidecar_path
from hallo_cli.store.writing import make_own_folder

if TYPE_CHECKING:
    from hallo_cli.batch.paths import Paths
    from hallo_cli.media.stores import FarFolder

PART_LINES = 256
_MAX_PART = 1 << 30  # bytes
_MAX_VIDEO = 1 << 36


@dataclass(frozen=True)
class Mirror:
    """The far folder, and the local one that it mirrors; it can be sent to workers."""

    folder: FarFolder
    videos: Path
    name: str  # of the batch

    def put(self, output: Path) -> None:
        """Put a row's record and video there, the video last. Raises FarFolderError."""
        for file in (*_beside(output), output):
            if file.exists():
                self.folder.put(file, self._name_of(file))

    def bring(self, output: Path) -> None:
        """Get a row's record and video if a run put them there and died before it could say so.

        Nothing happens if they are here or not there. Raises FarFolderError, OutputError.
        """
        if output.exists() or self.folder.size_of(self._name_of(output)) is None:
            return
        for file in (*_beside(output), output):
            if self.folder.size_of(self._name_of(file)) is not None:
                self.folder.get(self._name_of(file), file, max_bytes=_MAX_VIDEO)

    def sizes(self) -> dict[Path, int]:
        """The bytes of each video that is there, by its local path. Raises FarFolderError."""
        return {self.videos / name: size for name, size in self.folder.sizes().items()}

    def pull(self, target: Path) -> list[Path]:
        """Copy the ledger's parts to a local folder; returns them in the order they were written.

        Parts that are here in full are not fetched again. Raises FarFolderError, OutputError.
        """
        make_own_folder(target)
        parts = []
        for name, size in sorted(self.folder.sizes(f"{self.name}.results").items()):
            part = target / Path(name).name
            if not part.is_file() or part.stat().st_size != size:
                self.folder.get(name, part, max_bytes=_MAX_PART)
            parts.append(part)
        return parts

    def put_part(self, name: str, lines: Iterable[str]) -> None:
        """Write one part of the ledger. Raises FarFolderError."""
        self.folder.write(f"{self.name}.results/{name}.jsonl", "".join(lines).encode())

    def _name_of(self, file: Path) -> str:
        return file.relative_to(self.videos).as_posix()


class FarLedger(Ledger):
    """A ledger whose lines are in the far folder, too, when `append` returns."""

    def __init__(self, path: Path, mirror: Mirror, unsent: list[str]) -> None:
        """`unsent`: lines of the local ledger that the far folder lacks."""
        super().__init__(path)
        self._mirror, self._unsent = mirror, unsent
        self._run = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        self._number = 0

    def append(self, *entries: Record | Run) -> None:
        """See Ledger. Raises FarFolderError, too; lines that are not there go with the next ones."""
        super().append(*entries)
        self._unsent += map(to_line, entries)
        if not entries:
            return
        self._mirror.put_part(f"{self._run}-{self._number:06d}", self._unsent)
        if len(self._unsent) >= PART_LINES:
            self._number += 1
            self._unsent = []


def _beside(output: Path) -> list[Path]:
    """The files beside a video that belong to it."""
    return [sidecar_path(output), *filter(None, [mark_path(output)])]


def take_over(parts: Iterable[Path], paths: Paths) -> list[str]:
    """Add the entries of far parts to this run's ledger, which lacks them; returns the lines the parts lack.

    Raises JobError, OutputError.
    """
    here = {to_line(entry): entry for ledger in paths.ledgers() for entry in read_ledger(ledger)}
    there = {to_line(entry): entry for part in parts for entry in read_ledger(part)}
    with Ledger(paths.results) as ledger:
        ledger.append(*(entry for line, entry in there.items() if line not in here))
    return [line for line in here if line not in there]
