"""One process at a time: a lock that the system lets go of when its holder dies, however it dies."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hallo_cli.errors import JobError, OutputError
from hallo_cli.store.writing import reporting_write_errors

_RETRY_S = 0.2


@contextmanager
def locked(path: Path, *, what: str, patience_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file; one left behind by a killed run does not matter.

    `what` names the held thing in the message, as in "this job"; `patience_s` is how long to wait for a
    holder that is about to go. Raises JobError, OutputError.
    """
    with reporting_write_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        deadline = time.monotonic() + patience_s
        while not (has_lock := _try_lock(file)) and time.monotonic() < deadline:
            time.sleep(_RETRY_S)
        if not has_lock:
            holder = os.read(file, 200).decode("utf-8", "replace").strip() or "another process"
            raise JobError(f"{path.parent}: {what} is being run by {holder}. Wait for it or stop it.")
        with reporting_write_errors(path):
            os.ftruncate(file, 0)
            os.write(file, f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether a process holds the lock file just now."""
    try:
        file = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
    except OSError:
        return False
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> bool:
        os.lseek(file, 1 << 30, os.SEEK_SET)  # beyond the text, which others may read
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

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
