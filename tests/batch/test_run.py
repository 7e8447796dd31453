"""Whole batches with real processes on the trivial engine."""

import dataclasses
import json
import time
from pathlib import Path

import pytest
from batch_doubles import (
    batch_of,
    judge_by_seed,
    results,
    run,
    write_batch,
    write_picture,
    write_sound,
)

from hallo_cli.batch import scheduler
from hallo_cli.batch.batch_events import (
    BatchPlanned,
    RowEnded,
    RowRetried,
    RowStarted,
    WorkerLoading,
)
from hallo_cli.batch.ledger import Record, Run, read_ledger
from hallo_cli.batch.paths import Paths, Shard
from hallo_cli.batch.planner import Repeat
from hallo_cli.batch.run import opened
from hallo_cli.batch.scheduler import Policy
from hallo_cli.errors import (
    HalloError,
    InputError,
    Interrupted,
    JobError,
    ManifestError,
)
from hallo_cli.media.probe import frame_hashes
from hallo_cli.settings.schema import RenderSettings
from hallo_cli.store import digests
from hallo_cli.store.digests import file_digest


def plan_of(events: list[object]) -> BatchPlanned:
    (plan,) = (event for event in events if isinstance(event, BatchPlanned))
    return plan


def replace_when(tmp_path: Path, moment: type, name: str) -> dict[str, Record]:
    """Run a batch in which a file is replaced when the first event of a kind comes."""
    manifest = write_batch(tmp_path, ["a", "b"])
    write_picture(tmp_path / "other.png", 9)
    write_sound(tmp_path / "other.wav", 0.6, seed=9)
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        is_due = True
        for event in batch.run():
            if is_due and isinstance(event, moment):
                (tmp_path / f"other{Path(name).suffix}").replace(tmp_path / name)
                is_due = False
    return results(manifest)


@pytest.mark.parametrize("name", ["b.png", "speech.wav"])
def test_file_that_is_replaced_after_the_check_is_never_done(tmp_path: Path, name: str) -> None:
    record = replace_when(tmp_path, BatchPlanned, name)["b"]
    assert (record.status, record.error) == ("error", "InputError")
    assert "was replaced while it was being used" in record.message
    manifest = tmp_path / "batch.csv"
    run(batch_of(manifest))
    again = results(manifest)["b"]
    made = json.loads((tmp_path / "batch.videos" / "b.json").read_text(encoding="utf-8"))
    key = "portrait" if name.endswith("png") else "audio"
    assert again.status == "done"
    assert made[key]["sha256"] == file_digest(tmp_path / name)


def test_subtitles_that_are_replaced_after_the_check_are_never_used(tmp_path: Path) -> None:
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:00,400\nplanned\n", encoding="utf-8")
    manifest = write_batch(tmp_path, ["a"])
    manifest.write_text(f"id,portrait,audio,subtitles\na,a.png,speech.wav,{words}\n", encoding="utf-8")
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        words.write_text("1\n00:00:00,000 --> 00:00:00,400\nother\n", encoding="utf-8")
        list(batch.run())
    record = results(manifest)["a"]
    assert record.status == "error"
    assert "the subtitles" in record.message
    assert "was replaced while it was being used" in record.message
    run(batch_of(manifest))
    assert results(manifest)["a"].status == "done"


def started(events: list[object]) -> set[str]:
    return {event.id for event in events if isinstance(event, RowStarted)}


def test_rerun_renders_changed_rows_and_missing_outputs_only(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["same", "edited", "gone", "renamed"])
    assert len(started([*run(batch_of(manifest))])) == 4
    write_picture(tmp_path / "edited.png", 99)
    (tmp_path / "batch.videos" / "gone.mp4").unlink()
    (tmp_path / "renamed.png").rename(tmp_path / "other.png")
    text = manifest.read_text(encoding="utf-8").replace("renamed.png", "other.png")
    manifest.write_text(text + "new,same.png,speech.wav\n", encoding="utf-8")
    assert started([*run(batch_of(manifest))]) == {"edited", "gone", "new"}
    assert started([*run(batch_of(manifest))]) == set()


def test_row_that_was_done_when_the_ledger_lost_it_is_recognised(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest))
    ledger = Paths(manifest.with_suffix("")).results
    written = (tmp_path / "batch.videos" / "a.mp4").stat().st_mtime_ns
    ledger.write_bytes(ledger.read_bytes()[:-30])
    run(batch_of(manifest))
    assert results(manifest)["a"].status == "done"
    assert (tmp_path / "batch.videos" / "a.mp4").stat().st_mtime_ns == written


