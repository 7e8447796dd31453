"""A disk that never answers is named, and waited for once."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_doubles import batch_of, write_batch, write_picture

from hallo_cli.api import Renderer
from hallo_cli.batch.run import opened
from hallo_cli.errors import InputError, PortraitError
from hallo_cli.jobs.look_limit import look_limit_s
from hallo_cli.media import slow_disks

SILENT = "has not answered for 0 s. Check the network disk, or copy the file to a local one"


@pytest.fixture
def dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose disk never answers."""
    folder = tmp_path / "dead"
    folder.mkdir()
    is_over, stat = threading.Event(), os.stat

    def answer(path: object, **options: object) -> os.stat_result:
        if not isinstance(path, int):
            place = Path(path)  # type: ignore[arg-type]
            asks_the_link = options.get("follow_symlinks") is False
            where = os.path.realpath(place.parent if asks_the_link else place)
            if Path(where).is_relative_to(folder):
                is_over.wait(60)
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", answer)
    monkeypatch.setattr(slow_disks, "ANSWER_S", 0.2)
    yield folder
    is_over.set()


def test_file_on_a_disk_that_never_answers_is_named(dead: Path) -> None:
    with pytest.raises(PortraitError, match=f"The disk of the portrait .*face.png' {SILENT}"):
        Renderer().job(dead / "face.png", dead.parent / "speech.wav", "out.mp4")


def test_recording_on_a_disk_that_never_answers_is_named(dead: Path) -> None:
    write_picture(dead.parent / "face.png", 0)
    with pytest.raises(InputError, match=f"The disk of the recording .*speech.wav' {SILENT}"):
        Renderer().job(dead.parent / "face.png", dead / "speech.wav", "out.mp4")


def test_link_to_a_disk_that_never_answers_is_named(dead: Path) -> None:
    link = dead.parent / "face.png"
    link.symlink_to(dead / "face.png")
    disks = slow_disks.Disks()
    disks.require_answer(dead.parent / "other.png", PortraitError, "portrait")
    with pytest.raises(PortraitError, match=SILENT):
        disks.require_answer(link, PortraitError, "portrait")


def test_rows_on_a_disk_that_never_answers_are_refused_and_the_others_stay(dead: Path) -> None:
    manifest = write_batch(dead.parent, ["a"], seconds=0.16)
    lines = [f'{{"portrait": "dead/{n}/face.png", "audio": "dead/{n}/a.wav"}}\n' for n in range(20)]
    lines.append('{"id": "good", "portrait": "a.png", "audio": "a.wav"}\n')
    manifest = manifest.with_suffix(".jsonl")
    manifest.write_text("".join(lines))
    began = time.monotonic()
    with opened(batch_of(manifest), is_dry=True) as batch:
        bad = [row.message for row, _ in batch.queue.bad_rows()]
        assert batch.planner.summary().rows == 21
    assert len(bad) == 20
    assert all(SILENT in message for message in bad)
    assert time.monotonic() - began < 20  # for all together


def test_limit_of_a_look_does_not_wait_for_a_disk_that_never_answers(dead: Path) -> None:
    assert look_limit_s(dead / "face.png", 5.0) == 5.0


def test_what_a_look_raises_is_raised() -> None:
    def fail() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        slow_disks.within(5.0, fail)


def test_endless_name_is_an_answer(tmp_path: Path) -> None:
    slow_disks.require_answer(tmp_path / ("a" * 300 + ".wav"), InputError, "recording")
