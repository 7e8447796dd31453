"""Keeps the curves of measured videos in the batch's folder, by the video's digest, for the report."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from hallo_cli.evaluation.curves import LIMIT, Curves, from_json, to_json
from hallo_cli.store.opening import open_to_read
from hallo_cli.store.writing import make_own_folder, write_whole

_log = logging.getLogger(__name__)


def keep_curves(folder: Path, sha256: str, curves: Curves) -> None:
    """Write the curves of a video with this digest. Raises OutputError."""
    make_own_folder(folder.parent)
    make_own_folder(folder)
    write_whole(_file(folder, sha256), to_json(curves.shortened()))


def read_curves(folder: Path, sha256: str) -> Curves | None:
    """The curves of a video with this digest; None if there are none that can be used."""
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):  # a ledger may hold anything
        return None
    file = _file(folder, sha256)
    try:
        with open_to_read(file) as opened:
            return from_json(opened.read(LIMIT))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s: no plots: %s", file, error)
        return None


def _file(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}.json"
