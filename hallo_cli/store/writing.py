"""Writing files so that what is there under its name is complete, and saying what went wrong otherwise.

Knows nothing of what is written; every layer may use it. Nothing here follows a link out of the folder that
it writes to, and nothing is emptied or replaced half-way: a file is written beside its place and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from hallo_cli.errors import OutputError
from hallo_cli.store.opening import (
    create_part,
    flush_folder,
    handle_to_append,
    handle_to_change,
    is_still_at,
    open_to_read,
    part_path,
)

_ELSEWHERE = "Choose an output or work folder that you may write to."
_ADVICE = {
    errno.ENOSPC: "Free some space and run the same command again: finished work is kept.",
    errno.EDQUOT: "Your quota is used up; free some space and run again: finished work is kept.",
    errno.EFBIG: "Files may not grow that large here; raise the limit: finished work is kept.",
    errno.EROFS: "The disk is read-only; choose another output or work folder.",
    errno.ENOENT: "The folder is not there, or was removed meanwhile.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EINVAL: "Remove it, or choose another name.",
    errno.EMLINK: "Remove it, or choose another name.",
    errno.ELOOP: "It is a link, and links are not followed here: remove it, or choose another name.",
}


class PartFile:
    """A file that is written beside its place and gets its name with `commit`; without that, it goes.

    Use as a context manager. Whoever cannot write to `file` is given `path`: an encoder, say. A run that is
    killed leaves the part behind, and the next one for the same target removes it. Raises OSError.
    """

    file: BinaryIO

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = part_path(target)

    def __enter__(self) -> Self:
        self.file = os.fdopen(create_part(self.path), "w+b")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove what was written, unless it has its name already."""
        try:
            if is_still_at(self.file.fileno(), self.path):
                self.path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):  # a full disk was told of before
                self.file.close()

    def commit(self) -> None:
        """See the content safely on disk, then give it its name, safely too."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if not is_still_at(self.file.fileno(), self.path):
            raise OSError(errno.ESTALE, "another program replaced it while it was written")
        os.replace(self.path, self.target)
        flush_folder(self.target.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that is under `path` once the block has ended well, in place of what was there.

    Raises OutputError.
    """
    with reporting_write_errors(path), PartFile(path) as part:
        yield part.file
        part.commit()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is either complete under its name or not there. Raises OutputError."""
    with replacing(path) as file:
        file.write(content)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read. Raises OSError, FileExistsError where there is one."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".hallo-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.link(part, path)
        flush_folder(path.parent)
    finally:
        os.unlink(part)


def write_all(handle: int, data: bytes) -> None:
    """Write to an open file and see it safely on disk. Raises OSError."""
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def append(path: Path, data: memoryview | bytes) -> int:
    """Add to a file of our own, see it safely on disk, and return how long it is then. Raises OSError."""
    with os.fdopen(handle_to_append(path), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut_to(path: Path, n_bytes: int) -> None:
    """Forget what a file of our own holds behind its first `n_bytes`. Raises OSError."""
    handle = handle_to_change(path)
    try:
        os.ftruncate(handle, n_bytes)
    finally:
        os.close(handle)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file's content, whole or not at all. Raises OSError where it cannot be read, OutputError."""
    with source.open("rb") as content, replacing(target) as file:
        shutil.copyfileobj(content, file, 1 << 20)


def rename(path: Path, target: Path) -> None:
    """Give a whole file of our own another name, when it is safely on disk. Raises OutputError."""
    with reporting_write_errors(target):
        with open_to_read(path) as file:
            os.fsync(file.fileno())
        os.replace(path, target)
        flush_folder(target.parent)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder that is under `folder` once the block has ended well, in place of what was there.

    Its files have to be on disk by then (`replacing` and `write_whole` see to it). Raises OutputError.
    """
    part = part_path(folder)
    with reporting_write_errors(folder):
        _remove_folder(part)
        part.mkdir(parents=True)
        try:
            yield part
            _remove_folder(folder)
            os.replace(part, folder)
            flush_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder, with those above it, unless it is there. Raises OutputError."""
    with reporting_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def make_own_folder(folder: Path) -> None:
    """Make a folder that is for this program alone: one that is a link to another is refused.

    Raises OutputError.
    """
    make_folder(folder)
    with reporting_write_errors(folder):
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "it leads to another folder")


@contextlib.contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors of writing into OutputError with what to do about them."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, _ELSEWHERE)
        raise OutputError(f"{path} cannot be written ({error.strerror or error}). {advice}") from error


def _remove_folder(folder: Path) -> None:
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)
