"""The corpus on disk: shards of takes, each whole or absent, so that a run stopped half-way goes on."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError
from hallo_cli.media.image import write_png
from hallo_cli.store.writing import PartFile, make_folder, reporting_write_errors, write_whole
from hallo_cli.training.takes import (
    Take,
    note_origin,
    picture,
    read_origin,
    read_takes,
    require_same_origin,
    shards_in,
    write_takes,
)
from hallo_cli.workshop.corpus.make_takes import TakeSpec, make_take
from hallo_cli.workshop.corpus.pool import map_in_processes

TAKES_PER_SHARD = 64
NAME = "synth"
SHEET_ROWS, SHEET_COLUMNS, SHEET_CELL = 16, 8, 128  # of a contact sheet; the last in pixels


@dataclass(frozen=True)
class ShardDone:
    """One shard has been written: its path, how many takes it holds and how many showed no face."""

    path: Path
    n_takes: int
    n_dropped: int


def write_corpus(folder: Path, template: TakeSpec, *, n_takes: int, workers: int) -> Iterator[ShardDone]:
    """Write the missing shards of takes template.index, template.index + 1 ...; yields each when done.

    Takes without a visible face are left out, so a shard may hold fewer than 64. Raises InputError if the
    folder holds shards of another corpus, OutputError.
    """
    make_folder(folder)
    _require_whole_shards(folder, n_takes)
    origin = {"seed": template.seed, "first take": template.index, "frames": template.n_frames}
    origin["held-out voices"] = template.held_out
    require_same_origin(folder, origin)
    note_origin(folder, {**origin, "takes": n_takes})
    n_shards = -(-n_takes // TAKES_PER_SHARD)
    missing = [i for i in range(n_shards) if not _shard_path(folder, i).exists()]
    work = partial(_write_shard, folder, template, n_takes)
    yield from map_in_processes(work, missing, workers=workers)
    _write_index(folder)


def write_contact_sheet(folder: Path, path: Path) -> None:
    """A PNG of a corpus' first takes, one a row: the reference, then frames. Raises OutputError."""
    takes = (take for shard in shards_in(folder) for take in read_takes(shard))
    write_png(path, np.concatenate([_row(take) for take in islice(takes, SHEET_ROWS)]))


def require_place(path: Path) -> None:
    """Raises OutputError if a file could not be written, before what it is to show is made."""
    make_folder(path.parent)
    with reporting_write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with PartFile(path):
            pass


def _require_whole_shards(folder: Path, n_takes: int) -> None:
    """A corpus may grow, but not a shard that was made to hold fewer takes than it would now."""
    before = read_origin(folder).get("takes", n_takes)
    for shard in range(-(-max(before, n_takes) // TAKES_PER_SHARD)):
        was, now = (min(n, (shard + 1) * TAKES_PER_SHARD) for n in (before, n_takes))
        path = _shard_path(folder, shard)
        if was != now and path.exists():
            raise InputError(
                f"{path} is of a corpus of {before} takes, now it is to have {n_takes}: choose another "
                "folder, ask for that many, or remove this file to have it made anew"
            )


def _shard_path(folder: Path, shard: int) -> Path:
    return folder / f"{NAME}-{shard:06d}.tar"


def _write_shard(folder: Path, template: TakeSpec, n_takes: int, shard: int) -> ShardDone:
    first, stop = shard * TAKES_PER_SHARD, min((shard + 1) * TAKES_PER_SHARD, n_takes)
    made = (make_take(replace(template, index=template.index + index)) for index in range(first, stop))
    path = _shard_path(folder, shard)
    n_written = write_takes(path, (take for take in made if take is not None))
    return ShardDone(path, n_written, stop - first - n_written)


def _write_index(folder: Path) -> None:
    """index.jsonl: one line a take with its shard, for people and for quick counts."""
    lines = []
    for path in sorted(folder.glob(f"{NAME}-*.tar")):
        for take in read_takes(path):
            lines.append(json.dumps({"key": take.key, "shard": path.name, "n_frames": take.info.n_frames}))
    write_whole(folder / "index.jsonl", "".join(f"{line}\n" for line in lines).encode())


def _row(take: Take) -> Bytes:
    shown = np.linspace(0, len(take.frames) - 1, SHEET_COLUMNS - 1).round().astype(int)
    files = [take.reference or take.frames[0], *(take.frames[i] for i in shown)]
    cell = (SHEET_CELL, SHEET_CELL)
    small = [cv2.resize(picture(take, file), cell, interpolation=cv2.INTER_AREA) for file in files]
    return np.concatenate(small, axis=1).astype(np.uint8)
