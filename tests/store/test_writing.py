"""Files are whole under their names, and what hinders writing is told with what to do."""

import errno
import os
from pathlib import Path

import pytest

from hallo_cli.errors import OutputError
from hallo_cli.store.writing import partial_path, publish, reporting_write_errors, write_whole


def test_a_file_replaces_the_one_before_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_whole(path, b"first")
    write_whole(path, b"second")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("note.json", b"second")]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_what_was_written_aside_gets_its_final_name(tmp_path: Path) -> None:
    path = tmp_path / "shard.tar"
    partial_path(path).write_bytes(b"whole")
    publish(path)
    assert [file.name for file in tmp_path.iterdir()] == ["shard.tar"]


def test_a_write_that_fails_leaves_the_file_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "note.json"
    write_whole(path, b"first")

    def fail(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="Free some space and run the same command again"):
        write_whole(path, b"second")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("note.json", b"first")]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (errno.ENOSPC, "Free some space .+ finished work is kept"),
        (errno.EACCES, "Choose an output or work folder that you may write to"),
        (errno.EROFS, "The disk is read-only"),
        (errno.ENAMETOOLONG, "Choose a shorter name"),
    ],
)
def test_each_reason_comes_with_what_to_do(code: int, advice: str) -> None:
    with (
        pytest.raises(OutputError, match=rf"^out\.mp4 cannot be written \(.+\)\. {advice}"),
        reporting_write_errors(Path("out.mp4")),
    ):
        raise OSError(code, os.strerror(code))
