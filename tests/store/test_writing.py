"""Files are whole under their names, and what hinders writing is told with what to do."""

import contextlib
import errno
import os
import threading
from pathlib import Path

import pytest

from hallo_cli.errors import OutputError
from hallo_cli.store.opening import part_path
from hallo_cli.store.writing import (
    PartFile,
    copy_whole,
    make_own_folder,
    replacing,
    replacing_folder,
    reporting_write_errors,
    write_whole,
)


def test_a_file_replaces_the_one_before_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    write_whole(path, b"first")
    write_whole(path, b"second")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("note.json", b"second")]


def test_names_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    write_whole(path, b"whole")
    assert path.read_bytes() == b"whole"


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


def test_what_strangers_put_under_the_part_s_name_is_neither_followed_nor_emptied(
    tmp_path: Path,
) -> None:
    path, treasure = tmp_path / "note.json", tmp_path / "treasure"
    for plant in (
        lambda part: part.symlink_to(treasure),
        lambda part: os.link(treasure, part),
        lambda part: part.write_text("left by a killed run"),
        lambda part: part.symlink_to(tmp_path / "nowhere"),
        os.mkfifo,
    ):
        treasure.write_text("gold")
        plant(part_path(path))
        write_whole(path, b"whole")
        assert treasure.read_text() == "gold"
        assert path.read_bytes() == b"whole"
        assert not path.is_symlink()
        assert {file.name for file in tmp_path.iterdir()} == {"note.json", "treasure"}


def test_link_under_the_final_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.write_text("gold")
    (tmp_path / "note.json").symlink_to(treasure)
    write_whole(tmp_path / "note.json", b"whole")
    assert treasure.read_text() == "gold"
    assert not (tmp_path / "note.json").is_symlink()


def test_part_that_another_program_replaced_does_not_get_the_name(tmp_path: Path) -> None:
    path, stranger = tmp_path / "video.mp4", tmp_path / "stranger"
    stranger.write_text("stranger")
    with PartFile(path) as part:
        part.path.unlink()
        part.path.symlink_to(stranger)
        with pytest.raises(OSError, match="another program replaced it"):
            part.commit()
    assert not path.exists()
    assert stranger.read_text() == "stranger"


def test_two_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "note"
    with replacing(path) as file:
        second = threading.Thread(target=write_whole, args=(path, b"second"))
        second.start()
        second.join(0.3)
        assert second.is_alive()
        file.write(b"first")
    second.join(10)
    assert path.read_bytes() == b"second"
    assert [file.name for file in tmp_path.iterdir()] == ["note"]


def test_own_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"work cannot be written .+ links are not followed here"):
        make_own_folder(tmp_path / "work")


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "step-1"
    with replacing_folder(folder) as part:
        write_whole(part / "state", b"first")
    with contextlib.suppress(ZeroDivisionError), replacing_folder(folder) as part:
        write_whole(part / "state", b"second")
        raise ZeroDivisionError
    assert (folder / "state").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]


def test_copy_holds_what_the_source_holds(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    copy_whole(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"content"
