"""One holder at a time, whatever lies where the lock is."""

import os
import shutil
import threading
from pathlib import Path

import pytest

from hallo_cli.errors import JobError, OutputError
from hallo_cli.store.locks import locked


def test_lock_is_held_by_one_and_says_by_whom(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", what="this job"),
        pytest.raises(JobError, match=f"this job is being run by process {os.getpid()} on "),
        locked(tmp_path / "lock", what="this job"),
    ):
        pass
    with locked(tmp_path / "lock", what="this job"):
        pass


def test_link_where_the_lock_is_does_not_lead_to_the_file_behind(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("gold")
    (tmp_path / "lock").symlink_to(tmp_path / "treasure")
    with (
        pytest.raises(OutputError, match="links are not followed"),
        locked(tmp_path / "lock", what="this job"),
    ):
        pass
    assert (tmp_path / "treasure").read_text() == "gold"


def test_file_of_somebody_else_under_the_lock_s_name_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("my notes")
    with (
        pytest.raises(OutputError, match="is not a lock of this program"),
        locked(tmp_path / "lock", what="a"),
    ):
        pass
    assert (tmp_path / "lock").read_text() == "my notes"


def test_lock_that_its_holder_removed_is_taken_anew(tmp_path: Path) -> None:
    """Or two would hold a lock each: one under the name, one without."""
    path = tmp_path / "work" / "lock"
    waiting, got = threading.Event(), []

    def wait() -> None:
        waiting.set()
        with locked(path, what="this job", patience_s=20):
            got.append(path.exists())

    with locked(path, what="this job"):
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        shutil.rmtree(path.parent, ignore_errors=True)  # the other may just put its file there
    thread.join(20)
    assert got == [True]
