"""Files are read through once, and again as soon as anything about them has changed."""

import hashlib
import os
from pathlib import Path

import pytest

from hallo_cli.store import digests
from hallo_cli.store.digests import file_digest


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read through; none counts as changed lately."""
    seen: list[Path] = []
    read_through = digests._read_through

    def noted(path: Path) -> str:
        seen.append(path)
        return read_through(path)

    monkeypatch.setattr(digests, "_read_through", noted)
    monkeypatch.setattr(digests, "FRESH_NS", 0)
    return seen


def test_file_is_read_through_once(tmp_path: Path, reads: list[Path]) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    assert {file_digest(file) for _ in range(3)} == {hashlib.sha256(b"one").hexdigest()}
    assert reads == [file]


def test_file_replaced_by_one_of_the_same_size_and_time_is_read_again(
    tmp_path: Path, reads: list[Path]
) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"one")
    before = file_digest(file)
    times = file.stat()
    other.write_bytes(b"two")
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(file)
    assert file_digest(file) == hashlib.sha256(b"two").hexdigest() != before
    assert len(reads) == 2


def test_file_that_changed_just_now_is_not_remembered(
    tmp_path: Path, reads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "FRESH_NS", 3600 * 10**9)
    file = tmp_path / "a"
    file.write_bytes(b"one")
    assert file_digest(file) == file_digest(file)
    assert len(reads) == 2


def test_digest_of_a_large_file_is_kept_on_disk_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "WORTH_REMEMBERING", 1)
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = digests._read_through(file)
    (note,) = (tmp_path / "cache/digests").iterdir()
    assert before in note.read_text(encoding="ascii")
    file.write_bytes(b"two")
    os.utime(file, ns=(0, 0))
    assert digests._read_through(file) == hashlib.sha256(b"two").hexdigest()
