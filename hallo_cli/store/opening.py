"""Opening files that this program alone writes: never through a link, and nothing but plain files.

Somebody else may have put anything under a name that can be foreseen: a link to a file of the user's, a pipe
that nobody reads, a second name of another file.
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

_OWN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not keep us waiting for its other end


def handle_to_append(path: Path) -> int:
    """A handle to a file of our own that grows, made unless it is there. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _OWN, 0o666))


def handle_to_change(path: Path) -> int:
    """A handle to a file of our own, at its start, made unless it is there. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDWR | os.O_CREAT | _OWN, 0o666))


def handle_to_read(path: Path) -> int:
    """A handle to a file of our own. Raises OSError."""
    return _require_plain(os.open(path, os.O_RDONLY | _OWN))


def open_to_read(path: Path) -> BinaryIO:
    """A file of our own, to be read. Raises OSError."""
    return os.fdopen(handle_to_read(path), "rb")


def part_path(target: Path) -> Path:
    """Where the file that will be `target` is written: beside it, under a name of ours.

    The name holds nothing of the target's, which may be as long as can be.
    """
    name = hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]
    return target.with_name(f".hallo-{name}.part")


def create_part(path: Path) -> int:
    """A handle to a new, empty file; what a killed run left under the name is removed. Raises OSError.

    The file is locked as long as the handle is open, which tells it from what was left. Whoever writes to the
    same place meanwhile waits.
    """
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _OWN, 0o666)
        except FileExistsError:
            _remove_abandoned(path)
            continue
        _wait_for_lock(handle)
        if is_still_at(handle, path):  # not taken for abandoned before it was locked
            return handle
        os.close(handle)


def is_still_at(handle: int, path: Path) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(path))
    except FileNotFoundError:
        return False


def sweep_parts(folder: Path) -> None:
    """Remove the parts that killed runs left in a folder; parts that are being written stay."""
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
    """Remove a part that nobody is writing to; while somebody is, wait."""
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
    """The handle of a plain file that has one name; others are closed and refused."""
    status = os.fstat(handle)
    os.set_blocking(handle, True)
    if stat.S_ISREG(status.st_mode) and status.st_nlink <= 1:
        return handle
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise OSError(errno.EMLINK, "it is a hard link to another file")
    raise OSError(errno.EINVAL, "it is a pipe, a device or a folder, not a plain file")
