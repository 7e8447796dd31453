"""SHA-256 of files: each is read once in a process, large ones once on this machine.

A digest is stored together with the file's size, times of change and inode, and is computed again as soon
as one of them differs.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from functools import lru_cache
from pathlib import Path

from hallo_cli.errors import OutputError
from hallo_cli.store.cache import cache_path
from hallo_cli.store.writing import make_folder, write_whole

CHUNK = 1 << 22  # bytes read at a time
WORTH_REMEMBERING = 1 << 26  # bytes; smaller files are hashed again rather than trusting a cached digest
FRESH_NS = 2 * 10**9  # a file changed this recently may change again within one tick of the disk's clock
MAX_DIGESTS = 4096  # cached in this process

logger = logging.getLogger(__name__)


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits.

    Raises OSError if it cannot be read; pipes and devices, which may never end, are not opened.
    """
    path = path.resolve()
    if not path.is_file():
        path.stat()  # raises a precise error
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    status = path.stat()
    changed_ns = max(status.st_mtime_ns, status.st_ctime_ns)
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if time.time_ns() - changed_ns < FRESH_NS:
        return _read_through(path)
    return _remembered(path, state)


@lru_cache(MAX_DIGESTS)
def _remembered(path: Path, _state: tuple[int, ...]) -> str:
    return _read_through(path)


def _read_through(path: Path) -> str:
    """The digest; for a large unchanged file, the cached one."""
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
