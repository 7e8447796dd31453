"""Terminal, status and report count the same rows, whatever happened to the manifest meanwhile."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from batch_doubles import batch_of, results, run, write_batch, write_picture, write_sound

from hallo_cli.batch.batch_events import RowEnded, RowStarted
from hallo_cli.batch.ledger_sync import merge
from hallo_cli.batch.paths import Paths, Shard
from hallo_cli.batch.run import Batch, opened
from hallo_cli.batch.running import find_running
from hallo_cli.batch.states import Counts
from hallo_cli.batch.status import read_known
from hallo_cli.store.locks import is_held


def counted(batch: Batch, *, stop_after: int = 1000) -> Counts:
    """What the terminal says in the end; the run is left after so many rows."""
    with opened(batch) as open_batch:
        list(open_batch.check())
        ended = 0
        for event in open_batch.run():
            ended += isinstance(event, RowEnded)
            if ended == stop_after:
                break
        return open_batch.tally.counts


def known(manifest: Path) -> Counts:
    return read_known(Paths(manifest.with_suffix(""))).counts


def write_rows(manifest: Path, *rows: str) -> None:
    manifest.write_text("\n".join(["id,portrait,audio", *rows]) + "\n", encoding="utf-8")


def rename_a(manifest: Path) -> None:
    lines = [
        "id,output,portrait,audio",
        "z,a.mp4,a.png,speech.wav",
        "b,,b.png,speech.wav",
        "c,,c.png,speech.wav",
    ]
    manifest.write_text("\n".join(lines) + "\n", encoding="utf-8")


CHANGES: dict[str, tuple[Callable[[Path], object], Counts]] = {
    "nothing": (lambda manifest: None, Counts(3, done=2, refused=1)),
    "a row is gone": (lambda manifest: write_rows(manifest, "b,b.png,speech.wav"), Counts(1, done=1)),
    "a refused line is mended": (
        lambda manifest: write_rows(manifest, "a,a.png,speech.wav", "c,b.png,speech.wav"),
        Counts(2, done=2),
    ),
    "rows are added": (
        lambda manifest: write_rows(manifest, *(f"{name},a.png,speech.wav" for name in "abxy")),
        Counts(4, done=4),
    ),
    "a row has another id": (rename_a, Counts(3, done=2, refused=1)),
    "an input changed": (
        lambda manifest: write_picture(manifest.parent / "a.png", 77),
        Counts(3, done=2, refused=1),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_terminal_status_and_report_agree_after(tmp_path: Path, change: str) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    (tmp_path / "c.png").unlink()
    assert counted(batch_of(manifest)) == known(manifest) == Counts(3, done=2, refused=1)
    edit, expected = CHANGES[change]
    edit(manifest)
    assert counted(batch_of(manifest)) == known(manifest) == expected


def test_rows_that_wait_to_be_rendered_anew_are_pending_in_status_too(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    run(batch_of(manifest))
    for number, name in enumerate("abc"):
        write_picture(tmp_path / f"{name}.png", 50 + number)
    assert counted(batch_of(manifest), stop_after=1) == known(manifest) == Counts(3, done=1)


def test_row_that_is_renamed_keeps_its_video_and_its_figures(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    run(batch_of(manifest))
    before = results(manifest)["a"]
    rename_a(manifest)
    events = run(batch_of(manifest))
    assert not any(isinstance(event, RowStarted) for event in events)
    after = read_known(Paths(manifest.with_suffix(""))).records
    assert set(after) == {"z", "b", "c"}
    assert (after["z"].sha256, after["z"].frames) == (before.sha256, before.frames)


def test_output_of_a_row_that_failed_after_it_changed_is_still_its_own(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest))
    good = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_text("no picture", encoding="utf-8")
    assert counted(batch_of(manifest)) == Counts(1, refused=1)
    (tmp_path / "a.png").write_bytes(good)
    write_sound(tmp_path / "speech.wav", 0.8, seed=5)
    assert counted(batch_of(manifest)) == known(manifest) == Counts(1, done=1)


def test_shards_and_their_merged_ledger_count_the_whole_batch(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    paths = [Paths(manifest.with_suffix(""), Shard(index, 2)) for index in (1, 2)]
    counted(dataclasses.replace(batch_of(manifest), paths=paths[0]))
    assert known(manifest) == Counts(3, done=2)
    counted(dataclasses.replace(batch_of(manifest), paths=paths[1]))
    assert known(manifest) == Counts(3, done=3)
    assert merge(Paths(manifest.with_suffix(""))) == 3
    for shard in paths:
        shard.results.unlink()
    assert known(manifest) == Counts(3, done=3)


def test_status_names_the_row_in_hand_and_the_expected_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hallo_cli.batch.running.INTERVAL_S", 0.0)
    manifest = write_batch(tmp_path, ["a"])
    paths = Paths(manifest.with_suffix(""))
    seen = []
    with opened(batch_of(manifest)) as open_batch:
        list(open_batch.check())
        for event in open_batch.run():
            if isinstance(event, RowStarted):
                open_batch.tally.frames_now = 5
                seen = find_running(paths)
    (running,) = seen
    assert running.workers["cpu"].id == "a"
    assert find_running(paths) == []
    assert not is_held(paths.folder / "lock")
    assert not (paths.folder / "now.json").exists()


DAMAGED = ("", "[]", '{"workers": {"cpu": {"doing": 3}}}', '{"written": "x", "seconds_left": 3}', "[" * 9999)


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_word_of_a_run_costs_only_its_details(tmp_path: Path, content: str) -> None:
    manifest = write_batch(tmp_path, ["a"])
    paths = Paths(manifest.with_suffix(""))
    with opened(batch_of(manifest)):
        (paths.folder / "now.json").write_text(content, encoding="utf-8")
        (running,) = find_running(paths)
    assert (running.workers, running.ends) == ({}, None)
