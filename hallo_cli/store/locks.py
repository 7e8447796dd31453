"""A lock for one process at a time, which the system releases when the process dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hallo_cli.errors import JobError, OutputError
from hallo_cli.store.opening import handle_to_change, is_still_at
from hallo_cli.store.writing import make_folder, reporting_write_errors

_RETRY_S = 0.2
_NOTE = b"process "  # how a lock file begins, unless it is new


@contextmanager
def locked(path: Path, *, what: str, patience_s: float = 0.0) -> Iterator[None]:
    """Lock the file; a lock file left by a killed run is free.

    `what` names the locked thing in the message, as in "this job"; `patience_s` is how long to wait for a
    holder that is about to go. Raises JobError, OutputError.
    """
    file = _acquire(path, what, time.monotonic() + patience_s)
    try:
        with reporting_write_errors(path):
            _sign(file)
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now."""
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


def _acquire(path: Path, what: str, deadline: float) -> int:
    """A handle of the locked file, which still has its path: the last holder may have removed it."""
    while True:
        make_folder(path.parent)
        with reporting_write_errors(path):
            file = handle_to_change(path)
        try:
            has_lock = _try_until(file, deadline)
            if has_lock and is_still_at(file, path):
                return os.dup(file)
            if not has_lock:
                holder = os.read(file, 200).decode("utf-8", "replace").strip() or "another process"
                raise JobError(f"{path.parent}: {what} is being run by {holder}. Wait for it or stop it.")
        finally:
            os.close(file)


def _sign(file: int) -> None:
    """Write the holder into the lock file. Raises OSError if it is not a lock file of this program."""
    if os.read(file, len(_NOTE)) not in (b"", _NOTE):
        raise OSError(None, "it exists and is not a lock of this program")
    os.ftruncate(file, 0)
    os.pwrite(file, _NOTE + f"{os.getpid()} on {socket.gethostname()}".encode(), 0)


def _try_until(file: int, deadline: float) -> bool:
    while not (has_lock := _try_lock(file)) and time.monotonic() < deadline:
        time.sleep(_RETRY_S)
    return has_lock


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # such as NFS without its lock service
        raise OutputError(
            f"this disk has no file locks ({error.strerror}): choose an output or work folder elsewhere."
        ) from error
    return True