def test_foreign_output_is_not_replaced(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    (tmp_path / "batch.videos").mkdir()
    (tmp_path / "batch.videos" / "a.mp4").write_text("mine", encoding="utf-8")
    run(batch_of(manifest))
    assert (results(manifest)["a"].status, results(manifest)["a"].error) == ("error", "SettingsError")
    assert (tmp_path / "batch.videos" / "a.mp4").read_text(encoding="utf-8") == "mine"
    run(batch_of(manifest, may_overwrite=True))
    assert results(manifest)["a"].status == "done"


def test_gate_that_says_fail_has_other_seeds_tried(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    batch = batch_of(manifest, measure=judge_by_seed, policy=Policy(other_seeds=2))
    events = run(batch)
    record = results(manifest)["a"]
    assert (record.status, record.seed, record.attempts) == ("done", 43, 2)
    assert any(isinstance(event, RowRetried) and "jump at joins" in event.reason for event in events)


def test_batch_that_was_killed_before_it_judged_another_seed_goes_on(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    policy = Policy(other_seeds=2)
    run(batch_of(manifest, measure=judge_by_seed, policy=policy))
    (tmp_path / "batch.results.jsonl").unlink()
    run(batch_of(manifest, measure=judge_by_seed, policy=policy))
    record = results(manifest)["a"]
    assert (record.status, record.seed) == ("done", 43)


def test_gate_without_other_seeds_leaves_the_video_and_says_fail(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest, measure=judge_by_seed))
    record = results(manifest)["a"]
    assert (record.status, record.objections) == ("fail", ("jump at joins 99 is at or above 8",))
    assert (tmp_path / record.output).exists()
    assert started([*run(batch_of(manifest, measure=judge_by_seed))]) == set()
    repeat = Repeat(statuses=("fail",))
    assert started([*run(batch_of(manifest, measure=judge_by_seed, repeat=repeat))]) == {"a"}


def find_no_face(video: Path, portrait: Path) -> dict[str, float]:
    raise InputError("no face was found.")


def test_video_that_cannot_be_measured_is_kept_and_refused(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest, measure=find_no_face))
    record = results(manifest)["a"]
    assert (record.status, record.objections) == ("fail", ("cannot be measured: no face was found.",))
    assert (tmp_path / record.output).exists()


def test_fail_fast_stops_at_the_first_failure(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["bug", "a", "b", "c", "d"])
    with pytest.raises(HalloError, match="--fail-fast stopped the batch: division by zero"):
        run(batch_of(manifest, policy=Policy(retries=0, is_fail_fast=True)))
    assert results(manifest)["bug"].status == "error"
    assert len(results(manifest)) < 5


def test_fail_fast_stops_at_the_first_refused_video(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c", "d", "e"])
    with pytest.raises(HalloError, match="--fail-fast stopped the batch: cannot be measured"):
        run(batch_of(manifest, measure=find_no_face, policy=Policy(is_fail_fast=True)))
    assert len(results(manifest)) < 5


def test_bundle_that_no_worker_can_load_ends_the_batch(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    batch = batch_of(manifest)
    first = RenderSettings(bundle="missing")
    batch = dataclasses.replace(batch, renderer=dataclasses.replace(batch.renderer, first=first))
    with pytest.raises(HalloError, match="no bundle called 'missing'") as caught:
        run(batch)
    assert caught.value.exit_status == 5


def test_longest_rows_come_first(tmp_path: Path) -> None:
    write_picture(tmp_path / "p.png", 1)
    for seconds in (1, 3, 2):
        write_sound(tmp_path / f"{seconds}.wav", seconds / 5)
    manifest = tmp_path / "batch.jsonl"
    rows = [{"id": str(n), "portrait": "p.png", "audio": f"{n}.wav"} for n in (1, 3, 2)]
    manifest.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    order = [event.id for event in run(batch_of(manifest)) if isinstance(event, RowStarted)]
    assert order == ["3", "2", "1"]


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    with opened(batch_of(manifest)), pytest.raises(JobError, match="this batch is being run by process"):
        run(batch_of(manifest))


def test_lock_left_behind_does_not_matter(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    folder = Paths(manifest.with_suffix("")).folder
    folder.mkdir()
    (folder / "lock").write_text("process 1 on elsewhere", encoding="utf-8")
    with opened(batch_of(manifest)) as batch:
        assert batch.planner.summary().rows == 1


def test_shards_share_the_rows_and_know_what_others_did(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b", "c"])
    base = manifest.with_suffix("")
    for index, expected in ((1, {"a", "c"}), (2, {"b"})):
        events = run(batch_of(manifest, paths=Paths(base, Shard(index, 2))))
        assert started([*events]) == expected
    assert plan_of([*run(batch_of(manifest))]).skipped == 3


def test_rows_of_different_shards_may_not_write_one_file(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a", "b"])
    manifest.write_text("portrait,audio,output\na.png,speech.wav,x.mp4\nb.png,speech.wav,x.mp4\n")
    with pytest.raises(ManifestError, match="rows 2 and 3 would both write"):
        run(batch_of(manifest, paths=Paths(manifest.with_suffix(""), Shard(1, 2))))


def test_ledger_says_with_what_options_the_batch_ran(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest, options={"output_dir": "x"}))
    entries = read_ledger(Paths(manifest.with_suffix("")).results)
    head = [entry for entry in entries if isinstance(entry, Run)][-1]
    assert head.options == {"output_dir": "x", "rows": 1}


def test_row_ends_with_a_record_that_is_on_disk(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    with opened(batch_of(manifest)) as batch:
        list(batch.check())
        for event in batch.run():
            if isinstance(event, RowEnded):
                assert results(manifest)["a"] == event.record


@pytest.mark.parametrize("retries", [0, 1])
def test_row_is_tried_once_more_for_each_retry_and_no_oftener(tmp_path: Path, retries: int) -> None:
    manifest = write_batch(tmp_path, ["bug"])
    told = run(batch_of(manifest, policy=Policy(retries=retries)))
    assert sum(isinstance(event, RowRetried) for event in told) == retries
    assert results(manifest)["bug"].attempts == retries + 1


def test_finished_output_of_another_size_is_rendered_again(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    run(batch_of(manifest))
    output = tmp_path / results(manifest)["a"].output
    frames = list(frame_hashes(output))
    output.write_bytes(output.read_bytes()[:-1])
    told = run(batch_of(manifest))
    assert any(isinstance(event, RowStarted) for event in told)
    assert list(frame_hashes(output)) == frames
    assert not any(isinstance(event, RowStarted) for event in run(batch_of(manifest)))


def test_cells_of_the_users_own_columns_are_in_the_ledger(tmp_path: Path) -> None:
    manifest = write_batch(tmp_path, ["a"])
    manifest.write_text("id,portrait,audio,x_client\na,a.png,speech.wav,Berg\n", encoding="utf-8")
    run(batch_of(manifest))
    assert results(manifest)["a"].own == {"x_client": "Berg"}


def test_each_input_of_a_row_is_hashed_once_from_check_to_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, hashed = write_batch(tmp_path, ["a", "b"]), list[str]()
    read_through = digests._read_through
    monkeypatch.setattr(digests, "FRESH_NS", 0)  # else a file as new is hashed each time
    monkeypatch.setattr(digests, "_read_through", lambda path: hashed.append(path.name) or read_through(path))
    run(batch_of(manifest))
    assert {name: hashed.count(name) for name in ("a.png", "b.png", "speech.wav")} == {
        "a.png": 1,
        "b.png": 1,
        "speech.wav": 1,
    }


@pytest.mark.parametrize("slow", ["HALLO_TEST_LOAD_S", "HALLO_TEST_PREPARE_S"])
def test_stop_does_not_wait_for_networks_and_inputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    began = time.monotonic()
    manifest = write_batch(tmp_path, ["a", "b"])
    with opened(batch_of(manifest, workers=1)) as batch:
        list(batch.check())
        monkeypatch.setenv(slow, "600")  # for the worker
        running = batch.run()
        next(event for event in running if isinstance(event, WorkerLoading))
        batch.stop(143)
        with pytest.raises(Interrupted):
            list(running)
        assert batch.tally.counts.pending == 2
    assert time.monotonic() - began < 15


def test_clip_that_takes_for_ever_is_given_up_at_the_time_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_STOP_S", 0.5)
    monkeypatch.setenv("HALLO_TEST_CLIP_S", "600")
    manifest = write_batch(tmp_path, ["a"])
    with opened(batch_of(manifest, workers=1)) as batch:
        list(batch.check())
        running = batch.run()
        next(event for event in running if isinstance(event, RowStarted))
        began = time.monotonic()
        batch.stop(143)
        with pytest.raises(Interrupted):
            list(running)
    assert time.monotonic() - began < 15
    monkeypatch.setenv("HALLO_TEST_CLIP_S", "0")
    run(batch_of(manifest))
    assert results(manifest)["a"].status == "done"
