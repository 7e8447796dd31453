"""Opens files that only this program writes: never through a link, and only plain files.

Another user may have placed something under a predictable name: a symbolic link to one of the user's files, a
pipe that nobody reads, a hard link to another file.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

_OWN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # do not block on a pipe without another end


def handle_to_append(path: Path) -> int:
    """A handle to append to a file of our own, made if it does not exist. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _OWN, 0o666))


def handle_to_change(path: Path) -> int:
    """A handle to a file of our own, at its start, made if it does not exist. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDWR | os.O_CREAT | _OWN, 0o666))


def handle_to_read(path: Path) -> int:
    """A handle to a file of our own. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDONLY | _OWN))


def open_to_read(path: Path) -> BinaryIO:
    """A file of our own, for reading. Raises OSError."""
    return os.fdopen(handle_to_read(path), "rb")


def part_path(target: Path) -> Path:
    """The temporary path of a file that will become `target`: beside it.

    Its name does not contain the target's, which may have the maximum length.
    """
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".hallo-{name}.part")


def create_part(path: Path) -> int:
    """A handle to a new, empty file; the file of a killed run is removed. Raises OSError.

    The file is locked while the handle is open, which distinguishes it from files of killed runs. Another
    process that writes to the same path waits.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OWN, 0o666)
        except FileExistsError:
            _remove_abandoned(path)
            continue
        _wait_for_lock(handle)
        if is_still_at(handle, path):  # another process must not take it for abandoned
            return handle
        os.close(handle)


def is_still_at(handle: int, path: Path) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def sweep_parts(folder: Path) -> None:
    """Remove partly written files of killed runs from a folder; files that are being written stay."""
    for path in folder.glob(".hallo-*.part"):
        with contextlib.suppress(OSError):
            handle = handle_to_read(path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove_abandoned(path: Path) -> None:
    """Remove a partly written file; wait while a process is writing it."""
    try:
        handle = handle_to_read(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.EINVAL, errno.EMLINK):
            raise
        with contextlib.suppress(FileNotFoundError):
            path.unlink()  # the link or pipe itself
        return
    try:
        _wait_for_lock(handle)
        if is_still_at(handle, path):
            path.unlink()
    finally:
        os.close(handle)


def _wait_for_lock(handle: int) -> None:
    with contextlib.suppress(OSError):  # some network disks have no locks
        fcntl.flock(handle, fcntl.LOCK_EX)


def _require_plain(handle: int) -> int:
    """The handle of a plain file without hard links; others are closed and refused."""
    status = os.fstat(handle)
    os.set_blocking(handle, True)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return handle
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise OSError(errno.EMLINK, "it is a hard link to another file")
    raise OSError(errno.EINVAL, "it is a pipe, a device or a folder, not a plain file")
