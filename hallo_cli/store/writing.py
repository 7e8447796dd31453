"""Writes files so that a file under its final name is complete, and explains errors.

Every layer may use it. It follows no link out of the folder that it writes to. No file is ever partly
replaced: it is written beside its place and renamed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
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
    errno.EFBIG: "Files may not grow that large here; raise the system's limit: finished work is kept.",
    errno.EROFS: "The disk is read-only; choose another output or work folder.",
    errno.ENOENT: "The folder does not exist, or was removed in the meantime.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EINVAL: "Remove it, or choose another name.",
    errno.EMLINK: "Remove it, or choose another name.",
    errno.ELOOP: "It is a link, and links are not followed here: remove it, or choose another name.",
}


class PartFile:
    """A file that is written beside its place; `commit` renames it, leaving without `commit` deletes it.

    Use it as a context manager. Programs that cannot write to `file`, such as encoders, get `path`. A killed
    run leaves the part behind; the next run for the same target removes it. Raises OSError.
    """

    file: BinaryIO

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = part_path(target)

    def __enter__(self) -> Self:
        self.file = os.fdopen(create_part(self.path), "w+b")
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def discard(self) -> None:
        """Remove the part, unless it was committed."""
        try:
            if is_still_at(self.file.fileno(), self.path):
                self.path.unlink(missing_ok=True)
        finally:
            with contextlib.suppress(OSError):  # a full disk was reported before
                self.file.close()

    def commit(self) -> None:
        """Flush the content to disk, rename the file, and flush the folder."""
        self.file.flush()
        os.fsync(self.file.fileno())
        if not is_still_at(self.file.fileno(), self.path):
            raise OSError(errno.ESTALE, "another program replaced it while it was written")
        os.replace(self.path, self.target)
        flush_folder(self.target.parent)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that replaces `path` when the block ends without an error.

    Raises OutputError.
    """
    with reporting_write_errors(path), PartFile(path) as part:
        yield part.file
        part.commit()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Raises OutputError."""
    with replacing(path) as file:
        file.write(content)


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read. Raises OSError, FileExistsError if there is one."""
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
    """Write to an open file and flush it to disk. Raises OSError."""
    while data:
        data = data[os.write(handle, data) :]
    os.fsync(handle)


def append(path: Path, data: memoryview | bytes) -> int:
    """Append to a file of ours, flush it to disk and return its length. Raises OSError."""
    with os.fdopen(handle_to_append(path), "ab") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut_to(path: Path, n_bytes: int) -> None:
    """Cut a file of ours to its first `n_bytes`. Raises OSError."""
    handle = handle_to_change(path)
    try:
        os.ftruncate(handle, n_bytes)
    finally:
        os.close(handle)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file's content, completely or not at all. Raises OSError if it cannot be read, OutputError."""
    with source.open("rb") as content, replacing(target) as file:
        shutil.copyfileobj(content, file, 1 << 20)


def rename(path: Path, target: Path) -> None:
    """Flush a complete file of ours to disk, or a folder with all that is in it, then rename it.

    Raises OutputError.
    """
    with reporting_write_errors(target):
        for one in (path, *path.rglob("*")):
            if one.is_dir() and not one.is_symlink():
                flush_folder(one)
            else:
                with open_to_read(one) as file:
                    os.fsync(file.fileno())
        os.replace(path, target)
        flush_folder(target.parent)


@contextlib.contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """A new folder that replaces `folder` when the block ends without an error.

    Its files must be flushed to disk by then (`replacing` and `write_whole` do so). Raises OutputError.
    """
    part = part_path(folder)
    with reporting_write_errors(folder):
        _remove_folder(part)
        make_folder(part)
        try:
            yield part
            _remove_folder(folder)
            os.replace(part, folder)
            flush_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it if they do not exist. Raises OutputError."""
    with reporting_write_errors(folder):
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in made:
            with contextlib.suppress(PermissionError):  # folders that may be written to but not read
                flush_folder(one.parent)


def make_own_folder(folder: Path) -> None:
    """Make a folder for this program alone; a link to another folder is refused.

    Raises OutputError.
    """
    make_folder(folder)
    refuse_link(folder)


def refuse_link(folder: Path) -> None:
    """Raise OutputError if a folder of ours is a link to another."""
    with reporting_write_errors(folder):
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "it links to another folder")


@contextlib.contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Turn the system's write errors into OutputError with advice."""
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
