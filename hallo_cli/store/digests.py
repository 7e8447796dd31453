"""SHA-256 of large files, remembered between runs.

A digest is remembered together with the file's size, modification time and inode: gigabytes of weights are
read through once, and again only when the file has changed.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
from pathlib import Path

from hallo_cli.errors import OutputError
from hallo_cli.store.cache import cache_path
from hallo_cli.store.writing import make_folder, write_whole

CHUNK = 1 << 22  # bytes read at a time
WORTH_REMEMBERING = 1 << 26  # bytes; smaller files are hashed faster than a stranger's note is trusted

logger = logging.getLogger(__name__)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits.

    Raises OSError if it cannot be read; pipes and devices, which may never end, are not opened.
    """
    path = path.resolve()
    if not path.is_file():
        path.stat()  # says itself what is missing
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    stamp = _stamp(path)
    is_large = path.stat().st_size >= WORTH_REMEMBERING
    note = cache_path("digests", hashlib.sha256(os.fsencode(path)).hexdigest()[:32]) if is_large else None
    if note and (known := _read_note(note, stamp)):
        return known
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    if note and _stamp(path) == stamp:
        _write_note(note, f"{stamp} {digest.hexdigest()}")
    return digest.hexdigest()


def _stamp(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def _read_note(note: Path, stamp: str) -> str | None:
    try:
        before, _, digest = note.read_text(encoding="ascii").rpartition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    return digest if before == stamp and len(digest) == 64 else None


def _write_note(note: Path, text: str) -> None:
    try:
        make_folder(note.parent)
        write_whole(note, text.encode("ascii"))
    except OutputError as error:
        logger.debug("digest not remembered: %s", error)
