"""The current state of a run, in a small file beside its lock, for `hallo batch status`.

It is only shown: if it is missing or damaged, less is shown.
"""

import dataclasses
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hallo_cli.batch.paths import Paths
from hallo_cli.batch.tally import AtWork, Tally
from hallo_cli.errors import OutputError
from hallo_cli.store.binding import bind
from hallo_cli.store.locks import is_held
from hallo_cli.store.reading import read_small
from hallo_cli.store.writing import refuse_link, write_whole

INTERVAL_S = 3.0
_NAME = "now.json"


@dataclass(frozen=True)
class Running:
    """A run of a batch that has not ended."""

    process: int = 0
    written: str = ""
    seconds_left: float | None = None
    workers: Mapping[str, AtWork] = field(default_factory=dict)

    @property
    def ends(self) -> datetime | None:
        """About when the last row will be done."""
        if self.seconds_left is None:
            return None
        return datetime.fromisoformat(self.written) + timedelta(seconds=self.seconds_left)


class Pulse:
    """Writes the file every few seconds during a run."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self._path = folder / _NAME
        self._tally = tally
        self._last = -INTERVAL_S

    def beat(self) -> None:
        """Write if the interval has passed; a full disk is reported elsewhere."""
        if time.monotonic() - self._last < INTERVAL_S:
            return
        self._last = time.monotonic()
        written, tally = datetime.now(UTC).isoformat(), self._tally
        now = Running(os.getpid(), written, tally.seconds_left, tally.workers)
        try:
            refuse_link(self._path.parent)
            write_whole(self._path, json.dumps(dataclasses.asdict(now)).encode())
        except OutputError:
            return

    def end(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def find_running(paths: Paths) -> list[Running]:
    """The unfinished runs of a batch, one for each shard."""
    return [_read(folder / _NAME) for folder in paths.folders() if is_held(folder / "lock")]


def _read(path: Path) -> Running:
    try:
        running = bind(Running, json.loads(read_small(path)), skips_unknown=True)
        _ = running.ends  # can be read, too
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return Running()
    return running
