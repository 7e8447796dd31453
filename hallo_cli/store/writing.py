"""Writing files so that what is there under its name is complete, and saying what went wrong otherwise.

Knows nothing of what is written; every layer may use it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hallo_cli.errors import OutputError

_ELSEWHERE = "Choose an output or work folder that you may write to."
_ADVICE = {
    errno.ENOSPC: "Free some space and run the same command again: finished work is kept.",
    errno.EDQUOT: "Your quota is used up; free some space and run again: finished work is kept.",
    errno.EFBIG: "Files may not grow that large here; raise the limit: finished work is kept.",
    errno.EROFS: "The disk is read-only; choose another output or work folder.",
    errno.ENOENT: "The folder is not there, or was removed meanwhile.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either complete under its name or not there. Raises OutputError."""
    name = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]  # the name itself may be as long as can be
    part = path.with_name(f".{name}.{os.getpid()}.part")
    with reporting_write_errors(path):
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        flush(path.parent)


def partial_path(path: Path) -> Path:
    """Where a file that grows is written before it is whole; left there by a run that was killed."""
    return path.with_name(f"{path.name}.part")


def publish(path: Path) -> None:
    """Give what was written to `partial_path(path)` its final name, surely on disk. Raises OSError."""
    flush(partial_path(path))
    os.replace(partial_path(path), path)
    flush(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, unless it is there. Raises OutputError."""
    with reporting_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors of writing into OutputError with what to do about them."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, _ELSEWHERE)
        raise OutputError(f"{path} cannot be written ({error.strerror or error}). {advice}") from error


def flush(path: Path) -> None:
    """Have the system put a file's (or a folder's) content on the disk. Raises OSError."""
    if sys.platform == "win32" and path.is_dir():
        return
    access = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows flushes only what it may write
    handle = os.open(path, access)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
