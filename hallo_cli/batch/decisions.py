"""What a person decided about finished videos: marks that the report page saves as a file.

A mark holds for the video that was looked at, known by its SHA-256, and for no later one of the same row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hallo_cli.batch.ledger import Record
from hallo_cli.batch.status import read_ledgers
from hallo_cli.errors import InputError, printable
from hallo_cli.media.files import require_file, shown
from hallo_cli.store.binding import bind
from hallo_cli.store.reading import read_small

_LIMIT = 256 << 20  # bytes; a mark takes about 150


@dataclass(frozen=True)
class Decision:
    """One mark."""

    id: str
    mark: Literal["approved", "rejected"]
    sha256: str  # of the video that was looked at


@dataclass(frozen=True)
class _File:
    format: Literal[1]
    decisions: tuple[Decision, ...]


@dataclass(frozen=True)
class Judged:
    """The rows that decisions are about, as the ledgers know them."""

    approved: Mapping[str, Record]  # by id
    rejected: Mapping[str, Record]
    stale: Sequence[str]  # ids whose video is another one by now, or gone


def read_decisions(path: Path) -> list[Decision]:
    """The marks in a file that the report page saved. Raises InputError."""
    file = require_file(path, InputError, "file of decisions")
    try:
        decisions = bind(_File, json.loads(read_small(file, _LIMIT)), skips_unknown=True).decisions
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{shown(path)} is not a file of decisions ({printable(error)}). Mark videos on the page of "
            "`hallo batch report` and save the marks there."
        ) from error
    if not decisions:
        raise InputError(f"{shown(path)} holds no decisions. Mark videos on the report page first.")
    return list({decision.id: decision for decision in decisions}.values())


def apply_decisions(decisions: Sequence[Decision], ledgers: Sequence[Path]) -> Judged:
    """Match marks with the videos that they were given to. Raises JobError if a ledger cannot be read."""
    videos = read_ledgers(ledgers, only_rendered=True).records
    groups: dict[str, dict[str, Record]] = {"approved": {}, "rejected": {}}
    stale = []
    for decision in decisions:
        found = videos.get(decision.id)
        if found is not None and found.sha256 == decision.sha256:
            groups[decision.mark][decision.id] = found
        else:
            stale.append(decision.id)
    return Judged(**groups, stale=stale)
