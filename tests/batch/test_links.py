"""A batch never follows a link that lies where its own files are, and says which one is in the way."""

from collections.abc import Callable
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, run, write_batch

from hallo_cli.batch.batch_events import RowEnded
from hallo_cli.batch.paths import Paths
from hallo_cli.batch.report import write_table
from hallo_cli.batch.run import opened
from hallo_cli.batch.scheduler import Policy
from hallo_cli.errors import HalloError
from hallo_cli.jobs import workspace
from hallo_cli.store.opening import part_path

Place = Callable[[Paths], Path]
OWN: list[Place] = [
    lambda paths: paths.results,
    lambda paths: paths.folder,
    lambda paths: paths.folder / "lock",
    lambda paths: paths.folder / "checks.sqlite",
]


@pytest.mark.parametrize("place", OWN)
def test_own_file_that_is_a_link_is_refused_and_not_written_through(tmp_path: Path, place: Place) -> None:
    manifest = write_batch(tmp_path, ["a"], seconds=0.16)
    link = place(Paths(manifest.with_suffix("")))
    treasure = tmp_path / "treasure"
    treasure.mkdir() if link.suffix == ".batch" else treasure.write_text("gold")
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(treasure)
    with pytest.raises(HalloError, match=f"{link.name} .*(link|symbolic)"):
        run(batch_of(manifest))
    assert list(treasure.iterdir()) == [] if treasure.is_dir() else treasure.read_text() == "gold"
    link.unlink()
    run(batch_of(manifest))
    assert results(manifest)["a"].status == "done"


@pytest.mark.parametrize("place", [lambda paths: paths.videos, lambda paths: paths.folder / "parts"])
def test_folder_of_videos_or_parts_that_leads_elsewhere_is_refused(tmp_path: Path, place: Place) -> None:
    manifest = write_batch(tmp_path, ["a"], seconds=0.16)
    link = place(Paths(manifest.with_suffix("")))
    (tmp_path / "elsewhere").mkdir()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HalloError, match=f"{link.name} .*is a link"):
        run(batch_of(manifest))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_work_folder_that_is_a_link_fails_its_row_only(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"], seconds=0.16)
    (tmp_path / "elsewhere").mkdir()
    real, planted = workspace.make_own_folder, []

    def plant(root: Path) -> None:
        if not planted:
            root.symlink_to(tmp_path / "elsewhere")
            planted.append(root)
        real(root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workspace, "make_own_folder", plant)
        run(batch_of(manifest))
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert sorted(record.status for record in results(manifest).values()) == ["done", "error"]


DURING: list[Place] = [
    *OWN,
    lambda paths: paths.videos,
    lambda paths: paths.folder / "now.json",
    lambda paths: paths.folder / "logs",
    lambda paths: part_path(paths.videos / "bug.mp4"),
]


@pytest.mark.parametrize("place", DURING)
def test_link_that_is_planted_during_a_run_is_not_followed(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.batch.running.INTERVAL_S", 0.0)
    manifest = write_batch(tmp_path, ["a", "bug"], seconds=0.3)
    link = place(Paths(manifest.with_suffix("")))
    with opened(batch_of(manifest, policy=Policy(retries=0))) as batch:
        list(batch.check())
        running = batch.run()
        next(event for event in running if isinstance(event, RowEnded))
        is_folder = link.is_dir() or link.name == "logs"
        if link.exists():
            link.rename(tmp_path / "moved")
        treasure = tmp_path / "treasure"
        treasure.mkdir() if is_folder else treasure.write_text("gold")
        link.symlink_to(treasure)
        list(running)
    assert list(treasure.iterdir()) == [] if is_folder else treasure.read_text() == "gold"


def test_row_whose_folder_became_a_link_says_so(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"], seconds=0.3)
    videos = Paths(manifest.with_suffix("")).videos
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        running = batch.run()
        next(event for event in running if isinstance(event, RowEnded))
        videos.rename(tmp_path / "elsewhere")
        videos.symlink_to(tmp_path / "elsewhere")
        list(running)
    (failed,) = [record for record in results(manifest).values() if record.status == "error"]
    assert "batch.videos cannot be written" in failed.message
    assert "links are not followed here" in failed.message


def test_table_replaces_a_link_under_its_name(tmp_path: Path) -> None:
    (tmp_path / "treasure").write_text("gold")
    (tmp_path / "report.csv").symlink_to(tmp_path / "treasure")
    write_table(tmp_path / "report.csv", [])
    assert (tmp_path / "treasure").read_text() == "gold"
    assert not (tmp_path / "report.csv").is_symlink()
