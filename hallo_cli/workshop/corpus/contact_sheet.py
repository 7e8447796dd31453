"""A picture of some takes, one a row: the reference, then frames spread over the take."""

from __future__ import annotations

import errno
from pathlib import Path

import cv2
import numpy as np

from hallo_cli.domain import Bytes
from hallo_cli.errors import InputError
from hallo_cli.store.writing import PartFile, make_folder, reporting_write_errors, write_whole
from hallo_cli.training.takes import Take


def require_place(path: Path) -> None:
    """Raises OutputError if a file could not be written, before what it is to show is made."""
    make_folder(path.parent)
    with reporting_write_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        with PartFile(path):
            pass


def write_contact_sheet(takes: list[Take], path: Path, *, n_columns: int = 8, cell: int = 128) -> None:
    """Write a PNG; rows without sound or text, references at the left. Raises OutputError."""
    rows = [_row(take, n_columns, cell) for take in takes]
    _, data = cv2.imencode(".png", np.concatenate(rows))
    write_whole(path, data.tobytes())


def _row(take: Take, n_columns: int, cell: int) -> Bytes:
    shown = np.linspace(0, len(take.frames) - 1, n_columns - 1).round().astype(int)
    files = [take.reference or take.frames[0], *(take.frames[i] for i in shown)]
    return np.concatenate([_thumbnail(file, cell) for file in files], axis=1)


def _thumbnail(file: bytes, cell: int) -> Bytes:
    picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError("a take holds a picture that cannot be read: make the take again")
    return np.asarray(cv2.resize(picture, (cell, cell), interpolation=cv2.INTER_AREA), np.uint8)
