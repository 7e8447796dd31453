"""Files of our own are opened without following links, and nothing but plain files is."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hallo_cli.store.opening import handle_to_append, handle_to_change, open_to_read, part_path, sweep_parts
from hallo_cli.store.writing import PartFile

OPEN: list[Callable[[Path], object]] = [handle_to_append, handle_to_change, open_to_read]


@pytest.mark.parametrize("open_own", OPEN)
@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_links_are_refused(
    tmp_path: Path, open_own: Callable[[Path], object], plant: Callable[..., None]
) -> None:
    (tmp_path / "treasure").write_text("gold")
    plant(tmp_path / "lock", tmp_path / "treasure")
    with pytest.raises(OSError, match=r"symbolic links|hard link"):
        open_own(tmp_path / "lock")
    assert (tmp_path / "treasure").read_text() == "gold"


@pytest.mark.parametrize("open_own", OPEN)
@pytest.mark.parametrize("plant", [os.mkfifo, os.mkdir, lambda path: os.mknod(path, 0o600 | 0o020000, 0x105)])
def test_pipes_devices_and_folders_are_refused_at_once(
    tmp_path: Path, open_own: Callable[[Path], object], plant: Callable[[Path], None]
) -> None:
    try:
        plant(tmp_path / "lock")
    except PermissionError:
        pytest.skip("only root may make devices")
    with pytest.raises(OSError, match=r"not a plain file|Is a directory|Permission denied|not permitted"):
        open_own(tmp_path / "lock")


def test_sweeping_removes_what_was_left_and_spares_what_is_being_written(tmp_path: Path) -> None:
    left = part_path(tmp_path / "left")
    left.write_text("half")
    with PartFile(tmp_path / "now") as part:
        sweep_parts(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [part.path.name]
