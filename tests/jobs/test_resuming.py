"""What an interrupted job continues from, and what it makes again."""

import dataclasses

import pytest
from job_doubles import TrivialEngine
from job_runs import N_CLIPS, hashes, stop_after, work_dirs

from hallo_cli.errors import (
    EncoderError,
)
from hallo_cli.jobs.plan import Job
from hallo_cli.jobs.runner import RunOptions, run_job
from hallo_cli.media.video import SegmentWriter, read_frames
from hallo_cli.media.video_format import VideoFormat


def test_kept_work_holds_plan_and_segments(job: Job) -> None:
    run_job(job, TrivialEngine(), options=RunOptions(keep_work=True))
    names = {path.name for path in work_dirs(job)[0].iterdir()}
    assert {"plan.json", "segment-00000.mp4", "state-00000.npy"} <= names


@pytest.mark.parametrize("n_clips", [1, 3, 4, 8, 13])
def test_stopped_and_resumed_job_equals_undisturbed_one(
    job: Job, n_clips: int, undisturbed: list[str]
) -> None:
    stop_after(job, n_clips)
    engine = TrivialEngine()
    run_job(job, engine)
    assert hashes(job.output) == undisturbed
    assert engine.clips_rendered == list(range(n_clips, N_CLIPS))


def test_stopped_job_shows_nothing_under_the_final_name(job: Job) -> None:
    stop_after(job, 5, exit_status=143)
    assert not job.output.exists()


def test_work_is_kept_when_only_the_sound_is_wanted_otherwise(job: Job, undisturbed: list[str]) -> None:
    stop_after(job, 5)
    engine = TrivialEngine()
    settings = dataclasses.replace(job.settings, audio_codec="aac")
    run_job(dataclasses.replace(job, settings=settings), engine)
    assert engine.clips_rendered[0] == 5
    assert hashes(job.output) == undisturbed


def test_no_resume_starts_again(job: Job) -> None:
    stop_after(job, 5)
    engine = TrivialEngine()
    run_job(job, engine, options=RunOptions(resume=False))
    assert engine.clips_rendered == list(range(N_CLIPS))


def test_other_settings_do_not_go_on_with_kept_work(job: Job) -> None:
    stop_after(job, 5)
    other = dataclasses.replace(job, settings=dataclasses.replace(job.settings, seed=1))
    engine = TrivialEngine()
    run_job(other, engine)
    assert engine.clips_rendered == list(range(N_CLIPS))
    assert work_dirs(job) == []  # the output is made: what was begun for it is of no more use


def test_kept_work_of_another_output_stays(job: Job) -> None:
    stop_after(job, 5)
    run_job(dataclasses.replace(job, output=job.output.with_name("other.mp4")), TrivialEngine())
    assert len(work_dirs(job)) == 1


def test_lost_state_makes_its_segment_again(job: Job, undisturbed: list[str]) -> None:
    stop_after(job, 5)
    next(work_dirs(job)[0].glob("state-00000.npy")).write_bytes(b"torn")
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed


def test_segment_that_lacks_frames_is_removed_and_made_again(job: Job, undisturbed: list[str]) -> None:
    stop_after(job, 10)
    segment = work_dirs(job)[0] / "segment-00000.mp4"
    first = next(read_frames(segment))
    with SegmentWriter(segment, VideoFormat(*first.shape[1::-1], job.settings.fps)) as writer:
        writer.write(first[None])
        writer.commit()
    with pytest.raises(EncoderError, match="segment 0 does not have its 12 frames and was removed"):
        run_job(job, TrivialEngine())
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed


def test_torn_spool_is_cut_back_to_its_note(job: Job, undisturbed: list[str]) -> None:
    stop_after(job, 5)
    with next(work_dirs(job)[0].glob("spool-*.rgb")).open("ab") as file:
        file.write(b"half a clip")
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 and no more", b"something else"])
def test_damaged_note_of_the_spool_makes_its_segment_again(
    job: Job, undisturbed: list[str], damage: bytes
) -> None:
    stop_after(job, 5)
    next(work_dirs(job)[0].glob("spool-*.npz")).write_bytes(damage)
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed


def test_damaged_segment_is_found_at_the_join_and_made_again(job: Job, undisturbed: list[str]) -> None:
    stop_after(job, 8)
    segment = next(work_dirs(job)[0].glob("segment-00000.mp4"))
    segment.write_bytes(segment.read_bytes()[:1000])
    with pytest.raises(EncoderError, match="segment 0"):
        run_job(job, TrivialEngine())
    run_job(job, TrivialEngine())
    assert hashes(job.output) == undisturbed
