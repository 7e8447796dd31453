"""A folder on a disk that may lose power: what would be there afterwards, at every rename and sync of a run.

Three ways are told apart, each allowed by the rules of file systems: what was written is all there, as after
`kill -9`; names are there, but of every file only what was synced; and of names, too, only what was synced.
"""

import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Files = dict[str, bytes]  # by path relative to the folder
WAYS = ("killed", "contents lost", "names lost")


@dataclass(frozen=True)
class Moment:
    """What a disk holds when the power goes just before an operation."""

    number: int
    operation: str
    way: str
    files: Files
    news: tuple[object, ...]  # what had been told by then

    def __str__(self) -> str:
        return f"{self.number} ({self.operation}, {self.way})"


@dataclass(frozen=True)
class Entry:
    """What a name of a folder stands for."""

    inode: int
    mode: int


class Disk:
    """Watches the writes of this process below a folder. What is there at the start is on the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.moments: list[Moment] = []
        self.news: list[object] = []
        self._contents: dict[int, bytes] = {}  # what was synced, by inode
        self._names: dict[int, dict[str, Entry]] = {}  # what was synced, by the folder's inode
        self._held: list[int] = []  # handles, so that no inode is used again
        self._lock = threading.RLock()
        for path in [folder, *folder.rglob("*")]:
            self._sync(path)

    def files(self, way: str) -> Files:
        """What would be there."""
        if way == "names lost":
            return dict(self._synced(Path(), self.folder.stat().st_ino))
        found: Files = {}
        for path in self.folder.rglob("*"):
            name = str(path.relative_to(self.folder))
            with contextlib.suppress(FileNotFoundError):
                if path.is_file() and not path.is_symlink():
                    inode = path.stat().st_ino
                    found[name] = path.read_bytes() if way == "killed" else self._contents.get(inode, b"")
        return found

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Note what would be there before every rename and sync, and at the end."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("fsync", "replace", "link"):
                patch.setattr(os, name, self._watching(name, getattr(os, name)))
            try:
                yield
            finally:
                self._note("end")
                for handle in self._held:
                    os.close(handle)

    def put_back(self, files: Files) -> None:
        """Have the folder hold just these files."""
        for path in self.folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def _watching(self, name: str, operation: Callable[..., None]) -> Callable[..., None]:
        def watch(*arguments: object, **options: object) -> None:
            with self._lock:
                handle = Path(f"/proc/self/fd/{arguments[0]}")
                path = handle.readlink() if name == "fsync" else Path(str(arguments[1]))
                is_watched = path.is_relative_to(self.folder)
                if is_watched:
                    self._note(f"{name} {path.name}")
                operation(*arguments, **options)
                if is_watched and name == "fsync":
                    self._sync(handle)

        return watch

    def _synced(self, folder: Path, inode: int) -> Iterator[tuple[str, bytes]]:
        """The synced files below a folder, by synced names."""
        for name, entry in self._names.get(inode, {}).items():
            if stat.S_ISDIR(entry.mode):
                yield from self._synced(folder / name, entry.inode)
            else:
                yield str(folder / name), self._contents.get(entry.inode, b"")

    def _note(self, operation: str) -> None:
        number = len({moment.number for moment in self.moments})
        for way in WAYS:
            files = self.files(way)
            if not any(files == moment.files for moment in self.moments[-6:]):
                self.moments.append(Moment(number, operation, way, files, tuple(self.news)))

    def _sync(self, path: Path) -> None:
        """A file's content, or a folder's names, are on the disk now."""
        handle = os.open(path, os.O_RDONLY)
        self._held.append(handle)
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            folder = Path(os.readlink(f"/proc/self/fd/{handle}"))
            names = self._names[status.st_ino] = _names(folder)
            self._held += [os.open(folder / name, os.O_RDONLY) for name in names]
        elif stat.S_ISREG(status.st_mode):
            self._contents[status.st_ino] = os.pread(handle, status.st_size, 0)


def _names(folder: Path) -> dict[str, Entry]:
    """The plain files and folders of a folder."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                status = entry.stat(follow_symlinks=False)
                if stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR):
                    found[entry.name] = Entry(status.st_ino, status.st_mode)
    return found
