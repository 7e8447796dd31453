"""Whenever the power goes, a file of the store is as it was or whole, and what was written stays."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from power_loss import WAYS, Disk

from hallo_cli.store.opening import handle_to_append
from hallo_cli.store.writing import (
    append,
    copy_whole,
    rename,
    replacing_folder,
    write_all,
    write_secret,
    write_whole,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
WHOLE = b"whole" * 1000


def replace_a_file(folder: Path) -> Path:
    write_whole(folder / "old", WHOLE)
    return folder / "old"


def copy_a_file(folder: Path) -> Path:
    copy_whole(folder / "source", folder / "old")
    return folder / "old"


def rename_a_file_that_another_program_wrote(folder: Path) -> Path:
    (folder / "made").write_bytes(WHOLE)
    rename(folder / "made", folder / "old")
    return folder / "old"


def move_a_folder_that_another_program_wrote(folder: Path) -> Path:
    (folder / "made").mkdir()
    (folder / "made" / "part").write_bytes(WHOLE)
    rename(folder / "made", folder / "moved")
    return folder / "moved" / "part"


def keep_a_secret(folder: Path) -> Path:
    write_secret(folder / "key", WHOLE)
    return folder / "key"


def replace_a_folder(folder: Path) -> Path:
    with replacing_folder(folder / "bundle") as part:
        write_whole(part / "weights", WHOLE)
    return folder / "bundle/weights"


WRITES = [
    replace_a_file,
    copy_a_file,
    rename_a_file_that_another_program_wrote,
    move_a_folder_that_another_program_wrote,
    keep_a_secret,
    replace_a_folder,
]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    folder = tmp_path / "disk"
    folder.mkdir()
    (folder / "old").write_bytes(b"as it was")
    (folder / "source").write_bytes(WHOLE)
    return Disk(folder)


@pytest.mark.parametrize("write", WRITES)
def test_file_is_as_it_was_or_whole_whenever_the_power_goes(
    disk: Disk, write: Callable[[Path], Path]
) -> None:
    with disk.watched():
        target = write(disk.folder)
    name = str(target.relative_to(disk.folder))
    found = [(moment, moment.files.get(name)) for moment in disk.moments]
    assert {content for _, content in found} <= {None, b"as it was", WHOLE}, found
    assert found[-1][1] == WHOLE


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("write", WRITES)
def test_what_was_written_outlasts_a_loss_of_power(
    disk: Disk, write: Callable[[Path], Path], way: str
) -> None:
    with disk.watched():
        target = write(disk.folder)
    assert disk.files(way)[str(target.relative_to(disk.folder))] == WHOLE


def test_what_was_appended_outlasts_a_loss_of_power(disk: Disk) -> None:
    with disk.watched():
        append(disk.folder / "old", b", and more")
        handle = handle_to_append(disk.folder / "source")
        write_all(handle, b"and more")
        os.close(handle)
    assert disk.files("contents lost")["old"] == b"as it was, and more"
    assert disk.files("contents lost")["source"] == WHOLE + b"and more"
