"""Writing files so that what is there under its name is complete, and saying what went wrong otherwise."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hallo_cli.errors import InputError, OutputError


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


@contextlib.contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors of writing into OutputError with what to do about them."""
    try:
        yield
    except OSError as error:
        advice = {
            errno.ENOSPC: "Free some space and run the same command again: finished work is kept.",
            errno.EDQUOT: "Your quota is used up; free some space and run again: finished work is kept.",
            errno.EFBIG: "Files may not grow that large here; raise the limit: finished work is kept.",
            errno.EACCES: "Choose a folder that you may write to (-o, --work-dir).",
            errno.EPERM: "Choose a folder that you may write to (-o, --work-dir).",
            errno.EROFS: "The disk is read-only; choose another folder (-o, --work-dir).",
            errno.ENOENT: "The folder is not there, or was removed meanwhile.",
            errno.ENAMETOOLONG: "Choose a shorter name.",
        }.get(error.errno or 0, "Choose another folder (-o, --work-dir).")
        raise OutputError(f"{path}: cannot be written ({error.strerror or error}). {advice}") from error


@contextlib.contextmanager
def reporting_read_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors of reading an input into InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}).") from error


def flush(path: Path) -> None:
    """Have the system put a file's (or a folder's) content on the disk."""
    if path.is_dir() and sys.platform == "win32":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
