"""Whenever the power goes, the ledger of a batch says what is so, and the next run finishes the batch."""

import sys
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, write_batch
from power_loss import Disk, Moment

from hallo_cli.batch.batch_events import RowEnded
from hallo_cli.batch.run import opened
from hallo_cli.media.probe import frame_hashes
from hallo_cli.store.digests import file_digest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
ROWS = ["a", "b", "c"]


def run(manifest: Path, news: list[object]) -> None:
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        for event in batch.run():
            news.append(event)


def hashes(manifest: Path) -> dict[str, list[str]]:
    return {name: list(frame_hashes(manifest.parent / row.output)) for name, row in results(manifest).items()}


def require_true(manifest: Path, moment: Moment) -> None:
    """What the ledger calls done is there and whole, and what was told of is in the ledger."""
    known = results(manifest)
    for name, record in known.items():
        assert record.status == "done", moment
        assert file_digest(manifest.parent / record.output) == record.sha256, f"{moment}: {name}"
    told = {event.record.id for event in moment.news if isinstance(event, RowEnded)}
    assert told <= known.keys(), moment


def disturbed(folder: Path) -> tuple[Path, Disk, dict[str, list[str]]]:
    """A batch that ran on a watched disk."""
    folder.mkdir()
    manifest = write_batch(folder, ROWS, seconds=0.16)
    disk = Disk(folder)
    with disk.watched():
        run(manifest, disk.news)
    undisturbed = hashes(manifest)
    assert sorted(undisturbed) == ROWS
    assert len({moment.number for moment in disk.moments}) > 60
    return manifest, disk, undisturbed


def go_on(manifest: Path, undisturbed: dict[str, list[str]], moment: Moment) -> None:
    run(manifest, [])
    assert hashes(manifest) == undisturbed, moment
    require_true(manifest, moment)


def test_ledger_says_what_is_so_whenever_the_power_goes(tmp_path: Path) -> None:
    manifest, disk, undisturbed = disturbed(tmp_path / "disk")
    for moment in disk.moments:
        disk.put_back(moment.files)
        require_true(manifest, moment)
        if moment.number % 12 == 5:
            go_on(manifest, undisturbed, moment)


@pytest.mark.slow
def test_batch_goes_on_from_whatever_a_loss_of_power_leaves(tmp_path: Path) -> None:
    manifest, disk, undisturbed = disturbed(tmp_path / "disk")
    for moment in disk.moments:
        disk.put_back(moment.files)
        go_on(manifest, undisturbed, moment)
