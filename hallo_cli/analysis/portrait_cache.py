"""Keeps analysed portraits on disk, so that one with many recordings is analysed once.

One npz file an analysis, without pickles, written whole or not at all; the oldest go when there are too many.
"""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from hallo_cli.domain import CropBox, Portrait, RegionMasks, Window
from hallo_cli.errors import OutputError
from hallo_cli.store.writing import make_folder, replacing

MAX_FILES = 2000

log = logging.getLogger(__name__)


def remember(note: Path, portrait: Portrait) -> None:
    """Write the cache's file completely or not at all; an unwritable cache is not an error."""
    try:
        make_folder(note.parent)
        with replacing(note) as file:
            np.savez_compressed(file, **_to_arrays(portrait))
        _forget_oldest(note.parent)
    except (OSError, OutputError) as error:
        log.debug("portrait not remembered: %s", error)


def recall(note: Path, digest: str) -> Portrait | None:
    """Read a cached analysis; None if there is none, or it is damaged."""
    try:
        with note.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            portrait = _from_arrays(arrays, digest)
        os.utime(note, follow_symlinks=False)  # the oldest go first
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    return portrait


def _forget_oldest(folder: Path) -> None:
    notes = list(folder.glob("*.npz"))
    if len(notes) > MAX_FILES:
        for old in sorted(notes, key=lambda n: n.stat().st_mtime)[: len(notes) - MAX_FILES]:
            old.unlink(missing_ok=True)


def _to_arrays(portrait: Portrait) -> dict[str, Any]:
    masks = {
        f"{name}{level}": mask
        for name in ("full", "face", "lip")
        for level, mask in enumerate(getattr(portrait.masks, name))
    }
    crop = portrait.crop
    return masks | {
        "pixels": portrait.pixels,
        "crop": np.array([crop.left, crop.top, crop.side]),
        "source_size": np.array(portrait.source_size),
        "landmarks": portrait.landmarks,
        "face_region": portrait.face_region,
        "identity": np.zeros(0, np.float32) if portrait.identity is None else portrait.identity,
        "window": np.array(astuple(portrait.window)),
        "quarter_turns": np.array(portrait.quarter_turns),
        "notes": np.array(portrait.notes, dtype=np.str_),
        "levels": np.array(len(portrait.masks.full)),
    }


def _from_arrays(arrays: Mapping[str, Any], digest: str) -> Portrait:
    levels = range(int(arrays["levels"]))
    left, top, side = arrays["crop"].tolist()
    width, height = arrays["source_size"].tolist()
    full, face, lip = (tuple(arrays[f"{name}{i}"] for i in levels) for name in ("full", "face", "lip"))
    return Portrait(
        pixels=arrays["pixels"],
        crop=CropBox(left, top, side),
        source_size=(width, height),
        landmarks=arrays["landmarks"],
        face_region=arrays["face_region"],
        masks=RegionMasks(full, face, lip),
        identity=arrays["identity"] if arrays["identity"].size else None,
        digest=digest,
        window=Window(*arrays["window"].tolist()),
        quarter_turns=int(arrays["quarter_turns"]),
        notes=tuple(map(str, arrays["notes"])),
    )
