import dataclasses
import json
from pathlib import Path

import pytest
from job_doubles import CLIP_FRAMES, TrivialEngine

from hallo_cli.evaluation.face_window import MAX_SIDE
from hallo_cli.jobs.forecast import (
    MAX_SPEEDS,
    MEASURED_SIDE,
    Workload,
    count_passes,
    disk_needed,
    disk_warnings,
    estimate,
    measuring_seconds,
    read_speeds,
    remember,
)
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import run_job
from hallo_cli.settings.schema import RenderSettings

LOAD = Workload("weights", "cpu", "float32", 256, 4.0)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of speeds."""
    monkeypatch.setenv("HALLO_CACHE", str(tmp_path))
    return tmp_path / "speeds.json"


def test_measuring_is_bounded_by_the_size_that_is_measured() -> None:
    assert measuring_seconds(25, (512, 512)) == pytest.approx(25 * 0.085, rel=0.05)
    assert measuring_seconds(25, (256, 256)) == pytest.approx(25 * 0.034, rel=0.05)
    assert measuring_seconds(25, (4096, 4096)) == pytest.approx(measuring_seconds(25, (512, 512)))
    assert MEASURED_SIDE == MAX_SIDE


def test_measured_speed_is_used(file: Path) -> None:
    remember(LOAD, 0.25)
    found = estimate(LOAD)
    assert (found.seconds_per_frame, found.basis) == (0.25, "measured")


def test_last_measurement_counts(file: Path) -> None:
    for seconds in (0.25, 0.5):
        remember(LOAD, seconds)
    assert estimate(LOAD).seconds_per_frame == 0.5
    assert len(read_speeds()) == 1


def test_other_size_and_steps_are_scaled(file: Path) -> None:
    remember(LOAD, 0.25)
    found = estimate(dataclasses.replace(LOAD, size=512, passes=8.0))
    assert (found.seconds_per_frame, found.basis) == (2.0, "scaled")


def test_unknown_weights_are_guessed(file: Path) -> None:
    remember(LOAD, 0.25)
    assert estimate(dataclasses.replace(LOAD, weights_id="others")).basis == "guess"


@pytest.mark.parametrize("text", ["", "[1]", '[{"load": {}}]', '{"a": 1}', "[" * 5000])
def test_broken_file_of_speeds_is_no_file(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_speeds() == {}


def test_guidance_costs_a_second_pass_where_it_acts() -> None:
    settings = RenderSettings(steps=10, guidance=3.5, guidance_stop=0.6)
    assert count_passes(settings) == pytest.approx(16)
    assert count_passes(dataclasses.replace(settings, guidance=1.0)) == 10
    assert 8 < count_passes(dataclasses.replace(settings, deep_every=2)) < 16


COMPILED = dataclasses.replace(LOAD, is_compiled=True)


def test_speeds_are_scaled_from_the_same_way_of_running(file: Path) -> None:
    remember(dataclasses.replace(COMPILED, passes=5.0), 0.1)
    remember(dataclasses.replace(LOAD, passes=8.0), 0.8)
    found = estimate(LOAD)
    assert (found.seconds(1), found.basis) == (pytest.approx(0.4), "scaled")


def test_speeds_of_earlier_versions_are_read(file: Path) -> None:
    load = dataclasses.asdict(LOAD)
    del load["is_compiled"]
    file.write_text(json.dumps([{"load": load, "seconds_per_frame": 0.25, "compile_s": 3.0}]))
    assert read_speeds() == {LOAD: 0.25}


def test_disk_is_counted_for_video_segments_spool_and_sound() -> None:
    settings = RenderSettings(size=256, segment_s=2.0, fps=25.0)
    needed = disk_needed(settings, 100, (512, 256))
    video = 100 * 512 * 256 * 0.12 / 8  # bits a pixel
    spool = 50 * 256 * 256 * 3  # the frames of one segment, as generated
    sound = 4 * 16_000 * 4  # seconds of 32-bit samples
    assert needed.output_bytes == pytest.approx(video, abs=1)
    assert needed.work_bytes == pytest.approx(video + spool + sound, abs=1)


def test_job_shorter_than_a_segment_needs_no_more_than_its_frames() -> None:
    settings = RenderSettings(size=64, segment_s=30.0, fps=25.0)
    long, short = (disk_needed(settings, n_frames, (64, 64)) for n_frames in (750, 10))
    assert short.work_bytes * 75 == pytest.approx(long.work_bytes, rel=0.01)


def test_size_of_the_bundle_is_that_of_the_video_where_no_size_is_given() -> None:
    assert disk_needed(RenderSettings(), 10, (256, 512)) == disk_needed(
        RenderSettings(size=256), 10, (256, 512)
    )


def test_no_more_speeds_are_kept_than_the_limit(file: Path) -> None:
    rows = [
        {"load": dataclasses.asdict(LOAD) | {"size": size}, "seconds_per_frame": 1.0} for size in range(300)
    ]
    file.write_text(json.dumps(rows))
    remember(LOAD, 0.5)
    kept = [*read_speeds().items()]
    assert len(kept) == MAX_SPEEDS + 1
    assert kept[-1] == (LOAD, 0.5)
    assert kept[0][0].size == 99  # the oldest go first; one of the 300 was of the same load


def test_disk_that_is_just_enough_is_no_warning() -> None:
    assert disk_warnings(5_000_000_000, 5_000_000_000) == []
    assert disk_warnings(5_000_000_000, 4_900_000_000) == ["5.0 GB of disk are needed, 4.9 GB are free"]


@pytest.mark.parametrize(("n_clips", "is_kept"), [(3, False), (4, True)])
def test_speed_of_four_clips_or_more_is_kept(job: Job, n_clips: int, is_kept: bool) -> None:
    settings = dataclasses.replace(job.settings, duration_s=n_clips * CLIP_FRAMES / job.settings.fps)
    engine = TrivialEngine()
    run_job(dataclasses.replace(job, settings=settings), engine)
    assert hasattr(engine, "seconds_per_frame") == is_kept
